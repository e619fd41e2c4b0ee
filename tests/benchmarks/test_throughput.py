"""The suite's protocol beside an independent bare loop on the same model: what they find of its speed.

``pytest tests/benchmarks/test_throughput.py --benchmark-only -s`` prints each ratio; nothing is asserted about time.
Rounds are interleaved, as single ones vary by a quarter where others use the machine.
"""

import statistics

import pytest
import torch
from torch.utils.benchmark import Timer
from torchstone_extension.data import dataset

from torchstone.models import Discrete, Space
from torchstone.models.approximate.vae import vae
from torchstone.models.exact.transformer import Transformer
from torchstone.models.randomness import generator
from torchstone.suites.context import Context
from torchstone.suites.questions import validated
from torchstone.suites.timing.calibration import MatrixProduct
from torchstone.suites.timing.clock import WallClock
from torchstone.suites.timing.questions import questions
from torchstone.suites.timing.rig import Effort, Rig

SPACE, CPU = Space((8, 8), Discrete(17)), torch.device("cpu")
ROUNDS = 45


def bare(statement, names, seconds):
    """Seconds of a call, by torch's own timer."""
    timer = Timer(statement, "torch.set_grad_enabled(False)", globals=names, num_threads=1)
    with torch.no_grad():
        return timer.blocked_autorange(min_run_time=seconds).median


@pytest.mark.parametrize(("name", "n"), [("transformer log_prob", 64), ("transformer sample", 4), ("vae sample", 256)])
def test_the_suite_agrees_with_a_bare_loop(benchmark, name, n):
    torch.manual_seed(0)
    model = (vae if name.startswith("vae") else Transformer)(SPACE).eval()
    x = torch.randint(17, (300, 8, 8), generator=generator(0, "x"))
    asked = {each.name: each for each in questions(model, dataset(x, 17), "test", Context())}
    seconds = 0.2 if benchmark.enabled else 0.0
    rig = Rig(WallClock(CPU), Effort(4, seconds, 3, 0.0), MatrixProduct(CPU, torch.float32), 1)
    statement, names = "model.sample(n, rng=rng)", {"model": model, "n": n, "rng": generator(1, "bare")}
    if name.endswith("log_prob"):
        statement, names = "model.log_prob(x)", {"model": model, "x": x[:n].clone()}
    question = asked[name.split()[1]]

    def suite():
        return rig.time(question, n, None).typical.value

    ratios = []
    with validated():
        for turn in range(ROUNDS if benchmark.enabled else 1):
            if turn % 2:
                peer = bare(statement, names, seconds)
                ratios.append(suite() / peer)
            else:
                own = suite()
                ratios.append(own / bare(statement, names, seconds))
        benchmark.pedantic(suite, rounds=1)
    median = statistics.median(ratios)
    benchmark.extra_info["ratio to a bare loop, median"] = round(median, 4)
    print(f"\n{name} of {n}: suite / bare loop, median {median:.4f} of {[round(r, 3) for r in sorted(ratios)]}")
