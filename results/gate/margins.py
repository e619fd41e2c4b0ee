"""How much worse a metric may become before a gate minds: what was asked for, and what is usual for its unit."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

from torchstone.results.comparison.speeds import CALIBRATION, is_speed
from torchstone.results.reading.measurements import Value

__all__ = ["DESCRIPTIVE", "Margin", "Margins", "margin"]

# A hundredth of a bit: the last digit that papers print, and what the seeds of one small model differ by.
_BITS = 0.01
_USUAL = {"bits/dim": _BITS, "bits/byte": _BITS, "nats/dim": _BITS * math.log(2), "share": 0.01}

# What describes a model and has no better or worse of its own, or says something of the machine alone: judged only
# where a margin is given for it. A larger rate may buy a better bound.
DESCRIPTIVE = frozenset({
    "reconstruction", "rate", "elbo_gap", "approximation_gap", "amortisation_gap", "bdmc_lower", "bdmc_upper",
    "bdmc_gap", "mutual_information", "mutual_information_upper", "marginal_kl", "marginal_kl_lower", "active_units",
    "active_units_0.001", "collapsed_latents", "decoder_reliance", "flagged", "inconclusive", "passed",
    "best_batch", "batch_exponent", "aa_ratio", CALIBRATION,
})  # fmt: skip
_DESCRIPTIVE_PARTS = "part_"


@final
@dataclass(frozen=True, slots=True)
class Margin:
    """An amount in the unit of a metric, or, where ``relative``, a share of the baseline's value."""

    amount: float
    relative: bool = False

    def of(self, baseline: float) -> float:
        """The amount for a baseline's value; of one that is not finite no share can be taken, and it is zero."""
        if not self.relative:
            return self.amount
        return self.amount * abs(baseline) if math.isfinite(baseline) else 0.0

    def scale(self, baseline: float, *, higher_is_better: bool) -> float:
        """What the baseline is multiplied by to be as bad as the margin lets it become; 1 where it is no share of it.

        A share of a measured baseline is as uncertain as that, and a test against it must know.
        """
        if not self.relative or not math.isfinite(baseline) or not baseline:
            return 1.0
        return 1.0 + self.amount * (1 if baseline > 0 else -1) * (-1 if higher_is_better else 1)


_COST = Margin(0.1, relative=True)
_COSTS = frozenset({"evaluations", "parameters", "FLOP", "MiB", "J", "of matrix products"})
_OTHER = Margin(0.01, relative=True)


def margin(metric: str, text: float | str) -> Margin:
    """The margin of ``metric`` that a text such as ``0.01`` or ``10%``, or a number, says.

    Raises:
        ValueError: it is not a number, or is below zero or not finite; the message says what is accepted.
    """
    words = str(text).strip()
    try:
        amount = float(words.removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount >= 0):
        raise ValueError(
            f"margin {metric}={text}: it should be a number of at least 0 in the unit of the metric, or a percentage "
            f"of the baseline's value; write for example {metric}=0.01 or {metric}=10%."
        )
    return Margin(amount / 100, relative=True) if words.endswith("%") else Margin(amount)


@final
@dataclass(frozen=True, slots=True)
class Margins:
    """The margins of a gate: ``given`` by name of a metric, the usual ones for all others."""

    given: Mapping[str, Margin] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Mapping[str, float | str]) -> Margins:
        """Of texts by metric. ValueError where one of them is no margin."""
        return cls({metric: margin(metric, text) for metric, text in texts.items()})

    def check(self, known: Iterable[str]) -> None:
        """Raises ValueError, naming the nearest, where a margin is given for a metric that is not ``known``."""
        names = {name for each in known for name in (each, _base(each))}
        for metric in self.given:
            if metric not in names:
                close = difflib.get_close_matches(metric, names, n=1)
                offer = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(sorted(names))}."
                raise ValueError(f"margin {metric}: there is no such metric in these records; {offer}")

    def of(self, metric: str, value: Value) -> Margin | None:
        """How much worse ``metric`` may become; None where it is not to be judged.

        Args:
            metric: the name of its column.
            value: that of one record: its unit and contract.
        """
        base = _base(metric)
        chosen = self.given.get(metric) or self.given.get(base)
        if chosen is None and (base in DESCRIPTIVE or base.startswith(_DESCRIPTIVE_PARTS)):
            return None
        return chosen or _usual(value)


def _usual(value: Value) -> Margin:
    """What is usual in the unit of ``value``."""
    if value.unit == "audits":
        return Margin(0.0)
    if is_speed(value.unit) or value.unit in _COSTS:
        return _COST
    dims = json.loads(value.contract).get("dims")
    if value.unit == "nats/example" and isinstance(dims, int) and dims > 0:
        return Margin(_BITS * dims * math.log(2))
    return Margin(_USUAL[value.unit]) if value.unit in _USUAL else _OTHER


def _base(metric: str) -> str:
    """The metric of a column's name, without what tells it from others of that metric."""
    return metric.split(" ")[0]
