"""The house stands as it is drawn: rooms, arrows, names, packages."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("harness", "models", "results", "suites")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Which rooms a room may import from, itself apart; suites may use results.record alone.
ARROWS = {
    "models": set(),
    "results": set(),
    "suites": {"models", "results.record"},
    "harness": {"models", "results", "suites"},
}
# Where importing something heavy is allowed at the top of a module, and nowhere else.
HEAVY = {
    "torchmetrics": {"suites/metrics/streaming.py"},
    "torchvision": set(),
    "lightly": set(),
    "torch_fidelity": set(),
    "timm": set(),
}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_where_its_arrows_point(room):
    for path in sources(room):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "torchstone" or parts[1] == room:
                continue
            target = ".".join(parts[1:3])
            assert parts[1] in ARROWS[room] or target in ARROWS[room], f"{path.relative_to(ROOT)} imports {name}"


def test_slow_libraries_are_imported_at_the_top_of_no_other_file_than_the_one_that_needs_them():
    for room in ROOMS:
        for path in sources(room):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    top = (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
                    assert top not in HEAVY or str(path.relative_to(ROOT)) in HEAVY[top], path


def test_no_room_names_another_by_its_folder():
    for room in ROOMS:
        for path in sources(room):
            assert not {name.split(".")[0] for name in imported(path)} & set(ROOMS), path


def modules() -> list[str]:
    names = []
    for package in PROJECT["tool"]["setuptools"]["packages"]:
        path = str(ROOT / Path(*package.split(".")[1:]))
        names += [package] + [f"{package}.{m.name}" for m in pkgutil.iter_modules([path]) if not m.ispkg]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_the_exported_names_are_the_public_ones(name):
    module = importlib.import_module(name)
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    }
    if Path(str(module.__file__)).name == "__init__.py":
        assert set(getattr(module, "__all__", [])) >= own
        for key in getattr(module, "__all__", []):
            assert key in vars(module)
    else:
        exported = set(module.__all__)
        assert exported <= set(vars(module)), exported - set(vars(module))
        things = [vars(module)[key] for key in exported]
        assert all(thing.__doc__ for thing in things if inspect.isclass(thing) or inspect.isfunction(thing))


def test_every_package_is_listed_and_every_room_is_typed():
    found = {
        "torchstone." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])
    assert all((ROOT / room / "py.typed").exists() for room in ROOMS)
    assert not (ROOT / "torchstone").exists()


def test_every_entry_point_loads():
    for group in ("torchstone.models", "torchstone.suites", "torchstone.data"):
        for value in PROJECT["project"]["entry-points"][group].values():
            module, _, attribute = value.partition(":")
            assert callable(getattr(importlib.import_module(module), attribute))


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code", ["import torchstone.results", "import torchstone.harness", "import torchstone.harness.cli"]
)
def test_reading_records_and_asking_for_help_load_nothing_heavy(code):
    assert not modules_after(code) & {"torch", "pandas", "pyarrow", "tabulate", "matplotlib", "jinja2", "pydantic"}


def test_a_density_run_loads_none_of_the_slow_libraries(tmp_path):
    code = (
        "from torchstone.harness import run\n"
        f"run('independent', budget='smoke', results={str(tmp_path)!r}, progress=False)"
    )
    assert not modules_after(code) & {"torchmetrics", "torchvision", "lightly", "torch_fidelity", "zuko"}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_every_record_and_nothing_else(tmp_path):
    """Built from a copy, so that no stale build folder can add to it."""
    import shutil

    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (*ROOMS, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(copy)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    present = {
        f"torchstone/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    assert shipped == present
    assert "torchstone/results/references.csv" in shipped
