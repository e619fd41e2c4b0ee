"""What importance-weighted and annealed bounds cost, beside the matrix products of their own decoder and beside peers.

``pytest tests/benchmarks/test_bounds.py --benchmark-only`` prints each ratio in its column; nothing is asserted about
time. Results are compared first. Rounds are interleaved, and every ratio is a median over them.
"""

import importlib.util
import math
import statistics
import time
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from torchstone.models import Discrete, LatentVariable, Space
from torchstone.models.randomness import draw
from torchstone.suites.context import Context
from torchstone.suites.metrics.annealing import anneal, sigmoid
from torchstone.suites.metrics.bounds import Ladder
from torchstone.suites.metrics.hmc import HMC, _kinetic
from torchstone.suites.questions import ask_path, ask_weights, validated
from torchstone.suites.supports import unvalidated

PIXELS, WIDTH, LATENTS = 64, 256, 16
BLOCK = 50
ROWS = 2500  # of the bare matrix products: one piece of draws


def perceptron(*sizes):
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class BernoulliVAE(nn.Module, LatentVariable):
    """64 binary pixels, 256-256 hidden units, 16 latents; a plain one, as anybody would write it."""

    def __init__(self):
        super().__init__()
        self.space = Space((PIXELS,), Discrete(2))
        self.encoder = perceptron(PIXELS, WIDTH, WIDTH, 2 * LATENTS)
        self.decoder = perceptron(LATENTS, WIDTH, WIDTH, PIXELS)
        self.eval()

    def prior(self, y=None):
        return Independent(Normal(torch.zeros(LATENTS), torch.ones(LATENTS)), 1)

    def posterior(self, x, y=None):
        mean, log_variance = self.encoder(x.float()).chunk(2, -1)
        return Independent(Normal(mean, (log_variance / 2).exp()), 1)

    def likelihood(self, z, y=None):
        return Independent(Bernoulli(logits=self.decoder(z)), 1)


def trained():
    """A little, so that posterior and decoder are those of a model in use; and its data, binary stripes."""
    torch.manual_seed(0)
    model = BernoulliVAE()
    centers = torch.rand(10, PIXELS).round()
    data = (centers[torch.randint(10, (600,))] + (torch.rand(600, PIXELS) < 0.1)) % 2
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(300):
        q = model.posterior(data[300:])
        z = q.rsample()
        loss = q.log_prob(z) - model.prior().log_prob(z) - model.likelihood(z).log_prob(data[300:])
        optimiser.zero_grad()
        loss.mean().backward()
        optimiser.step()
    return model.requires_grad_(False), data[:300]


def products(model, rows, times, *, gradients):
    """The decoder's matrix products alone, forward and with the gradient in z as well, into memory that is there."""
    weights = [layer.weight for layer in model.decoder if isinstance(layer, nn.Linear)]
    forward = [(torch.randn(rows, w.shape[1]), w.T, torch.empty(rows, w.shape[0])) for w in weights]
    backward = [(torch.randn(rows, w.shape[0]), w, torch.empty(rows, w.shape[1])) for w in weights]
    each = forward + backward if gradients else forward

    def run():
        with torch.no_grad():
            for _ in range(times):
                for left, right, out in each:
                    torch.mm(left, right, out=out)

    return run


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_ratios(work, peers, rounds):
    """Of ``work`` to each of ``peers``, interleaved."""
    ratios = {name: [] for name in peers}
    for _ in range(rounds):
        took = seconds(work)
        for name, peer in peers.items():
            ratios[name].append(took / seconds(peer))
    return {name: statistics.median(found) for name, found in ratios.items()}


def weighted(model, x, samples):
    """The ladder of all examples in blocks, checks of distributions on: as a suite asks for it."""
    context, bounds = Context(), []
    with validated():
        for block, rows in enumerate(x.split(BLOCK)):
            ladder = Ladder(len(rows), (1, 10, 100, samples))
            for weights in ask_weights(model, rows, None, samples, context.rng("latents", block), context):
                ladder.add(weights.log)
            bounds.append(ladder.climb()[-1].bound)
    return torch.cat(bounds)


def peer_of(model):
    """The same weights in pythae's own VAE."""
    if importlib.util.find_spec("pythae") is None:
        pytest.skip("pythae is not installed: pip install --no-deps pythae, beside what it needs, for this comparison.")
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net = model.encoder

        def forward(self, x):
            mean, log_variance = self.net(x.flatten(1)).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.net = model.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(PIXELS,), latent_dim=LATENTS, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder()).eval()


