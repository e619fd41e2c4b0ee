from __future__ import annotations

import subprocess
import sys

import pytest

import torchstone.results

HEAVY = ("torch", "pandas", "pyarrow", "numpy", "orjson", "tabulate", "jinja2", "matplotlib")


@pytest.mark.parametrize(
    "module", ["", ".store", ".reading.frame", ".tables.table", ".tables.render", ".sheets.describe", ".gate.judging"]
)
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, torchstone.results{module}; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_names_it_lists_are_those_it_has():
    names = {
        name for name, value in vars(torchstone.results).items() if not name.startswith("_") and isinstance(value, type)
    }
    assert names == set(torchstone.results.__all__)
