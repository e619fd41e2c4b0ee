"""Conformance checks that anybody can run on a model of their own.

Each is a named function that raises ModelError with a sentence; `check_model` runs those that a model's promises call
for. They find mistakes of shape, type, state and randomness at once; whether a density is one is the audits' question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchstone.models.model import (
    Autoregressive,
    DiffusionChain,
    Discrete,
    Discriminative,
    Encoder,
    Enumerable,
    ExplicitApproximate,
    ExplicitExact,
    ImportanceResampler,
    Joint,
    LatentVariable,
    Model,
    ModelError,
    Pretrained,
    Sampler,
    Space,
    Tokenised,
)
from torchstone.models.randomness import draw, generator

__all__ = ["Check", "check_model", "checks_for", "model_dtype", "require_model", "space_of"]

EXAMPLES = 4
MOST_STATES = 2**16
MOST_TINY_DIMS = 2


@dataclass(frozen=True, slots=True)
class Check:
    """A named check, and the capability whose promise it tests."""

    name: str
    capability: type[Model]
    run: Callable[[Model], None]


def require_model(candidate: object) -> Model:
    """``candidate`` itself where it is a model; otherwise ModelError, which names wrappers that hide one."""
    if isinstance(candidate, Model):
        space_of(candidate)
        return candidate
    name = type(candidate).__name__
    if name == "OptimizedModule":
        raise ModelError(
            "torch.compile(model) hides the model's class: call model.compile(), which compiles in place, "
            "and pass the model."
        )
    if isinstance(candidate, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        raise ModelError(f"{name}(model) hides the model's class: pass the model itself, {name}.module.")
    raise ModelError(
        f"A {name} is no Torchstone model: subclass a capability such as torchstone.models.ExplicitExact "
        "and set self.space in __init__."
    )


def space_of(model: Model) -> Space:
    """The space that ``model`` declares. Raises ModelError where it declares none."""
    space = getattr(model, "space", None)
    if not isinstance(space, Space):
        raise ModelError(
            f"{type(model).__name__}.space is {space!r}: set it in __init__ to a torchstone.models.Space, "
            "such as Space(event_shape=(8, 8), support=Discrete(17))."
        )
    return space


def check_model(model: object) -> tuple[str, ...]:
    """Run every check that the promises of ``model`` call for.

    Args:
        model: the model, on the CPU, in the state in which it is to be used. It is put in evaluation mode.

    Returns:
        The names of the checks that it passed.

    Raises:
        ModelError: with the name of the first check that failed, and what to mend.
    """
    checked = require_model(model)
    if isinstance(checked, torch.nn.Module):
        checked.eval()
    passed = []
    for check in checks_for(checked):
        with torch.no_grad():
            try:
                check.run(checked)
            except ModelError as error:
                raise ModelError(f"{check.name}: {error}") from error
        passed.append(check.name)
    return tuple(passed)


def checks_for(model: Model) -> Iterator[Check]:
    """The checks for the capabilities that ``model`` promises."""
    return (check for check in _CHECKS if isinstance(model, check.capability))


def probe(model: Model, n: int = EXAMPLES, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """``n`` examples in the support of ``model``, drawn by ``seed``, with labels where it takes them."""
    space, rng = space_of(model), generator(seed, "probe")
    shape = (n, *space.event_shape)
    dtype = model_dtype(model) or torch.get_default_dtype()
    if isinstance(space.support, Discrete):
        x = torch.randint(space.support.levels, shape, generator=rng)
    elif space.support.bounded:
        x = space.support.low + (space.support.high - space.support.low) * torch.rand(shape, generator=rng, dtype=dtype)
    else:
        x = torch.randn(shape, generator=rng, dtype=dtype)
    return x, None if space.classes is None else torch.randint(space.classes, (n,), generator=rng)


def model_dtype(model: Model) -> torch.dtype | None:
    """The floating-point type of the model's parameters, None where it has none."""
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
    return None


def _space(model: Model) -> None:
    space = space_of(model)
    if not space.event_shape or space.dims < 1:
        raise ModelError(
            f"the event shape {space.event_shape} has no dimensions: give every axis a size of at least 1."
        )
    if isinstance(space.support, Discrete):
        if space.support.levels < 2:
            raise ModelError(f"{space.support} has fewer than two levels: declare at least 2.")
    elif not space.support.low < space.support.high:
        raise ModelError(f"{space.support} is empty: low must be below high.")
    if space.classes is not None and space.classes < 1:
        raise ModelError(f"classes={space.classes}: declare at least 1, or None for a model without labels.")


