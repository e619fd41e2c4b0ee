"""The rate-distortion plane of a VAE trained at several weights on its rate, drawn into rate-distortion.png.

    python examples/beta_sweep.py [budget] [data]

Training may weigh the rate as it likes; every point is measured with weight one, so that the lines on which rate and
distortion add to the same ELBO mean the same for all. About a minute for each weight at budget=quick.
"""

import sys
from pathlib import Path

from torchstone.harness import run
from torchstone.suites.pictures.bounds import Point, rate_distortion

BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
ELBO_ALONE = {"suite.importance_samples": 100, "suite.annealed_examples": 0, "suite.simulated_examples": 0}


def main(budget: str = "quick", data: str = "digits", betas: tuple[float, ...] = BETAS) -> None:
    """Fit, measure and draw."""
    points = []
    for beta in betas:
        (record,), _ = run("vae", suite="elbo", data=data, budget=budget, settings=ELBO_ALONE | {"model.beta": beta})
        rate, distortion = record.score("rate").value, -record.score("reconstruction").value
        points.append(Point(f"β = {beta:g}", rate, distortion))
        print(f"beta {beta:g}: rate {rate:.1f}, distortion {distortion:.1f}, ELBO {-rate - distortion:.1f} nats")
    Path("rate-distortion.png").write_bytes(rate_distortion(points))


if __name__ == "__main__":
    main(*sys.argv[1:])
