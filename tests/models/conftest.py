"""What the tests of the models share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchstone.models import (
    Autoregressive,
    Budget,
    Continuous,
    Discrete,
    ExplicitExact,
    Model,
    ModelError,
    Sampler,
    Space,
    Split,
    Trainable,
)
from torchstone.models.randomness import generator


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny networks are fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def states(space: Space) -> Tensor:
    """Every event of a discrete space, int64."""
    assert isinstance(space.support, Discrete)
    rows = list(itertools.product(range(space.support.levels), repeat=space.dims))
    return torch.tensor(rows).view(-1, *space.event_shape)


def split_of(space: Space, n: int, seed: int = 0) -> Split:
    """Examples with structure: every dimension leans on the first, and labels shift them."""
    rng = generator(seed, "data")
    y = torch.randint(space.classes or 1, (n,), generator=rng)
    shape = (n, space.dims)
    first = torch.rand((n, 1), generator=rng)
    u = ((first + 0.3 * torch.rand(shape, generator=rng) + 0.2 * y[:, None]) / 2).clamp(0, 0.999)
    x = (u * space.support.levels).long().to(torch.uint8) if isinstance(space.support, Discrete) else u
    return Split(x.view(n, *space.event_shape), y if space.classes else None, torch.arange(n))


@pytest.fixture
def enumerate_states() -> Callable[[Space], Tensor]:
    return states


@pytest.fixture
def make_split() -> Callable[..., Split]:
    return split_of


@pytest.fixture
def check_sums_to_one() -> Callable[[ExplicitExact], None]:
    """The probabilities of all states of a tiny discrete model add to 1, in float64."""

    def check(model: ExplicitExact) -> None:
        total = model.log_prob(states(model.space)).detach().double().exp().sum()
        assert abs(float(total) - 1) < 1e-9

    return check


@pytest.fixture
def check_integrates_to_one() -> Callable[[ExplicitExact, float, float], None]:
    """The density of a tiny continuous model integrates to 1 over a square, by the midpoint rule."""

    def check(model: ExplicitExact, low: float, high: float) -> None:
        assert model.space.dims == 2
        n = 400
        axis = low + (high - low) * (torch.arange(n, dtype=torch.double) + 0.5) / n
        with torch.no_grad():
            density = model.log_prob(torch.cartesian_prod(axis, axis).view(-1, *model.space.event_shape)).exp()
        assert abs(float(density.sum()) * ((high - low) / n) ** 2 - 1) < 1e-3

    return check


@pytest.fixture
def check_causal() -> Callable[..., None]:
    """No conditional changes when any position at or after its own does, in the declared order; some do otherwise."""

    def check(model: Autoregressive, y: Tensor | None = None) -> None:
        assert isinstance(model.space.support, Discrete)
        order = model.order.tolist()
        assert sorted(order) == list(range(model.space.dims))
        rng = generator(0, "causal")
        x = torch.randint(model.space.support.levels, (1, *model.space.event_shape), generator=rng)
        before = model.conditionals(x, y).logits.flatten(1, -2)
        reached = 0
        for rank, position in enumerate(order):
            changed = x.clone().view(-1)
            changed[position] = (changed[position] + 1) % model.space.support.levels
            after = model.conditionals(changed.view_as(x), y).logits.flatten(1, -2)
            differs = ((before - after).abs() > 1e-9).any(-1)[0]
            assert not differs[order[: rank + 1]].any(), f"position {position} reaches itself or one before it"
            reached += int(differs[order[rank + 1 :]].sum())
        size = len(order)
        assert reached == size * (size - 1) // 2, "every later position hears of every earlier one"

    return check


@pytest.fixture
def check_sampler() -> Callable[..., None]:
    """Samples of a tiny discrete model follow its probabilities: chi-square, false alarm once in 10^4 seeds."""

    def check(model: ExplicitExact, n: int = 20000) -> None:
        from scipy.stats import chi2

        assert isinstance(model, Sampler)
        every = states(model.space)
        expected = n * model.log_prob(every).double().exp().detach()
        x = model.sample(n, rng=generator(0, "sample"))
        assert x.dtype == torch.int64 and x.shape == (n, *model.space.event_shape)
        assert isinstance(model.space.support, Discrete)
        powers = model.space.support.levels ** torch.arange(model.space.dims).flip(0)
        observed = torch.bincount((x.flatten(1) * powers).sum(1), minlength=len(every)).double()
        rare = expected < 5
        if rare.any():
            expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
            observed = torch.cat([observed[~rare], observed[rare].sum()[None]])
        statistic = float(((observed - expected) ** 2 / expected.clamp_min(1e-9)).sum())
        assert statistic < chi2.isf(1e-4, len(expected) - 1)

    return check


@pytest.fixture
def check_gradients() -> Callable[..., None]:
    """Every parameter gets a gradient from the loss."""

    def check(model: nn.Module, loss: Tensor) -> None:
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, f"{name} gets no gradient"
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, f"{name} gets no gradient"

    return check


@pytest.fixture
def check_fit(tmp_path: Path) -> Callable[..., None]:
    """Fits are the same for one seed and others for another; weights survive a file; float64 works; labels matter."""

    def check(build: Callable[[], Model], answer: Callable[[Model], Tensor], train: Split, steps: int = 12) -> None:
        def fitted(seed: int) -> nn.Module:
            model = build()
            assert isinstance(model, nn.Module) and isinstance(model, Trainable)
            assert not model.training
            state = torch.get_rng_state()
            model.fit(train, train, Budget(steps), rng=generator(seed, "fit"))
            assert torch.equal(state, torch.get_rng_state())
            assert not model.training
            return model

        torch.manual_seed(1)
        first = fitted(0)
        torch.manual_seed(2)
        second, fresh = fitted(0), build()
        assert isinstance(first, Model) and isinstance(second, Model)
        assert torch.equal(answer(first), answer(second))
        save_file(first.state_dict(), tmp_path / "weights.safetensors")
        assert isinstance(fresh, nn.Module)
        fresh.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=True)
        assert torch.equal(answer(first), answer(fresh))
        assert answer(fresh.double()).allclose(answer(first).double(), atol=1e-3)

    return check


@pytest.fixture
def check_conditional() -> Callable[..., None]:
    """A conditional model keeps the classes, needs labels, and refuses data that have none."""

    def check(
        build: Callable[[Space, bool], Model], ask: Callable[[Model, Tensor | None], object], space: Space
    ) -> None:
        assert space.classes is not None
        model, plain = build(space, True), build(space, False)
        assert model.space.classes == space.classes and plain.space.classes is None
        with pytest.raises(ModelError, match="give it the label"):
            ask(model, None)
        ask(model, torch.zeros(1, dtype=torch.long))
        ask(plain, None)
        with pytest.raises(ModelError, match="conditional=true needs labelled data"):
            build(Space(space.event_shape, space.support), True)

    return check


@pytest.fixture
def real_line() -> Continuous:
    return Continuous(-math.inf, math.inf)
