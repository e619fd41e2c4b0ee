"""How the cost of a sample grows with its size, for the autoregressive models, drawn into sampling-cost.png.

    python examples/sampling_cost.py [sides] [models] [calls]
    python examples/sampling_cost.py 4,8,12,16 transformer,rnn,pixelcnn 9

Each model is built anew for grey images of each side, and a sample is drawn one at a time: every value of it takes one
evaluation of the network over all values. The exponent of time in the number of values is fitted, and beside it that of
the counted arithmetic, which no clock disturbs. By both laws it is said what an image of 1024×1024×3 would cost: laws
from small images, where fixed costs still count and the attention of the transformer is the smaller part of its
arithmetic, do not have to hold so far. Two to three minutes with OMP_NUM_THREADS=1, and far longer with more threads
than there are free cores.
"""

import sys
from pathlib import Path

import torch

from torchstone.models import Discrete, Space
from torchstone.models.exact.pixelcnn import PixelCNN
from torchstone.models.exact.rnn import RNN
from torchstone.models.exact.transformer import Transformer
from torchstone.suites.pictures.cost import Curve, cost
from torchstone.suites.timing.scaling import Cost, costs

MODELS = {"transformer": Transformer, "rnn": RNN, "pixelcnn": PixelCNN}
LARGE = 1024 * 1024 * 3


def main(sides: str = "4,8,12,16", models: str = "transformer,rnn,pixelcnn", calls: str = "5") -> dict[str, Cost]:
    """Measure, fit, say and draw."""
    if unknown := [name for name in models.split(",") if name not in MODELS]:
        raise SystemExit(f"No model {unknown[0]!r} is compared here: choose from {', '.join(MODELS)}.")
    found, curves = {}, []
    for name in models.split(","):
        spaces = [Space((side, side), Discrete(17)) for side in map(int, sides.split(","))]
        found[name] = law = costs(MODELS[name], spaces, calls=int(calls), device=torch.device("cpu"))
        print(f"{name}: seconds for a sample of " + ", ".join(map(_point, law.sizes, law.seconds)))
        if law.time is not None:
            print(f"  time grows as size^{law.time.exponent:.2f}{_between(law.time.ci95)}")
            print(f"  1024×1024×3 by that law: {_long(law.time.at(LARGE))}{_ends(law.time.interval(LARGE))}")
        if law.arithmetic is not None:
            exponent, flops = law.arithmetic.exponent, law.arithmetic.at(LARGE)
            print(f"  counted arithmetic grows as size^{exponent:.2f}: {flops:.3g} FLOP for 1024×1024×3 by that law,")
            print(f"  at the speed of the largest one here: {_long(law.seconds[-1] * flops / law.flops[-1])}")
        spread = tuple((each, each) for each in law.seconds)
        curves.append(Curve(name, law.sizes, law.seconds, spread, law.time))
    Path("sampling-cost.png").write_bytes(cost(curves, "values in a sample", shared=True))
    return found


def _point(size: int, seconds: float) -> str:
    return f"{size}: {seconds:.3g}"


def _between(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" (95 % from {ends[0]:.2f} to {ends[1]:.2f})"


def _ends(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" (95 % from {_long(ends[0])} to {_long(ends[1])}, if the law holds)"


def _long(seconds: float) -> str:
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


if __name__ == "__main__":
    main(*sys.argv[1:])
