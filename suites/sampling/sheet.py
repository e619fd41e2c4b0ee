"""From samples and references to scores: each with its error, and with its floor and its null beside it."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from torchstone.results.record import Flat, Kind, Scalar, Score
from torchstone.suites.features.extractor import Extractor, Features
from torchstone.suites.metrics.classification import wilson_error
from torchstone.suites.metrics.copies import (
    closeness,
    near_copies,
    pairs_of_twins,
    row_hashes,
    support_size,
    twins,
)
from torchstone.suites.metrics.counts import binomial_tail, excess_p_value
from torchstone.suites.metrics.frechet import Extrapolation, frechet_distance, moments
from torchstone.suites.metrics.inception import inception_score
from torchstone.suites.metrics.neighbours import expected_coverage
from torchstone.suites.sampling.checks import CLAIMS
from torchstone.suites.sampling.distances import (
    Distance,
    Floor,
    extrapolated,
    floor_of,
    frechet,
    kernel,
    nearby,
    neighbour_errors,
)
from torchstone.suites.sampling.references import Reference

__all__ = ["Sheet"]

DISTANCE = "squared distance"
LEVEL = 1e-3
NEAR, FEW = (0.001, 0.05), 10_000  # the quantile of near copies with many test examples, and with fewer than these
FAR = 3.0  # times the floor
SETS, DIMS = 3, 8  # of a floor, below which a distance may honestly be less than half of it


@final
class Sheet:
    """Scores and notes as they come in.

    Attributes:
        scores: in the order of the table, the headline first.
        notes: warnings, and what was not applicable and why.
        seen: what the checks of `CLAIMS` saw, by their names; each is a warning too.
        untested: checks that could not be made, and why.
        above: the first Fréchet distance in units of its floor, where there is one.
    """

    def __init__(self) -> None:
        self.scores: list[Score] = []
        self.notes: list[str] = []
        self.seen: dict[str, list[str]] = {}
        self.untested: dict[str, str] = {}
        self.above: float | None = None

    def note(self, sentence: str) -> None:
        """Keep a warning or a reason."""
        self.notes.append(sentence)

    def flag(self, check: str, sentence: str) -> None:
        """Keep what a check saw."""
        assert check in CLAIMS
        self.seen.setdefault(check, []).append(sentence)
        self.note(sentence)

    def distances(
        self, samples: Features, cost: Flat, test: Reference, train: Reference, rng: torch.Generator
    ) -> Extrapolation | None:
        """Fréchet distances to both splits, and all else to the test split; the line to infinitely many samples.

        The first is given with what the samples cost.
        """
        self._frechet(samples, cost, test, train)
        line = None if test.features is None else extrapolated(samples.values, test.features.values, rng)
        if line is not None:
            self._add(
                "fid_infinity",
                DISTANCE,
                Distance(line.value, line.stderr, line.sizes[-1]),
                parameters={"slope": line.slope},
            )
        self._add("fid_train", DISTANCE, frechet(samples.values, train), contract={"reference": "train"})
        if test.features is None:
            self.note(f"Of {test.name} only moments are known: kernel distance and neighbours are not applicable.")
            return None
        self._kernel(samples, test.features, train, rng)
        self._neighbours(samples, test.features, train, rng)
        return line

    def _frechet(self, samples: Features, cost: Flat, test: Reference, train: Reference) -> None:
        found = frechet(samples.values, test)
        floor = None if test.features is None else _frechet_floor(test.features, train, found.n)
        self.above = None if floor is None else floor.units(found.value)
        self._add("fid", DISTANCE, found, floor, parameters=cost)
        if floor is None or floor.sets < SETS or samples.values.shape[1] < DIMS:
            self.untested["floor"] = f"There are fewer than {SETS} sets of training examples, or than {DIMS} features."
        elif found.value < floor.least / 2:
            self.flag(
                "floor",
                f"Its Fréchet distance, {found.value:.3g}, is less than half of what any {found.n} training examples "
                f"have, {floor.mean:.3g} in the mean: it has learned these very test examples, or their moments.",
            )

    def _kernel(self, samples: Features, test: Features, train: Reference, rng: torch.Generator) -> None:
        found = kernel(samples.values, test, rng)
        same = Features(test.values[: found.n])
        floor = floor_of(kernel(part.values, same, rng).value for part in train.sets(found.n))
        self._add("kid", DISTANCE, found, floor, null=0.0)

    def _neighbours(self, samples: Features, test: Features, train: Reference, rng: torch.Generator) -> None:
        found, n = nearby(samples.values, test), min(len(samples), len(test))
        floors = [nearby(part.values, test) for part in train.sets(n)]
        errors = neighbour_errors(samples.values, test, rng) or (None,) * 4
        nulls = {"density": 1.0, "coverage": expected_coverage(n, n, 5)}
        for metric, each, error, *others in zip(found._fields, found, errors, *floors, strict=True):
            floor = floor_of(float(other.double().mean()) for other in others)
            distance, pair = Distance(float(each.double().mean()), error, n), metric in ("precision", "recall")
            self._add(
                metric, "neighbourhoods" if metric == "density" else "share", distance, floor, null=nulls.get(metric),
                up=True, parameters={"k": 3 if pair else 5},
            )  # fmt: skip

    def classified(self, samples: Features, test: Features | None, extractor: Extractor) -> None:
        """The inception score, where the extractor is a classifier."""
        if samples.logits is None:
            return
        n = len(samples) if test is None or test.logits is None else min(len(samples), len(test))
        found = inception_score(samples.logits[:n])
        null = None if test is None or test.logits is None else inception_score(test.logits[:n]).value
        contract: Flat = {"classifier": extractor.classes, "splits": found.splits}
        distance = Distance(found.value, found.stderr, n)
        self._add("inception_score", "classes", distance, null=null, up=True, contract=contract)

    def labels(self, samples: Features, y: Tensor | None, classes: int | None) -> None:
        """How often the extractor sees the label that was asked for, where it is a classifier of these very labels."""
        if y is None or samples.logits is None or samples.logits.shape[1] != classes:
            return
        hits = int(torch.eq(samples.logits.argmax(1), y).sum())
        self._share("label_agreement", hits, len(y), {}, up=True)

    def second(self, samples: Features, test: Reference, train: Reference, extractor: Extractor) -> None:
        """The Fréchet distance by another extractor, which a sampler trained on the first one does not know."""
        found = frechet(samples.values, test)
        assert test.features is not None
        floor = _frechet_floor(test.features, train, found.n)
        self._add("fid_second", DISTANCE, found, floor, contract={"extractor": extractor.name})
        if floor is None or self.above is None:
            self.untested["second extractor"] = "There are too few training examples for a floor."
            return
        above = floor.units(found.value)
        if self.above < FAR and above > FAR * self.above:
            self.flag(
                "second extractor",
                f"By the first extractor its distance is {self.above:.2g} times that of training examples, and by "
                f"{extractor.name} {above:.2g} times: it may have been trained on the first one's features.",
            )

    def copies(self, samples: Tensor, train: Tensor, test: Tensor) -> None:
        """Samples that stand in a split, and samples that equal each other.

        How often an example has a twin among the others of its split is how often a new example would stand there.
        """
        drawn, known, fresh = row_hashes(samples), row_hashes(_like(train, samples)), row_hashes(_like(test, samples))
        n, hits, expected = len(drawn), int(torch.isin(drawn, known).sum()), twins(known)
        p = excess_p_value(hits, n, expected, len(known))
        self._share("exact_copies", hits, n, {"null": expected / len(known), "p_value": p})
        if p < LEVEL:
            self.flag(
                "copies of the training split",
                f"{hits} of {n} samples are training examples to the last bit, and {expected} of {len(known)} training "
                "examples have a twin: look at the picture of nearest neighbours.",
            )
        tests, expected = int(torch.isin(drawn, fresh).sum()), twins(fresh)
        if excess_p_value(tests, n, expected, len(fresh)) < LEVEL:
            self.flag(
                "copies of the test split",
                f"{tests} of {n} samples are test examples to the last bit, and {expected} of {len(fresh)} test "
                "examples have a twin: it has seen that split.",
            )
        self._duplicates(drawn, fresh)

    def _duplicates(self, drawn: Tensor, fresh: Tensor) -> None:
        """Equal pairs of samples, beside those of test examples, and how many different samples would give so many.

        Rare pairs are counts of Poisson: given both counts, the first is binomial where the law is the same.
        """
        n, pairs, others = len(drawn), pairs_of_twins(drawn), pairs_of_twins(fresh)
        every, every_other = (max(1, m * (m - 1) // 2) for m in (n, len(fresh)))
        expected, size = others / every_other * every, support_size(n, pairs)
        self.scores.append(
            Score(
                "duplicate_pairs", float(pairs), "pairs", Kind.EXACT, False, n=n,
                parameters={"null": expected, "support_size": size},
            )
        )  # fmt: skip
        if pairs == every:
            self.flag("duplicates", "All samples are equal: the sampler has collapsed, and covariances are singular.")
        elif pairs > 2 * expected and binomial_tail(pairs, pairs + others, every / (every + every_other)) < LEVEL:
            words = f"{pairs} pairs of samples are equal: as many as {size:.3g} different samples would give."
            self.flag("duplicates", words)

    def nearness(self, samples: Tensor, examples: Tensor, space: str, *, shown: bool) -> None:
        """How near samples are to the training split beside how near test examples are, given both distances.

        By ``space`` they are measured; only what is ``shown`` becomes a score, and either is a check.
        """
        close = closeness(samples, examples)
        quantile = NEAR[0] if len(examples) >= FEW else NEAR[1]
        near = near_copies(samples, examples, quantile)
        if shown:
            parameters: dict[str, Scalar] = {"distance": space, "null": 0.0, "p_value": close.p_value}
            excess = max(0.0, close.value - 0.5)  # farther than test examples is no merit
            self.scores.append(
                Score(
                    "memorisation", excess, "probability", Kind.ESTIMATE, False, close.stderr, n=len(samples),
                    parameters=parameters,
                )
            )  # fmt: skip
            hits = round(near.share * len(samples))
            beside: Flat = {"null": near.expected, "p_value": near.p_value, "distance": space, "quantile": quantile}
            self._share("near_copies", hits, len(samples), beside)
        if min(close.p_value, near.p_value) < LEVEL:
            self.flag(
                "near copies",
                f"By {space}, samples are nearer to the training split than test examples are: nearer in "
                f"{close.value:.0%} of pairs, and {near.share:.1%} of the samples among the nearest {quantile:.1%} "
                f"beside {near.expected:.1%} of the test examples. Look at the picture of nearest neighbours.",
            )

    def at_steps(self, samples: Features, test: Reference, steps: int, evaluations: float, seconds: float) -> Distance:
        """The Fréchet distance of an iterative sampler at a number of steps."""
        found = frechet(samples.values, test)
        parameters: Flat = {"steps": steps, "evaluations": evaluations, "seconds_per_sample": seconds}
        self._add("fid_at_steps", DISTANCE, found, parameters=parameters)
        return found

    def _share(self, metric: str, hits: int, n: int, parameters: Flat, *, up: bool = False) -> None:
        error, interval = wilson_error(hits / n, n)
        self.scores.append(Score(metric, hits / n, "share", Kind.ESTIMATE, up, error, interval, n, parameters))

    def _add(
        self,
        metric: str,
        unit: str,
        found: Distance,
        floor: Floor | None = None,
        *,
        null: float | None = None,
        up: bool = False,
        parameters: Flat | None = None,
        contract: Flat | None = None,
    ) -> None:
        beside: dict[str, Scalar] = {
            "corrected": found.corrected,
            "p_value": found.p_value,
            "floor": None if floor is None else floor.mean,
            "floor_sd": None if floor is None else floor.sd,
            "null": null,
        }
        known = {key: value for key, value in beside.items() if value is not None}
        error = found.stderr
        ends = None if error is None else (found.value - 1.96 * error, found.value + 1.96 * error)
        self.scores.append(
            Score(
                metric, found.value, unit, Kind.ESTIMATE, up, error, ends, found.n, {**known, **(parameters or {})},
                {"compared": found.n, **(contract or {})},
            )
        )  # fmt: skip


def _frechet_floor(test: Features, train: Reference, n: int) -> Floor | None:
    own = moments(test.values[:n])
    return floor_of(frechet_distance(moments(part.values), own) for part in train.sets(n))


def _like(x: Tensor, samples: Tensor) -> Tensor:
    """Real numbers in the precision of the samples; integers as they are."""
    return x.to(samples.dtype) if samples.is_floating_point() else x
