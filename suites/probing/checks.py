"""What features may hide: each as a verdict, and a word on what was seen.

A difference that stays in double precision, or weights that moved, are proofs; what depends on data only flags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchstone.models.model import Discrete, Model
from torchstone.suites.audits.arithmetic import difference, gap
from torchstone.suites.audits.audit import Grade, Verdict, entry
from torchstone.suites.audits.state import weights
from torchstone.suites.context import Context
from torchstone.suites.data.dataset import Dataset
from torchstone.suites.metrics.copies import row_hashes
from torchstone.suites.probing.features import Standard, ask_features
from torchstone.suites.probing.linear import Linear

__all__ = ["CLAIMS", "convergence", "entries", "independence", "membership", "shuffled", "twins", "untouched"]

CLAIMS = {
    "features of one example": "The features of an example depend on no other example, and on no place or order.",
    "weights untouched": "Asking for features changes no weight of the model.",
    "membership": "The model does not look test examples up.",
    "twins": "No test example is a training example too.",
    "shuffled labels": "A probe cannot learn labels that were shuffled.",
    "convergence": "Every probe is at its optimum, with a strength inside of its grid.",
}
"""``membership``, ``twins``, ``shuffled labels`` and ``convergence`` flag, the two others fail."""

BATCH, ALONE = 64, 16
"""Examples that are asked about again, and how many of them alone."""
MOST = 1000
"""Examples of a split that are changed."""
JUMP, RARE, SMALL, NUDGE = 10.0, 0.01, 1e-3, 0.01
"""How many times as far is a jump, in what share of the examples, from how many deviations on; and a small change."""


def entries(found: Mapping[str, tuple[Verdict, Grade, str]]) -> tuple[Mapping[str, Any], ...]:
    """An entry for each check, of its verdict, grade and words."""
    return tuple(entry(name, claim, *found[name]) for name, claim in CLAIMS.items() if name in found)


def independence(model: Model, data: Dataset, context: Context) -> tuple[Verdict, Grade, str]:
    """Ask for features of test examples alone, in another order, sorted by label, and beside copies of one."""
    test = data.split("test")
    x, y = test.batch(0, BATCH)
    layouts = tuple(_layouts(len(x), y, context))

    def features(rows: Tensor) -> Tensor:
        return ask_features(model, x[rows].to(context.device), data).double()

    def gaps() -> Tensor:
        reference = features(torch.arange(len(x)))
        return torch.stack([gap(features(rows), reference[rows]).max() for _, rows in layouts])

    found = difference(model, gaps)
    words = f"Features of {len(x)} test examples, {{}}, differ by {found.words}"
    if found.real:
        return Verdict.FAIL, Grade.INVARIANT, f"{words.format(layouts[found.place][0])}: they depend on the batch."
    if found.odd:
        told = f"{words.format(layouts[found.place][0])}, and it could not be told whether that is rounding."
        return Verdict.FLAG, Grade.INVARIANT, told
    return Verdict.PASS, Grade.INVARIANT, f"{words.format(f'in {len(layouts)} other batches')} at most."


def _layouts(n: int, y: Tensor | None, context: Context) -> Sequence[tuple[str, Tensor]]:
    order = torch.randperm(n, generator=context.rng("checks/order", device="cpu"))
    found = [("in another order", order), ("in half a batch", order[: max(1, n // 2)])]
    found += [("alone", torch.tensor([place])) for place in range(min(ALONE, n))]
    found.append(("beside copies of itself", torch.zeros(n, dtype=torch.long)))
    if y is not None:
        found.append(("sorted by label", y.argsort(stable=True)))
    return found


def membership(model: Model, data: Dataset, standard: Standard, context: Context) -> tuple[Verdict, Grade, str]:
    """Change one number of every example a little, and see how far the features of test and validation examples move.

    An encoder that looks test examples up, to say more of them than it can see, no longer finds one that was changed:
    its features jump. What a network has learned of examples by being trained on them moves nothing so far, and is not
    seen here.
    """
    if not len(data.split("validation")):
        return Verdict.NOT_APPLICABLE, Grade.DECLARED, "There are no validation examples to hold test examples against."
    test, validation = (_moved(model, data, split, standard, context) for split in ("test", "validation"))
    usual = float(validation.amax())
    jumps = int((test > max(JUMP * usual, SMALL)).sum())
    words = (
        f"When one number of an example is changed, features of validation examples move by {usual:.3g} standard "
        f"deviations at most"
    )
    if jumps > RARE * len(test):
        told = f"{words}, and those of {jumps} of {len(test)} test examples {JUMP} times as far: it looks them up."
        return Verdict.FLAG, Grade.INVARIANT, told
    return Verdict.PASS, Grade.INVARIANT, f"{words}, and those of test examples by {float(test.amax()):.3g}."


def _moved(model: Model, data: Dataset, split: str, standard: Standard, context: Context) -> Tensor:
    """How far features move, ``(N,)``, root mean square in units of their standard deviations."""
    examples = data.split(split)
    x, _ = examples.batch(0, MOST)
    rng = context.rng(f"checks/{split}", device="cpu")
    place = torch.randint(x[0].numel(), (len(x), 1), generator=rng)
    flat = x.flatten(1)
    value, support = flat.gather(1, place), data.space.support
    if isinstance(support, Discrete):
        other = torch.where(value + 1 < support.levels, value + 1, value - 1)
    else:
        other = value + NUDGE * flat.double().std().to(flat) * torch.where(value > flat.mean(), -1, 1)
    changed = flat.scatter(1, place, other.to(flat.dtype)).view_as(x)

    def distance(start: int, stop: int) -> Tensor:
        before, after = (
            standard(ask_features(model, part[start:stop].to(context.device), data)) for part in (x, changed)
        )
        return (after - before).square().mean(1).sqrt()

    return torch.cat([part for _, _, part in context.batches(len(x), distance)])


def twins(data: Dataset) -> tuple[Verdict, Grade, str]:
    """How many test examples stand in the training split."""
    known, fresh = (row_hashes(data.split(name).x) for name in ("train", "test"))
    hits = int(torch.isin(fresh, known).sum())
    if hits:
        return Verdict.FLAG, Grade.INVARIANT, f"{hits} of {len(fresh)} test examples are training examples too."
    return Verdict.PASS, Grade.INVARIANT, f"None of {len(fresh)} test examples is a training example."


def untouched(before: str, model: Model) -> tuple[Verdict, Grade, str]:
    """Whether the weights are those that they were."""
    if not isinstance(model, nn.Module):
        return Verdict.NOT_APPLICABLE, Grade.DECLARED, "The model is no nn.Module, and its weights cannot be looked at."
    if weights(model) != before:
        told = "Its weights changed while it was asked for features: it adapts to what it is tested on."
        return Verdict.FAIL, Grade.INVARIANT, told
    return Verdict.PASS, Grade.INVARIANT, "Its weights are what they were, to the last bit."


def convergence(probes: Sequence[Linear]) -> tuple[Verdict, Grade, str]:
    """Whether all strengths were solved, and whether each that was chosen lies inside of its grid."""
    lost, ends = sum(each.unconverged for each in probes), sum(each.at_edge for each in probes)
    if lost or ends:
        told = f"Of {len(probes)} probes {ends} chose the end of a grid that may grow no more, and {lost} strengths "
        return Verdict.FLAG, Grade.INVARIANT, f"{told}were left out, as the solver did not reach their optimum."
    return Verdict.PASS, Grade.INVARIANT, f"All {len(probes)} probes converged, and chose inside of their grids."


def shuffled(credits: Tensor, expected: Tensor) -> tuple[Verdict, Grade, str]:
    """Whether probes of shuffled labels, ``(P, N)`` credits, are right more often than by chance, ``(P,)`` expected."""
    each, chance = credits.double().mean(1) - expected, float(expected.mean())
    mean, error = float(each.mean()), float(each.std(correction=1)) / math.sqrt(len(each))
    right = f"right in {mean + chance:.1%}; chance is {chance:.1%}"
    words = f"With labels shuffled {len(each)} times the probe is {right}"
    if mean > 4.6 * error and error > 0:
        return Verdict.FLAG, Grade.TESTED, f"{words}: labels reach the features, or the test split the probe."
    return Verdict.PASS, Grade.TESTED, f"{words}."