def _vector(name: str, answer: object, n: int, of: str = "example") -> Tensor:
    if not isinstance(answer, Tensor) or answer.shape != (n,) or not answer.is_floating_point():
        found = (
            f"{answer.dtype} of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        )
        raise ModelError(
            f"{name} returned {found} where {n} values are due: return one floating-point number of nats per {of}, "
            f"shape ({n},)."
        )
    return answer


def _log_prob_shape(model: Model) -> None:
    assert isinstance(model, ExplicitExact)
    _vector("log_prob", model.log_prob(*probe(model)), EXAMPLES)


def _log_prob_pure(model: Model) -> None:
    assert isinstance(model, ExplicitExact)
    x, y = probe(model)
    kept = x.clone()
    state = (
        {key: value.clone() for key, value in model.state_dict().items()} if isinstance(model, torch.nn.Module) else {}
    )
    first, second = model.log_prob(x, y), model.log_prob(x, y)
    if not torch.equal(x, kept):
        raise ModelError("log_prob changed its input in place: work on a copy.")
    if not torch.equal(first, second):
        raise ModelError("log_prob gave two answers to one question: turn off dropout in eval mode, and draw nothing.")
    if isinstance(model, torch.nn.Module) and any(
        not torch.equal(value, state[key]) for key, value in model.state_dict().items()
    ):
        raise ModelError("log_prob changed the model's own state: in eval mode no buffer or parameter may move.")


def _log_prob_alone(model: Model) -> None:
    assert isinstance(model, ExplicitExact)
    x, y = probe(model)
    together = model.log_prob(x, y)
    alone = torch.cat([model.log_prob(x[i : i + 1], None if y is None else y[i : i + 1]) for i in range(EXAMPLES)])
    if not torch.allclose(together, alone, rtol=1e-4, atol=1e-3):
        worst = float((together - alone).abs().max())
        raise ModelError(
            f"log_prob of an example differs by {worst:.3g} nats between a batch and alone: nothing may "
            "depend on the other examples."
        )


def _labels_required(model: Model) -> None:
    assert isinstance(model, ExplicitExact)
    if space_of(model).classes is None or isinstance(model, Joint):
        return
    x, _ = probe(model)
    try:
        model.log_prob(x, None)
    except Exception:
        return
    raise ModelError("a conditional model answered without labels: raise ModelError where y is None.")


def _joint(model: Model) -> None:
    assert isinstance(model, Joint)
    classes, name = space_of(model).classes, type(model).__name__
    if classes is None:
        raise ModelError(f"{name} promises a joint density with labels and its space has none: set Space(classes=...).")
    prior = _vector("log_prior_label", model.log_prior_label(), classes, "class")
    if abs(float(prior.double().logsumexp(0))) > 1e-4:
        raise ModelError("the probabilities of log_prior_label do not sum to one: apply log_softmax over the classes.")
    _vector("log_prob without labels", model.log_prob(probe(model)[0]), EXAMPLES)


def _order(model: Model) -> None:
    assert isinstance(model, Autoregressive)
    dims = space_of(model).dims
    order = getattr(model, "order", None)
    if not isinstance(order, Tensor) or order.dtype != torch.int64:
        raise ModelError(
            f"order is {order!r}: set it to a LongTensor of the {dims} flat positions of the event, first "
            "generated first."
        )
    if sorted(order.tolist()) != list(range(dims)):
        raise ModelError(f"order is no permutation of 0 to {dims - 1}: name every flat position of the event once.")


def _elbo(model: Model) -> None:
    assert isinstance(model, ExplicitApproximate)
    x, y = probe(model)
    first, second = (model.elbo(x, y, rng=generator(0, "elbo")) for _ in range(2))
    for name in ("reconstruction", "rate"):
        answer = _vector(f"elbo().{name}", getattr(first, name), EXAMPLES)
        if not torch.equal(answer, getattr(second, name)):
            raise ModelError(
                f"elbo().{name} differs under one generator: draw from the rng that is passed and from nothing else."
            )


def _pretraining(model: Model) -> None:
    said = vars(model).get("pretraining")
    if not isinstance(said, str):
        raise ModelError(f"pretraining is {said!r}: set it to what the weights were learned on, or to an empty string.")


def _chain(model: Model) -> None:
    assert isinstance(model, DiffusionChain)
    if not isinstance(model.timesteps, int) or model.timesteps < 1:
        raise ModelError(f"timesteps is {model.timesteps!r}: set it to the number of steps of the chain, at least 1.")
    x, y = probe(model)
    answer = model.elbo(x, y, rng=generator(0, "parts"))
    parts = torch.stack(list(answer.parts.values())).sum(0) if answer.parts else None
    if parts is None or not torch.allclose(parts, answer.rate - answer.reconstruction, rtol=1e-4, atol=1e-3):
        raise ModelError("the parts of elbo do not add up to the bound: name L_T, L_t and L_0, nats each.")


def _distributions(model: Model) -> None:
    assert isinstance(model, LatentVariable)
    x, y = probe(model)
    posterior, prior = model.posterior(x, y), model.prior(y)
    z = draw(posterior, generator(0, "posterior"))
    _vector("posterior().log_prob", posterior.log_prob(z), EXAMPLES)
    _vector("prior().log_prob", prior.log_prob(z), EXAMPLES)
    _vector("likelihood().log_prob", model.likelihood(z, y).log_prob(x), EXAMPLES)


def _samples(model: Model) -> None:
    assert isinstance(model, Sampler)
    space = space_of(model)
    _, y = probe(model)
    first, second = (model.sample(EXAMPLES, y, rng=generator(0, "samples")) for _ in range(2))
    if first.shape != (EXAMPLES, *space.event_shape):
        raise ModelError(
            f"sample({EXAMPLES}) returned shape {tuple(first.shape)}: return (n, *event), here "
            f"{(EXAMPLES, *space.event_shape)}."
        )
    if not torch.equal(first, second):
        raise ModelError("sample differs under one generator: draw from the rng that is passed and from nothing else.")
    low, high = (
        (0, space.support.levels - 1)
        if isinstance(space.support, Discrete)
        else (space.support.low, space.support.high)
    )
    if isinstance(space.support, Discrete) and first.is_floating_point():
        raise ModelError(f"sample returned {first.dtype} on a discrete support: return integers.")
    if not bool(((first >= low) & (first <= high)).all()):
        raise ModelError(f"sample left the declared support, {low} to {high}: return values inside it.")


def _weights(model: Model) -> None:
    assert isinstance(model, ImportanceResampler)
    if not isinstance(model.candidates, int) or model.candidates < 1:
        raise ModelError(
            f"candidates is {model.candidates!r}: set it to how many are drawn for each sample, 1 or more."
        )
    _, y = probe(model)
    x = model.propose(EXAMPLES, rng=generator(0, "candidates"))
    _vector("log_weight", model.log_weight(x, y), EXAMPLES, "candidate")


def _features(model: Model) -> None:
    assert isinstance(model, Encoder)
    features = model.encode(probe(model)[0])
    if features.ndim != 2 or features.shape[0] != EXAMPLES or not features.is_floating_point():
        raise ModelError(
            f"encode returned {features.dtype} of shape {tuple(features.shape)}: return floating-point "
            "features of shape (N, D)."
        )


def _label_probabilities(model: Model) -> None:
    assert isinstance(model, Discriminative)
    log_prob = model.log_prob_label(probe(model)[0])
    if log_prob.ndim != 2 or log_prob.shape[0] != EXAMPLES:
        raise ModelError(f"log_prob_label returned shape {tuple(log_prob.shape)}: return (N, C).")
    if not torch.allclose(log_prob.double().logsumexp(1), torch.zeros(EXAMPLES, dtype=torch.float64), atol=1e-4):
        raise ModelError("the probabilities of log_prob_label do not sum to one: apply log_softmax over the classes.")


def _tokens(model: Model) -> None:
    assert isinstance(model, Tokenised)
    for data in (b"", b"Torchstone", bytes(range(256))):
        if model.detokenise(model.tokenise(data)) != data:
            raise ModelError(
                f"detokenise(tokenise(data)) is not data for {data[:16]!r}: the tokeniser must lose nothing."
            )


def _tiny(model: Model) -> None:
    assert isinstance(model, Enumerable)
    space = space_of(require_model(model.tiny()))
    if isinstance(space.support, Discrete):
        if space.support.levels**space.dims > MOST_STATES:
            raise ModelError(
                f"tiny() has {space.support.levels}^{space.dims} states: at most {MOST_STATES} can be summed."
            )
    elif space.dims > MOST_TINY_DIMS:
        raise ModelError(f"tiny() has {space.dims} continuous dimensions: at most {MOST_TINY_DIMS} can be integrated.")


_CHECKS = (
    Check("space is declared", Model, _space),
    Check("log_prob gives one number per example", ExplicitExact, _log_prob_shape),
    Check("log_prob changes nothing and repeats itself", ExplicitExact, _log_prob_pure),
    Check("log_prob of an example does not depend on the batch", ExplicitExact, _log_prob_alone),
    Check("labels are required by conditional models", ExplicitExact, _labels_required),
    Check("a joint density states its labels' probabilities and answers without labels", Joint, _joint),
    Check("order is a permutation of the event", Autoregressive, _order),
    Check("elbo gives one number per example and follows its generator", ExplicitApproximate, _elbo),
    Check("the parts of a chain add up to its bound", DiffusionChain, _chain),
    Check("what weights were learned on is said", Pretrained, _pretraining),
    Check("prior, posterior and likelihood cover whole events", LatentVariable, _distributions),
    Check("candidates have one weight each", ImportanceResampler, _weights),
    Check("samples have shape, type and support, and follow their generator", Sampler, _samples),
    Check("features are vectors", Encoder, _features),
    Check("label probabilities sum to one", Discriminative, _label_probabilities),
    Check("tokens give the bytes back", Tokenised, _tokens),
    Check("the tiny instance is small enough", Enumerable, _tiny),
)
