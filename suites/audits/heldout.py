"""Whether the test split is held out: no better known to the model than examples that no fit has seen."""

from __future__ import annotations

import math
from typing import ClassVar, final

from torchstone.models.model import Tokenised
from torchstone.suites.audits.audit import Audit, Finding, Grade, Verdict
from torchstone.suites.audits.subject import Density, Subject
from torchstone.suites.metrics.evidence import worth

__all__ = ["HeldOut"]

MOST, FEWEST = 1_000, 30  # examples of each split
WEIGHTS = 16
RARE = 1e-6
LARGE = 0.65


@final
class HeldOut(Audit):
    """Log-densities of test examples against those of validation examples, which were held out as well.

    A model that was trained on the test split and remembers it gives a test example a larger density than one of the
    validation split far more often than every other time. Splits may differ for reasons of their own, as the regions of
    a photograph do, and so this is flagged, and only where the difference is large. A model that learned from the test
    split and remembers nothing of it in particular is not seen.

    Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
    Other", 1947.
    """

    name: ClassVar[str] = "held-out test split"
    claim: ClassVar[str] = "The test split is no better known to the model than other held-out examples."

    def audit(self, subject: Subject) -> Finding:
        """Compare the two splits, with the training split beside them."""
        from scipy.stats import mannwhitneyu

        if subject.density is Density.NONE or isinstance(subject.model, Tokenised):
            return Finding.not_applicable("The model gives no density of the data as they are stored.")
        splits = {name: subject.examples_of(name, MOST) for name in ("test", "validation", "train")}
        if min(len(splits["test"][0]), len(splits["validation"][0])) < FEWEST:
            return Finding.not_applicable(f"It takes {FEWEST} examples of both splits.")
        found = {name: worth(subject.log_density(x, y, f"held out/{name}", WEIGHTS)) for name, (x, y) in splits.items()}
        test, validation = found["test"], found["validation"]
        statistic, p = mannwhitneyu(test.numpy(), validation.numpy(), alternative="greater")
        share = float(statistic) / (len(test) * len(validation))
        odd = share >= LARGE and float(p) <= RARE
        medians = ", ".join(f"{name} {float(values.median()):.4g}" for name, values in found.items())
        words = (
            f"Of {len(test)} test and {len(validation)} validation examples the test one has the larger density "
            f"{share:.0%} of the time (p = {float(p):.2g}); medians in nats: {medians}."
        )
        return Finding(
            Verdict.FLAG if odd else Verdict.PASS,
            Grade.INVARIANT,
            words,
            share,
            power=f"Would see a test split that wins {_visible(len(test), len(validation)):.0%} of the time; not one "
            "that was seen and forgotten.",
        )


def _visible(n: int, m: int) -> float:
    """The share of wins that is both large and rare, by the normal law of the rank sum."""
    from scipy.special import ndtri

    return max(LARGE, 0.5 - float(ndtri(RARE)) * math.sqrt((n + m + 1) / (12 * n * m)))