def test_importance_weighted_bounds_take_little_more_than_their_matrix_products(benchmark):
    """5000 samples of 300 examples."""
    model, x = trained()
    samples = 5000 if benchmark.enabled else 200
    x = x if benchmark.enabled else x[:20]
    bounds = weighted(model, x, samples)
    rng, loop = torch.Generator().manual_seed(1), []
    for row in x[:10]:
        q = model.posterior(row[None])
        z = draw(q, rng, (samples,))[:, 0]
        log_w = model.likelihood(z).log_prob(row) + model.prior().log_prob(z) - q.log_prob(z[:, None])[:, 0]
        loop.append(float(log_w.double().logsumexp(0)) - math.log(samples))
    assert bounds[:10].tolist() == pytest.approx(loop, abs=0.5 if benchmark.enabled else 2.0)
    bare = products(model, ROWS, len(x) * samples // ROWS, gradients=False)
    ratio = median_ratios(lambda: weighted(model, x, samples), {"products": bare}, 5 if benchmark.enabled else 1)
    benchmark.extra_info["ratio to matrix products"] = round(ratio["products"], 3)
    benchmark.pedantic(weighted, (model, x, samples), rounds=1)
    print(f"\nIWAE-{samples} / matrix products: median {ratio['products']:.3f}")


def test_importance_weighted_bounds_beside_pythae(benchmark):
    """``get_nll`` of the same weights, with its default batches of 100 samples."""
    model, x = trained()
    peer = peer_of(model)
    samples = 5000 if benchmark.enabled else 200
    x = x if benchmark.enabled else x[:10]

    def theirs():
        with torch.no_grad():
            return float(peer.get_nll(x, n_samples=samples, batch_size=100))

    assert float(weighted(model, x, samples).mean()) == pytest.approx(theirs(), abs=0.05 if benchmark.enabled else 1.0)
    ratio = median_ratios(lambda: weighted(model, x, samples), {"pythae": theirs}, 3 if benchmark.enabled else 1)
    benchmark.extra_info["ratio to pythae"] = round(ratio["pythae"], 3)
    benchmark.pedantic(weighted, (model, x, samples), rounds=1)
    print(f"\nIWAE-{samples} / pythae's get_nll: median {ratio['pythae']:.3f}")


class Afresh:
    """Annealing as a straightforward program has it: what a temperature needs is computed where it is needed.

    Log-densities for the weight, energies and gradients at both ends, and the default checks of torch's distributions;
    chains and examples are in one batch here as well. With ``merged`` the two half steps of the momentum between
    positions share a gradient; without, each leapfrog step stands by itself.
    """

    def __init__(self, model, x, chains, merged):
        self.model, self.x, self.prior, self.merged = model, x.repeat(chains, 1), model.prior(), merged

    def energy(self, z, t):
        return self.prior.log_prob(z) + t * self.model.likelihood(z).log_prob(self.x)

    def force(self, z, t):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.energy(z, t).sum(), z)
        return gradient

    def trajectory(self, z, v, t, step, leapfrog):
        if self.merged:
            v = v + step / 2 * self.force(z, t)
        for turn in range(leapfrog):
            if not self.merged:
                v = v + step / 2 * self.force(z, t)
            z = z + step * v
            v = v + step / (1 if self.merged and turn < leapfrog - 1 else 2) * self.force(z, t)
        return z, v

    @torch.no_grad()
    def run(self, z, hmc, rng):
        times, log_w = hmc.temperatures.tolist(), torch.zeros(len(z), dtype=torch.float64)
        for k in range(1, len(times)):
            log_w += (times[k] - times[k - 1]) * self.model.likelihood(z).log_prob(self.x).double()
            if k == len(times) - 1:
                break
            t, step = times[k], float(hmc.step_sizes[k, 0])
            start = torch.randn(z.shape, generator=rng)
            with torch.enable_grad():
                there, v = self.trajectory(z, start, t, step, hmc.leapfrog)
            change = self.energy(there, t).double() - self.energy(z, t).double() + _kinetic(start) - _kinetic(v)
            accepted = torch.rand(len(z), generator=rng, dtype=torch.float64).log() < change
            z = torch.where(accepted[:, None], there, z)
        return log_w


@pytest.mark.parametrize("examples", [20, 100])
def test_annealing_takes_little_more_than_its_matrix_products(benchmark, examples):
    """Sixteen chains, 10 leapfrog steps; a thousand temperatures for 20 examples, and 200 for 100."""
    model, x = trained()
    temperatures = sigmoid((1000 if examples == 20 else 200) if benchmark.enabled else 5)
    chains, leapfrog, x = 16, 10, x[:examples]
    steps = torch.full((len(temperatures), examples), 0.1, dtype=torch.float64)
    path, afresh, merged = (
        ask_path(model, x, None, chains),
        Afresh(model, x, chains, merged=False),
        Afresh(model, x, chains, merged=True),
    )
    hmc = HMC(temperatures, steps, leapfrog)
    start = torch.randn(chains * examples, LATENTS, generator=torch.Generator().manual_seed(0))

    def run(hmc=hmc):
        with unvalidated():
            return anneal(path, start, hmc.temperatures, hmc, torch.Generator().manual_seed(1)).log_weights

    def peer(loop, hmc=hmc):
        return loop.run(start, hmc, torch.Generator().manual_seed(1)).view(chains, -1)

    few = HMC(sigmoid(5), steps[:6], leapfrog)
    for loop in (afresh, merged):
        torch.testing.assert_close(run(few), peer(loop, few), rtol=1e-4, atol=1e-2)
    evaluations = 1 + (len(temperatures) - 2) * leapfrog
    bare = products(model, chains * examples, evaluations, gradients=True)
    peers = {
        "matrix products": bare,
        "a loop that evaluates afresh": lambda: peer(afresh),
        "such a loop with half steps merged": lambda: peer(merged),
    }
    for name, ratio in median_ratios(run, peers, 3 if benchmark.enabled else 1).items():
        benchmark.extra_info[f"ratio to {name}"] = round(ratio, 3)
        print(f"\nAIS of {examples} / {name}: median {ratio:.3f}")
    benchmark.pedantic(run, rounds=1)
