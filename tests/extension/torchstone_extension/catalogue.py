"""The catalogue of mistakes: each with an adapter that makes it, the honest one it was made from, and what finds it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from torchstone.models import Model
from torchstone_extension.cheats import bounds, densities, encoders, masks, samplers, sampling, state, timing, units
from torchstone_extension.fixtures import discrete, generators
from torchstone_extension.fixtures.honest import FIXTURES, GREYS, LABELLED, STEPS

__all__ = ["CATALOGUE", "Entry", "Outcome", "table"]


class Outcome(StrEnum):
    """What becomes of a mistake."""

    IMPOSSIBLE = "impossible"
    """The harness does what the mistake would be made in: the right number comes out."""
    FAIL = "fail"
    """A sound audit fails it."""
    FLAG = "flag"
    """An audit points at it; an honest adapter may do the same."""


@dataclass(frozen=True)
class Entry:
    """One mistake.

    Attributes:
        number: of the kind of mistake; several entries may share one.
        mistake: in words.
        outcome: what becomes of it.
        by: the audits that find it, or how it is made impossible.
        cheat: the adapter that makes it.
        honest: the name of the fixture that it was made from, on whose data it is asked.
        suite: whose audits find it.
    """

    number: int
    mistake: str
    outcome: Outcome
    by: str
    cheat: Callable[[], Model] | None = None
    honest: str | None = None
    suite: str = "audit"

    @property
    def id(self) -> str:
        """Number and name of the adapter, or the first words of the mistake."""
        name = (
            "-".join(self.mistake.lower().replace(",", "").split()[:4]) if self.cheat is None else self.cheat.__name__
        )
        return f"{self.number}-{name}"

    @property
    def audits(self) -> tuple[str, ...]:
        """The names of the audits that must find it."""
        return tuple(self.by.split(", ")) if self.outcome in (Outcome.FAIL, Outcome.FLAG) else ()


def _of(cheat, *arguments, **more):
    """A factory that keeps the name of the class."""
    build = lambda: cheat(*arguments, **more)  # noqa: E731
    build.__name__ = cheat.__name__
    return build


def _beside(cheat, honest):
    """A factory that gives the honest adapter to the class."""
    build = lambda: cheat(FIXTURES[honest].build())  # noqa: E731
    build.__name__ = cheat.__name__
    return build


def _copies(split):
    """A sampler that gives out a split of the data of integers."""
    data = FIXTURES["generator of integers"].data
    build = lambda: samplers.Copies(data().split(split).x, generators.COARSE)  # noqa: E731
    build.__name__ = f"Copies-of-{split}"
    return build


def _look_up(split):
    build = lambda: units.LookUp(discrete.IMAGES, images=FIXTURES["images"].data().split(split).x)  # noqa: E731
    build.__name__ = f"LookUp-of-{split}"
    return build


def _trained_on_test():
    return units.TrainedOnTest(FIXTURES["mirrored"].data().split("test").x)


def _impossible(number, mistake, by):
    return Entry(number, mistake, Outcome.IMPOSSIBLE, by)


def _fail(number, mistake, by, cheat, honest):
    return Entry(number, mistake, Outcome.FAIL, by, cheat, honest)


def _flag(number, mistake, by, cheat, honest):
    return Entry(number, mistake, Outcome.FLAG, by, cheat, honest)


def _sampled_impossible(number, mistake, by):
    return Entry(number, mistake, Outcome.IMPOSSIBLE, by, suite="samples")


def _sampled_flag(number, mistake, by, cheat):
    return Entry(number, mistake, Outcome.FLAG, by, cheat, suite="samples")


def _asked_impossible(number, mistake, by, suite):
    return Entry(number, mistake, Outcome.IMPOSSIBLE, by, suite=suite)


def _probed(outcome, number, mistake, by, cheat):
    return Entry(number, mistake, outcome, by, cheat, suite="representation")


def _timed_impossible(number, mistake, by):
    return Entry(number, mistake, Outcome.IMPOSSIBLE, by, suite="throughput")


def _timed_fail(number, mistake, by, cheat):
    return Entry(number, mistake, Outcome.FAIL, by, cheat, suite="throughput")


def _timed_flag(number, mistake, by, cheat):
    return Entry(number, mistake, Outcome.FLAG, by, cheat, suite="throughput")


_SUM, _FLOORS, _UNITY, _MASS = "enumeration", "entropy floors", "super-unity", "importance mass"
_PIT, _GOODNESS, _ORDER, _ENCODER = "conditional PIT", "goodness of fit", "bound ordering", "encoder density"
_CAUSAL, _BATCH, _PURE, _PRECISE = "causality", "batch independence", "purity", "precision"
_SUPPORT, _FRESH, _KNOWN, _CLAMPED = "support", "freshness", "known source", "clamped probabilities"
_JOINT, _HELD = "conditional and marginal", "held-out test split"

_UNITS = (
    _impossible(1, "forgets the ln 256 of dequantisation", "the harness adds the constant of its own map"),
    _fail(1, "states a density of scaled pixels where a probability is due", f"{_UNITY}, {_FLOORS}, {_SUM}",
          units.DensityForMass, "grey"),
    _impossible(2, "adds 8 bits to data on [-1, 1], or 7 to data on [0, 1]",
                "the constant is that of the support that is declared"),
    _fail(2, "states the density on [0, 1] of data on [-1, 1]", f"{_FLOORS}, {_MASS}",
          _of(units.ConstantOfAnotherRange, GREYS, low=-1.0), "flat on [-1, 1]"),
    _impossible(3, "divides by 255, and takes the constant of 256",
                "the slope of the map is measured and held against its constant"),
    _fail(3, "counts 255 bins where there are 256", _SUM, units.Bins255, "grey"),
    _impossible(4, "adds noise of its own to dequantised data, and corrects for one of the two",
                "the noise is the harness's"),
    _fail(4, "adds noise of its own in log_prob", _PURE, _of(units.OwnNoise, STEPS), "clamped"),
    _impossible(5, "is measured without noise, where its density has spikes", "the noise is the harness's"),
    _impossible(6, "divides by pixels in place of channels, or takes nats for bits",
                "units and dimensions are the harness's"),
    _flag(6, "returns bits where nats are due", _SUM, units.Bits, "bits"),
    _impossible(7, "averages batch means, the last batch like the others", "the mean over examples is the harness's"),
    _fail(7, "gives every example the mean of its batch", _BATCH, units.MeanOverTheBatch, "bits"),
    _impossible(8, "drops the last, incomplete batch", "the batches are the harness's, and every example is numbered"),
    _impossible(9, "drops what is not finite", "a NaN is counted, and the mean is infinite"),
    _fail(10, "lets no example cost more than four nats", f"{_SUM}, {_UNITY}", units.Floored, "bits"),
    _flag(10, "lets no bin hold less than 1e-12", _CLAMPED, units.ClampedBins, "logistics"),
    _flag(10, "leaves probabilities to Categorical(probs=...), which lets none be below 1.2e-7", _CLAMPED,
          _of(units.Probabilities, discrete.IMAGES), "images"),
)  # fmt: skip
_DENSITIES = (
    _fail(11, "multiplies the conditionals given all neighbours (pseudo-likelihood)", f"{_SUM}, {_KNOWN}",
          densities.PseudoLikelihood, "spins"),
    _fail(11, "the same, declared autoregressive", f"{_CAUSAL}, {_SUM}", densities.ConditionalsOnAll, "spins"),
    _fail(11, "gives an energy without its partition function", f"{_SUM}, {_UNITY}, {_FLOORS}, {_KNOWN}",
          densities.Energy, "spins"),
    _fail(12, "has a symmetric mask", f"{_CAUSAL}, {_SUM}, {_KNOWN}", masks.Peeking, "bits"),
    _fail(12, "sees its own value: a mask shifted by one", f"{_CAUSAL}, {_SUM}, {_KNOWN}", masks.ShiftedByOne, "bits"),
    _fail(12, "copies its own value", f"{_CAUSAL}, {_SUM}, {_FLOORS}, {_KNOWN}", masks.SelfCopy, "bits"),
    _fail(12, "lets all colours of a pixel see each other", f"{_CAUSAL}, {_SUM}",
          _of(masks.ChannelsAtOnce, discrete.COLOURS), "colours"),
    _fail(12, "has no mask", f"{_CAUSAL}, {_SUM}", masks.Unmasked, "bits"),
    _fail(12, "generates in the opposite of the order that it declares", _CAUSAL, masks.OtherOrder, "bits"),
    _fail(12, "declares an order that is no permutation", _CAUSAL, masks.NoPermutation, "bits"),
    _fail(12, "normalises over all positions (LayerNorm over the sequence)", _CAUSAL,
          _of(masks.NormalisedOverPositions, discrete.IMAGES), "images"),
    _fail(12, "centres over space (GroupNorm, BatchNorm)", _CAUSAL,
          _of(masks.CentredOverSpace, discrete.IMAGES), "images"),
    _fail(12, "hears of the last position with a weight of 1e-4", _CAUSAL,
          _of(masks.Whispering, discrete.IMAGES), "images"),
    _fail(13, "returns one mean for the batch", f"{_SUM}, {_BATCH}", units.OneNumberForAll, "bits"),
    _fail(13, "averages over dimensions where it should add", f"{_SUM}, {_UNITY}", units.MeanOverDimensions, "bits"),
    _fail(14, "forgets the determinant of its map", f"{_MASS}, {_KNOWN}", densities.NoDeterminant, "affine"),
    _fail(14, "has the wrong sign on its determinant", f"{_MASS}, {_KNOWN}", densities.WrongSign, "affine"),
    _fail(14, "adds the determinants of the whole batch", _BATCH, densities.DeterminantOfTheBatch, "affine"),
    _fail(15, "samples through a map that is not the inverse of that of its density", _PIT,
          densities.AnotherInverse, "affine"),
    _fail(16, "takes density times width for the mass of a narrow bin", _SUM, units.NarrowTimesWidth, "logistics"),
    _flag(16, "the same of wide logistics, which lack mass", _SUM, units.DensityTimesWidth, "logistics"),
    _fail(17, "takes the cross-entropy of grey values for a log-probability", f"{_SUM}, {_FLOORS}",
          _of(units.BernoulliOfGreys, levels=17), "grey, 17 levels"),
    _fail(17, "takes a Gaussian density at integers for their probability", f"{_SUM}, {_UNITY}",
          _of(units.GaussianOfIntegers, levels=17), "grey, 17 levels"),
    _fail(18, "estimates a trace by one probe, chosen and used again", f"{_MASS}, {_KNOWN}",
          densities.PickedProbe, "flowing"),
    _fail(18, "solves its equation too coarsely", f"{_MASS}, {_KNOWN}", densities.OneEulerStep, "flowing"),
    _fail(19, "states the density of one process and samples another", _PIT,
          densities.SamplesOfAnotherEquation, "correlated"),
)  # fmt: skip
_BOUNDS = (
    _impossible(20, "shows a bound of K samples as an ELBO, or as exact", "kind and K are the harness's"),
    _impossible(21, "does not divide its importance weights by their number", "the harness averages the weights"),
    _fail(21, "adds ln 5000 to a bound without draws", f"{_SUM}, {_UNITY}, {_FLOORS}", bounds.LogK, "codes"),
    _flag(21, "adds up weights of its own, beside its exact density", _ORDER, bounds.NoLogK, "own weights"),
    _flag(21, "adds up weights of its own, and gives nothing else", _FLOORS, bounds.NoLogKAlone, "own weights"),
    _impossible(22, "weighs the rate by beta, free bits or a mean at evaluation",
                "the harness adds up the three distributions"),
    _fail(22, "halves the rate of a bound that it computes itself", _SUM, bounds.HalfTheRate, "codes"),
    _fail(22, "leaves the rate out", f"{_SUM}, {_FLOORS}", bounds.NoRate, "codes"),
    _fail(22, "takes a nat off the rate", _SUM, bounds.FreeBits, "codes"),
    _fail(22, "averages the rate over latents, and adds reconstruction up", _SUM, bounds.MeanRate, "codes"),
    _fail(23, "draws by a deviation and states the variance", _ENCODER, bounds.VarianceForDeviation, "amortised"),
    _fail(23, "draws more narrowly than it states", _ENCODER, bounds.NarrowDraws, "amortised"),
    _fail(23, "forgets the determinant in its posterior", _ENCODER, bounds.NoDeterminantInThePosterior, "amortised"),
    _fail(23, "the same, which lifts the bound above its own density", f"{_ENCODER}, {_ORDER}",
          bounds.BoundAboveItsDensity, "factor with density"),
    _fail(24, "samples with another prior than that of its bound", _PIT, bounds.PriorOfItsOwn, "pixels"),
    _impossible(25, "adds up importance weights in half or single precision", "the harness adds up, in float64"),
    _impossible(26, "anneals wrongly: adapted steps, wrong prior, no rejection, a mean over the batch",
                "annealing is the harness's, and held to closed forms"),
    _impossible(27, "reports an upper bound on real data", "upper bounds are of simulated data, and say so"),
    _fail(28, "adds up half of the steps of a diffusion bound", f"{_FLOORS}", bounds.HalfTheSteps, "diffusion"),
    _fail(28, "drops what the last step of a short diffusion costs", f"{_FLOORS}", bounds.WithoutPrior, "diffusion"),
)  # fmt: skip
_STATE = (
    _impossible(29, "is measured on what it was trained on", "fit is never given the test split"),
    _flag(30, "was trained on the test split elsewhere, and remembers it", _HELD, _trained_on_test, "mirrored"),
    _fail(31, "learns from the examples that it is asked about", _PURE, state.Adapting, "bits"),
    _fail(31, "remembers the examples that it was asked about", _PURE, state.Remembering, "bits"),
    _fail(31, "works in the tensor that it is given", _PURE, state.Overwriting, "bits"),
    _fail(32, "normalises by the statistics of its batch", _BATCH, state.BatchStatistics, "bits"),
    _fail(32, "is initialised by the first batch that it is asked about", _PURE, state.FirstBatch, "bits"),
    _flag(32, "switches itself to training", _PURE, state.LeftInTraining, "bits"),
    _fail(33, "leaves its dropout on", _PURE, state.DroppingOut, "bits"),
    _impossible(34, "averages probabilities over mirror images", "the average is a density, and passes as one"),
    _fail(34, "takes the better of an image and its mirror image", f"{_SUM}",
          _beside(units.BestOfMirrors, "mirrored bits"), "mirrored bits"),
    _flag(35, "adds up in half precision", _PRECISE, _of(state.HalfSums, (3, 16, 16)), "large grey"),
    _impossible(35, "adds noise to integers of eight bits, which overflow", "models are given int64"),
    _fail(36, "charges nothing for half of the positions", f"{_SUM}, {_FLOORS}, {_KNOWN}", units.FreePixels, "bits"),
    _fail(37, "knows training images by heart", _UNITY, _look_up("train"), "images"),
    _fail(37, "knows test images by heart", f"{_UNITY}, {_KNOWN}", _look_up("test"), "images"),
)  # fmt: skip
_SAMPLERS = (
    _fail(38, "has a seed of its own", _PURE, samplers.SeedOfItsOwn, "generator"),
    _flag(38, "draws from the global generator", _PURE, samplers.GlobalRandomness, "generator"),
    _flag(39, "gives out training images", _FRESH, _copies("train"), "generator of integers"),
    _sampled_flag(39, "gives out training images, and is measured by their distances",
                  "copies of the training split, near copies", sampling.TrainingDigits),
    _sampled_flag(39, "retouches training images", "near copies", sampling.RetouchedDigits),
    _sampled_flag(39, "draws from few images", "duplicates", sampling.FewDigits),
    _sampled_flag(40, "gives out test images, and is measured by their distances",
                  "copies of the test split, floor", sampling.TestDigits),
    _flag(40, "gives out test images", _FRESH, _copies("test"), "generator of integers"),
    _fail(41, "draws two and keeps the more probable", f"{_PIT}, {_GOODNESS}", samplers.BestOfTwo, "bits"),
    _fail(42, "samples at a temperature of 0.8", _PIT, _of(samplers.Cold, discrete.IMAGES), "images"),
    _fail(42, "samples at a temperature of 1.25", _PIT, _of(samplers.Hot, discrete.IMAGES), "images"),
    _fail(42, "samples with guidance", f"{_PIT}, {_GOODNESS}", _of(samplers.Guided, LABELLED), "bits, labelled"),
    _fail(42, "samples with other weights, such as a moving average", f"{_PIT}, {_GOODNESS}",
          samplers.OtherWeights, "bits"),
    _sampled_impossible(43, "draws too few samples, or the best of several sets",
                        "the harness asks for one set, counts it, and says how many in the contract"),
    _fail(44, "samples the most probable values", f"{_PIT}, {_GOODNESS}", samplers.Greedy, "bits"),
    _fail(44, "samples the mean of its decoder", _PIT, bounds.DecoderMean, "noisy factor"),
    _fail(44, "samples real numbers where integers are declared", _SUPPORT,
          _of(samplers.Unrounded, generators.COARSE), "generator of integers"),
    _fail(44, "leaves the support that it declares", _SUPPORT, samplers.OutOfRange, "generator"),
    _sampled_impossible(45, "saves or resizes images in another way before they are compared",
                        "samples and data take one way to one extractor, and no file lies on it"),
    _fail(46, "ignores the label that it is asked for", f"{_PIT}, {_GOODNESS}",
          _of(samplers.LabelsOfItsOwn, LABELLED), "bits, labelled"),
    _fail(47, "samples one mode of its density", f"{_PIT}, {_GOODNESS}", samplers.OneMode, "bits"),
    Entry(47, "has collapsed, and has no density that would tell", Outcome.FLAG, f"{_SUPPORT}, {_FRESH}",
          generators.Collapsed, "generator"),
    _sampled_flag(47, "has collapsed to one image, which precision may like", "duplicates", sampling.OneDigit),
    _sampled_flag(48, "was made to match the features that judge its samples", "second extractor",
                  sampling.FeatureDigits),
    _sampled_impossible(49, "states fewer steps than it takes",
                        "the calls of its network are counted by the harness"),
    _fail(49, "takes fewer steps the more samples it is asked for", _BATCH, samplers.StepsByBatch, "denoiser"),
)  # fmt: skip
_FEATURES = (
    _asked_impossible(50, "learns its features from labels", "a model without classes is fitted without labels",
                      "representation"),
    _asked_impossible(50, "guesses labels from the order of the training split",
                      "an encoder is fitted on examples in a shuffled order", "representation"),
    _probed(Outcome.FAIL, 50, "takes its features from the place of an example", "features of one example",
            encoders.LabelsByPlace),
    _probed(Outcome.FAIL, 50, "takes its features from the class that a batch is of", "features of one example",
            encoders.ClassBatchNorm),
    _asked_impossible(51, "standardises features by training and test split",
                      "the harness standardises, by the training split", "representation"),
    _probed(Outcome.FAIL, 51, "standardises its features by the batch", "features of one example",
            encoders.Transductive),
    _asked_impossible(52, "chooses the probe on the test split",
                      "the strength is chosen on held-out training examples, and the test split is asked once",
                      "representation"),
    _asked_impossible(53, "shows a probe that is not linear, or wider, as linear",
                      "the harness owns the probes, and counts the features", "representation"),
    _probed(Outcome.FAIL, 53, "changes its weights while it is asked", "weights untouched", encoders.AdaptsToTest),
    _asked_impossible(54, "was trained on other data, or with labels, and stands beside those that were not",
                      "what it says it was trained on is in the contract", "representation"),
    _probed(Outcome.FLAG, 54, "looks test examples up", "membership", encoders.LabelsLookedUp),
    _asked_impossible(55, "is held against a probe that has not converged",
                      "a strength whose gradient is not zero is never chosen", "representation"),
    _asked_impossible(55, "stands beside a probe at the end of its grid", "the grid grows, and says where it ends",
                      "representation"),
    _asked_impossible(56, "reports one lucky draw of few labels", "ten draws, the same for every model",
                      "representation"),
)  # fmt: skip
_LABELS = (
    _asked_impossible(57, "turns its score round, or a score for each set, so that the area is above one half",
                      "every score is the higher the more outlying, and no area is flipped", "outliers"),
    _asked_impossible(57, "tunes its score on the outliers",
                      "scores are fixed by training and validation examples before an outlier is made", "outliers"),
    _asked_impossible(58, "is shown outliers of another resolution, encoding or padding",
                      "outliers lie in the space of the data, take one way to the model, and baselines stand beside",
                      "outliers"),
    _asked_impossible(59, "takes p(y) from the test split", "p(y) is of the training split, and the harness's",
                      "conditional"),
    _asked_impossible(59, "leaves the sum over labels out", "the harness adds up", "conditional"),
    _asked_impossible(59, "draws other noise for each label",
                      "a bound is asked with the same noise for every label", "conditional"),
    _fail(59, "claims a joint density, and leaves p(y) out of its marginal", _JOINT,
          densities.MarginalWithoutPrior, "bits and labels"),
    _fail(59, "gives the marginal of another model for that of its joint density", _JOINT,
          densities.MarginalOfAnother, "bits and labels"),
    _fail(59, "states a p(y) that adds up to more than one", _JOINT, densities.PriorAboveOne, "bits and labels"),
    _fail(60, "hides a classifier in its class-conditional density", f"{_SUM}",
          _beside(densities.HiddenClassifier, "bits, labelled"), "bits, labelled"),
)  # fmt: skip

_THROUGHPUT = (
    _timed_fail(61, "returns before its output is computed", "materialised", timing.Deferred),
    _timed_fail(61, "returns a tensor that is computed when it is used", "materialised", timing.Lazy),
    _timed_impossible(62, "compiles in its first call",
                      "the first call is timed apart, and warm-up goes on until it is steady"),
    _timed_impossible(62, "compiles again in every call, and leaves it out",
                      "the clock is the harness's, and holds the call"),
    _timed_flag(62, "compiles for every new batch size", "every shape", timing.CompilesEachSize),
    _timed_impossible(63, "answers inputs that it has seen from a cache", "inputs and seeds never recur"),
    _timed_fail(63, "answers by the size of the batch alone", "fresh outputs, timed path", timing.CachesSizes),
    _timed_fail(63, "gives the same batch whatever the seed", "fresh outputs", timing.OneBatch),
    _timed_fail(63, "gives out views of samples that were drawn before", "fresh outputs", timing.Pool),
    _timed_flag(63, "draws from a small pool of samples", "fresh outputs", timing.SmallPool),
    _timed_fail(64, "computes in half precision once it is timed", "timed path", timing.HalfPrecisionLater),
    _timed_fail(64, "takes fewer steps once it is timed", "timed path", timing.FewerStepsLater),
    _timed_flag(64, "takes fewer steps for a batch than for one", "timed path", timing.FewerStepsTogether),
    _timed_fail(64, "samples from other weights once it is timed", "timed path", timing.OtherWeightsLater),
    _timed_flag(64, "takes as many steps, whatever it is asked for", "growth", timing.NoSteps),
    _timed_flag(64, "does less once it is timed, and draws otherwise each time, so that nobody can tell", "timed path",
                timing.SeedlessLater),
    _timed_impossible(65, "leaves the peak of another phase in the peak memory",
                      "the peak is set back before the call"),
    _timed_impossible(65, "holds memory that the allocator does not see",
                      "the resident peak of the process is beside it"),
    _timed_flag(66, "takes more threads than it was given", "threads", timing.TakesThreads),
    _timed_flag(66, "is timed on a machine that throttles", "A/A", timing.Costly),
)  # fmt: skip

CATALOGUE: tuple[Entry, ...] = (*_UNITS, *_DENSITIES, *_BOUNDS, *_STATE, *_SAMPLERS, *_FEATURES, *_LABELS, *_THROUGHPUT)


def table() -> str:
    """The catalogue as a Markdown table."""
    lines = ["| no. | the mistake | outcome | by |", "| ---: | --- | --- | --- |"]
    lines += [f"| {entry.number} | {entry.mistake} | {entry.outcome.value} | {entry.by} |" for entry in CATALOGUE]
    return "\n".join(lines)
