"""The command line: what it prints and where, its exit codes, and its manners with bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file

from torchstone.results import Status, Store

QUICK = ("suite=density", "budget=smoke")


def records(folder: Path) -> dict[str, object]:
    return {record.model: record for record in Store(folder).records()}


# What it does


def test_a_run_prints_the_table_on_standard_output_and_all_else_on_standard_error(bench):
    said = bench("run", *QUICK, "model=independent,linear_gaussian")
    assert said.code == 0
    assert "| independent |" in said.out and "≤" in said.out
    assert "completed in" in said.err and "completed in" not in said.out
    exact, bound = said.out.split("upper bounds")[0], said.out.split("upper bounds")[1]
    assert "independent" in exact and "linear_gaussian" not in exact
    assert "linear_gaussian" in bound and "independent" not in bound


def test_a_second_run_finds_what_the_first_computed_and_fresh_computes_anew(bench):
    command = ("run", *QUICK, "model=independent")
    first, second = bench(*command), bench(*command)
    assert "found in the store" in second.err and first.out == second.out
    assert len(list(Path("bench-results").glob("*.json"))) == 1
    assert "found" not in bench(*command, "--fresh").err
    assert len(list(Path("bench-results").glob("*.json"))) == 2


def test_a_failed_cell_is_tried_again(bench):
    command = ("run", *QUICK, "model=torchstone_extension.mutants:BadFit")
    assert bench(*command).code == 3
    again = bench(*command)
    assert again.code == 3 and "found" not in again.err and "the loss went up" in again.err


@pytest.mark.parametrize(
    "changed", ["seed=1", "budget=21", "suite.split=validation", "model.conditional=true", "data=patches"]
)
def test_whatever_changes_the_numbers_changes_the_identity(bench, changed):
    bench("run", *QUICK, "model=independent")
    arguments = [a for a in QUICK if a.split("=")[0] != changed.split("=")[0]]
    assert "found" not in bench("run", *arguments, "model=independent", changed).err


def test_one_byte_of_the_data_makes_another_identity_and_another_fit(bench):
    x = np.random.default_rng(0).integers(0, 4, (40, 2, 2), dtype=np.uint8)
    fitted = []
    for last in (0, 1):
        x[-1, -1, -1] = last
        np.savez("own.npz", x=x)
        assert "found" not in bench("run", "suite=density", "data=npz:own.npz", "model=transformer", "budget=2").err
        fitted.append(len(list(Path("bench-results/fits").glob("*.safetensors"))))
    assert fitted == [1, 2]


def test_what_is_named_twice_is_done_once(bench):
    bench("run", "suite=density", "data=markov", "model=truth,truth", "seed=0,0")
    assert len(list(Path("bench-results").glob("*.json"))) == 1


def test_the_same_file_with_other_code_is_another_model(bench):
    source = (
        "import torch\nfrom torchstone.models import ExplicitExact\n"
        "class M(ExplicitExact):\n"
        "    def __init__(self, space):\n        self.space = space\n"
        "    def log_prob(self, x, y=None):\n        return torch.full((len(x),), VALUE)\n"
    )
    Path("mine.py").write_text(source.replace("VALUE", "-100.0"))
    first = bench("run", *QUICK, "model=mine.py:M")
    assert first.code == 0 and "| mine.py:M |" in first.out
    assert "found in the store" in bench("run", *QUICK, "model=mine.py:M").err
    Path("mine.py").write_text(source.replace("VALUE", "-90.0"))
    assert "found" not in bench("run", *QUICK, "model=mine.py:M").err


CLOSURE = """
import torch
from torchstone.models import ExplicitExact
from helper import NATS
def M(space, *, more: float = 0.0):
    class Inner(ExplicitExact):
        def __init__(self):
            self.space = space
        def log_prob(self, x, y=None):
            from lazy import LATER
            return torch.full((len(x),), -(NATS + LATER + more))
    return Inner()
"""


def test_whatever_a_model_file_imports_belongs_to_its_code(bench):
    """Constants too, imports inside of functions too, and settings that only a closure holds."""

    def nats(*arguments):
        said = bench("run", *QUICK, "model=mine.py:M", "--format", "csv", *arguments)
        return said.err, next(line for line in said.out.splitlines() if ",nll," in line)

    Path("mine.py").write_text(CLOSURE)
    Path("helper.py").write_text("NATS = 300.0")
    Path("lazy.py").write_text("LATER = 0.0")
    first = nats()
    assert ",300.0," in first[1] and "found" in nats()[0]
    assert ",307.0," in nats("model.more=7")[1]
    Path("helper.py").write_text("NATS = 400.0")
    assert ",400.0," in nats()[1]
    Path("lazy.py").write_text("LATER = 50.0")
    assert ",450.0," in nats()[1]


def test_two_folders_may_have_helpers_of_one_name(bench):
    for folder, value in (("a", 300.0), ("b", 400.0)):
        Path(folder).mkdir()
        Path(folder, "mine.py").write_text(CLOSURE)
        Path(folder, "helper.py").write_text(f"NATS = {value}")
        Path(folder, "lazy.py").write_text("LATER = 0.0")
    said = bench("run", *QUICK, "model=a/mine.py:M,b/mine.py:M", "--format", "csv")
    assert ",300.0," in said.out and ",400.0," in said.out


def test_a_fit_that_leaves_more_than_weights_is_not_kept(bench):
    Path("mine.py").write_text(
        "import torch\nfrom torchstone.models import ExplicitExact, Trainable\n"
        "class M(torch.nn.Module, ExplicitExact, Trainable):\n"
        "    def __init__(self, space):\n        super().__init__()\n        self.space, self.offset = space, 999.0\n"
        "    def log_prob(self, x, y=None):\n        return torch.full((len(x),), -self.offset)\n"
        "    def fit(self, train, validation, budget, *, rng):\n        self.offset = 300.0\n"
    )
    for _ in range(2):
        said = bench("run", *QUICK, "model=mine.py:M", "--fresh", "--format", "csv")
        assert ",300.0," in said.out and not list(Path("bench-results/fits").glob("*"))


def test_two_live_models_of_one_class_are_two_rows(bench):
    from torchstone_extension import honest

    from torchstone.harness import run
    from torchstone.models import Discrete, Space

    class Constant(honest.Uniform):
        nats = 300.0

        def log_prob(self, x, y=None):
            return torch.full((len(x),), -self.nats)

    first, second = (Constant(Space((8, 8), Discrete(17)), discrete=True) for _ in range(2))
    second.nats = 400.0
    run([first, second], progress=False)
    assert bench("report").out.count("| Constant") == 2


def test_impossible_pairs_are_skipped_with_a_reason_and_the_exit_code_is_that_of_success(bench):
    said = bench("run", *QUICK, "model=truth,torchstone_extension.mutants:FewLevels,independent")
    assert said.code == 0
    assert "needs a dataset whose true density is known" in said.out
    assert "build it with levels=17" in said.out
    statuses = {record.status for record in Store(Path("bench-results")).records()}
    assert statuses == {Status.SKIPPED, Status.COMPLETED}


def test_a_conditional_model_stands_in_a_block_of_its_own(bench):
    plain, labelled = (bench("run", *QUICK, "model=independent", f"model.conditional={v}") for v in ("false", "true"))
    assert "unconditional" in plain.out and "unconditional" not in labelled.out
    assert bench("report").out.count("density on digits") == 2


def test_a_record_repeats_itself(bench):
    bench("run", *QUICK, "model=linear_gaussian", "suite.replicates=2", "seed=3")
    (path,) = Path("bench-results").glob("*.json")
    said = bench("run", "--from", str(path), "--results", "again")
    assert said.code == 0
    first, second = Store("bench-results").read(path), next(iter(Store("again").records()))
    assert first.identity == second.identity and first.scores == second.scores


def test_fit_saves_weights_that_run_takes_as_a_checkpoint(bench):
    said = bench("fit", "model=independent", "budget=smoke", "--output", "weights.safetensors")
    assert said.code == 0 and "weights in weights.safetensors" in said.out
    fitted = bench("run", *QUICK, "model=independent")
    loaded = bench("run", "suite=density", "model=independent", "checkpoint=weights.safetensors", "--results", "other")
    rows = [[line for line in said.out.splitlines() if "| independent |" in line] for said in (fitted, loaded)]
    assert rows[0] == rows[1] != []
    assert "was fitted before" in bench("fit", "model=independent", "budget=smoke").out


def test_a_model_that_cannot_be_fitted_costs_no_other(bench):
    Path("bad.py").write_text(
        "from torchstone.models import ExplicitExact, Trainable\nclass Bad(ExplicitExact, Trainable):\n"
        "    def __init__(self, space):\n        self.space = space\n"
        "    def log_prob(self, x, y=None):\n        return x.double().flatten(1).sum(1)\n"
        "    def fit(self, train, validation, budget, *, rng):\n        raise RuntimeError('It broke.')\n"
    )
    said = bench("fit", "model=bad.py:Bad,truth,independent", "data=digits", "budget=smoke")
    assert said.code == 3 and "independent on digits, seed 0, was fitted" in said.out
    assert "model=bad.py:Bad: it could not be fitted: RuntimeError: It broke." in said.err
    assert "model=truth: truth needs a dataset whose true density is known" in said.err
    assert bench("fit", "model=bad.py:Bad", "budget=smoke").code == 3
    assert bench("fit", "model=truth", "data=digits").code == 2


def test_a_fit_that_was_damaged_in_the_cache_is_made_again(bench):
    bench("run", *QUICK, "model=independent")
    (kept,) = Path("bench-results/fits").glob("*.safetensors")
    whole = kept.read_bytes()
    state = load(whole)
    flipped = whole[:-4] + bytes(255 - byte for byte in whole[-4:])
    for damaged in (whole[:100], flipped):
        kept.write_bytes(damaged)
        assert bench("run", *QUICK, "model=independent", "--fresh").code == 0
        again = load(kept.read_bytes())
        assert all(torch.equal(again[name], state[name]) for name in state)


def test_list_shows_families_capabilities_and_settings(bench):
    said = bench("list")
    assert said.code == 0
    for words in (
        "**transformer**",
        "explicit-exact",
        "Autoregressive",
        "latents=",
        "**digits**",
        "**density**",
        "bits_per_dim",
    ):
        assert words in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    listed = json.loads(bench("list", "models", "--format", "json").out)
    vae = next(model for model in listed["models"] if model["name"] == "vae")
    assert vae["family"] == "explicit-approximate" and "LatentVariable" in vae["capabilities"]


def test_a_broken_plug_in_is_named_and_harms_nothing_else(bench, sentence):
    said = bench("list", "models")
    assert "**broken**" in said.out and "torchstone_extension.absent" in said.out and "**vae**" in said.out
    message = sentence(bench("run", *QUICK, "model=broken"))
    assert "plug-in 'broken' of torchstone-extension" in message


def test_a_plug_in_package_adds_models_and_data(bench):
    said = bench("run", *QUICK, "model=independent", "data=counts", "data.levels=6")
    assert said.code == 0 and "6 levels" in said.out


def test_show_and_report(bench, sentence):
    bench("run", *QUICK, "model=independent")
    (path,) = Path("bench-results").glob("*.json")
    for name in (str(path), path.stem, path.stem[:8]):
        assert "bits_per_dim" in bench("show", name).out
    assert "no record" in sentence(bench("show", "feed")).lower()
    for form in ("markdown", "csv", "json", "latex", "html"):
        said = bench("report", "--format", form)
        assert said.code == 0 and "independent" in said.out
    assert "no such folder" in sentence(bench("report", "--results", "elsewhere"))


def test_report_names_files_that_are_no_records_and_shows_the_rest(bench):
    bench("run", *QUICK, "model=independent")
    (path,) = Path("bench-results").glob("*.json")
    Path("bench-results/half.json").write_text(path.read_text()[:200])
    said = bench("report")
    assert said.code == 0 and "half.json" in said.err and "independent" in said.out
    assert Path("bench-results/half.json").exists()
    assert "found in the store" in bench("run", *QUICK, "model=independent").err


def test_doctor_finds_this_installation_well(bench):
    said = bench("doctor")
    assert said.code == 0 and "FAIL" not in said.out and "torch " in said.out


def test_python_m_is_the_same_command(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "torchstone.harness", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0 and ended.stdout.startswith("torchstone")


def test_help_loads_no_torch(tmp_path):
    code = (
        "import sys\nsys.argv = ['bench', '--help']\nfrom torchstone.harness.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pydantic', 'pyarrow', 'rich'} & set(sys.modules)\n"
        "if heavy: sys.exit(str(heavy))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "\n    bench run suite=density\n" in ended.stdout and len(ended.stdout.splitlines()) < 40


# Bad input: one sentence, exit code 2, nothing harmed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rum",), "did you mean 'run'"),
        (("run", "suite=densty"), "did you mean 'density'"),
        (("run", "model=transfomer"), "did you mean 'transformer'"),
        (("run", "data=digit"), "did you mean 'digits'"),
        (("run", "sute=density"), "did you mean 'suite'"),
        (("run", "budget=fast"), "budget=fast"),
        (("run", "budget=0"), "budget=0"),
        (("run", "seed=-1"), "seed=-1"),
        (("run", "seed=a"), "seed=a"),
        (("run", "seed=99999999999999999999"), "seed=99999999999999999999"),
        (("run", "device=gpu7"), "device=gpu7"),
        (("run", "timeout=0"), "timeout=0"),
        (("run", "batch_size=many"), "batch_size=many"),
        (("run", "density"), "no key=value"),
        (("run", "suite="), "says no value"),
        (("run", "data=digits", "data=patches"), "given twice"),
        (("run", "modle.width=3"), "did you mean 'model'"),
        (("run", "model=vae", "model.latnets=3"), "did you mean 'latents'"),
        (("run", "model=vae", "model.latents=three"), "model.latents=three"),
        (("run", "model=vae", "model.latents=0"), "greater than or equal to 1"),
        (("run", "model=vae", "model.decoder=laplace"), "'categorical' or 'gaussian'"),
        (("run", "suite.split=all"), "'test', 'validation' or 'train'"),
        (("run", "suite.importance_samples=1.5"), "importance_samples=1.5"),
        (("run", "data.root=x"), "none of digits has a setting 'root'"),
        (("run", "data=mnist", "data.root=nowhere"), "nowhere"),
        (("run", "data=folder:absent"), "absent"),
        (("run", "data=text:absent.txt"), "absent.txt"),
        (("run", "data=npz"), "data=npz:PATH"),
        (("run", "data=digits:here"), "takes no path"),
        (("run", "model=absent.py:M"), "there is no file absent.py"),
        (("run", "model=no.such.module:M"), "cannot be imported"),
        (("run", "model=torchstone_extension.honest:Missing"), "has no 'Missing'"),
        (("run", "model=torchstone_extension.mutants:not_a_model"), "returned no model"),
        (("run", "model=torchstone_extension.mutants:NoSpace"), "NoSpace"),
        (("run", "model=torchstone_extension.honest:math"), "not a factory"),
        (("run", "model=vae,rnn", "checkpoint=x.safetensors"), "belongs to one model"),
        (("run", "model=independent", "checkpoint=absent.safetensors"), "cannot be read"),
        (("run", "--from", "absent.json"), "absent.json"),
        (("fit", "data=digits"), "model= is missing"),
        (("fit", "model=vae", "checkpoint=x.safetensors"), "begins from scratch"),
        (("run", "model=torch.nn:Linear"), "'in_features' has no default"),
        (("fit", "model=truth", "data=markov"), "promises no fit"),
        (("show", "0000"), "0000"),
        (("report", "--format", "word"), "'word' is not one of"),
    ],
)
def test_what_is_typed_wrongly_is_one_sentence_that_says_so(bench, sentence, arguments, words):
    message = sentence(bench(*arguments))
    assert message.startswith("bench: ") and words in message
    assert not list(Path("bench-results").glob("*.json"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def M(:\n", "SyntaxError"),
        ("import absent_library\n", "absent_library"),
        ("raise ValueError('out of cheese')\n", "out of cheese"),
        ("raise SystemExit(5)\n", "SystemExit"),
        ("M = 3\n", "names a int, not a factory"),
        ("def N(space): ...\n", "has no 'M'; there is N"),
        ("class M:\n    def __init__(self, space): ...\n", "A M is no Torchstone model"),
        ("import torch\ndef M(space): return torch.nn.DataParallel(torch.nn.Linear(1, 1))\n", ".module"),
        ("import torch\ndef M(space): return torch.compile(torch.nn.Linear(1, 1))\n", "model.compile()"),
    ],
)
def test_a_model_file_that_is_no_good_says_why(bench, sentence, source, words):
    Path("mine.py").write_text(source)
    assert words in sentence(bench("run", "model=mine.py:M"))


def test_a_checkpoint_that_is_no_good_says_why(bench, sentence):
    bench("fit", "model=independent", "budget=smoke", "--output", "good.safetensors")
    good = Path("good.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(good[: len(good) // 2])
    Path("noise.safetensors").write_bytes(b"\x00" * 64)
    torch.save({"a": torch.zeros(1)}, "pickle.pt")
    for n in range(1, 40):  # of these headers some begin with the byte of a pickle
        save_file({"other" * n: torch.zeros(2)}, "other.safetensors")
        assert "of another model" in sentence(bench("run", "model=independent", "checkpoint=other.safetensors"))
    state = load_file("good.safetensors")
    save_file({name: tensor[..., :-1].contiguous() for name, tensor in state.items()}, "shape.safetensors")
    for name, words in {
        "cut.safetensors": "damaged",
        "noise.safetensors": "damaged",
        "pickle.pt": "is a pickle",
        "other.safetensors": "of another model",
        "shape.safetensors": "shape",
    }.items():
        assert words in sentence(bench("run", "model=independent", f"checkpoint={name}"))


def test_a_results_folder_that_cannot_be_written_ends_the_run_before_it_begins(bench, sentence):
    Path("file").write_text("in the way")
    assert "cannot be written" in sentence(bench("run", *QUICK, "model=independent", "--results", "file/results"))


def test_a_full_disk_costs_the_cell_and_says_so(bench, monkeypatch):
    """The first thing of a cell that goes to the disk here is its per-example file."""
    from torchstone.results import files
    from torchstone.results.record import RecordError

    real = files.write_whole

    def full(path, content):
        if path.suffix == ".parquet":
            raise RecordError(f"{path}: cannot be written: No space left on device")
        real(path, content)

    monkeypatch.setattr(files, "write_whole", full)
    said = bench("run", *QUICK, "model=independent")
    assert said.code == 3 and "No space left on device" in said.err and "Traceback" not in said.err
    assert not list(Path("bench-results").glob("*.json")) and not list(Path("bench-results").glob(".*"))


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        ("Averaged", "one log-density in nats per example"),
        ("PerDimension", "one log-density in nats per example"),
        ("Integers", "floating-point"),
        ("NotATensor", "returned a list"),
        ("Raises", "the weights are in another castle"),
        ("LooseLikelihood", "log-density"),
        ("Refused", "scale"),
        ("BadFit", "the loss went up"),
        ("Insatiable", "out of memory"),
    ],
)
def test_an_adapter_that_breaks_its_word_fails_its_own_cell_only(bench, mutant, words):
    said = bench("run", *QUICK, f"model=torchstone_extension.mutants:{mutant},independent", "batch_size=10")
    assert said.code == 3 and "Traceback" not in said.err
    assert "| independent |" in said.out and words in said.out
    (failed,) = [r for r in Store(Path("bench-results")).records() if r.status is Status.FAILED]
    assert words in failed.reason and failed.scores == ()


def test_nan_makes_the_mean_infinite_and_completes_with_a_warning(bench):
    said = bench("run", *QUICK, "model=torchstone_extension.mutants:NaNs")
    assert said.code == 0 and "inf" in said.out and "not finite" in said.err


@pytest.mark.parametrize("call", ["sys.exit(0)", "sys.exit(7)", "raise KeyboardInterrupt"])
def test_a_model_that_wants_to_end_the_process_fails_its_own_cell_only(bench_process, tmp_path, call):
    (tmp_path / "mine.py").write_text(
        "import sys\nfrom torchstone.models import ExplicitExact\nclass M(ExplicitExact):\n"
        "    def __init__(self, space):\n        self.space = space\n"
        f"    def log_prob(self, x, y=None):\n        {call}\n"
    )
    said = bench_process("run", *QUICK, "model=mine.py:M,independent")
    assert said.code == 3 and "must not end the process" in said.out and "| independent" in said.out


def test_debug_shows_the_traceback(bench_process):
    said = bench_process("run", "suite=densty", "--debug")
    assert "Traceback" in said.err and said.code == 2


# In a process of its own


def test_a_worker_that_dies_costs_its_cell_and_no_other(bench_process, tmp_path):
    names = ",".join(f"torchstone_extension.mutants:{name}" for name in ("Segfaults", "Exits", "Hangs", "Prints"))
    said = bench_process("run", *QUICK, f"model={names},independent", "timeout=20")
    assert said.code == 3 and "Traceback" not in said.err
    reasons = {name: record.reason for name, record in records(tmp_path / "bench-results").items()}
    assert "SIGSEGV" in reasons["torchstone_extension.mutants:Segfaults"]
    assert "code 7" in reasons["torchstone_extension.mutants:Exits"]
    assert "longer than timeout=20" in reasons["torchstone_extension.mutants:Hangs"]
    assert reasons["independent"] == ""
    assert "a model that talks" in said.err and "a model that talks" not in said.out
    assert "| independent" in said.out


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    command = [
        str(Path(sys.executable).parent / "bench"), "run", *QUICK,
        "model=independent,torchstone_extension.mutants:Hangs,linear_gaussian",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    give_up = time.monotonic() + 100
    while not list(tmp_path.glob("bench-results/*.json")) and time.monotonic() < give_up:
        time.sleep(0.2)
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in err and "Interrupted" in err
    assert list(records(tmp_path / "bench-results")) == ["independent"] and "| independent |" in out


def test_a_worker_does_not_outlive_the_run_that_it_works_for(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import os, pathlib, time\nfrom torchstone.models import ExplicitExact\nclass M(ExplicitExact):\n"
        "    def __init__(self, space):\n        self.space = space\n"
        "    def log_prob(self, x, y=None):\n"
        "        pathlib.Path('part').write_text(str(os.getpid()))\n        os.rename('part', 'pid')\n"
        "        time.sleep(600)\n"
    )
    bench, told = str(Path(sys.executable).parent / "bench"), tmp_path / "pid"
    running = subprocess.Popen([bench, "run", *QUICK, "model=mine.py:M"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 100
    while not told.exists() and time.monotonic() < give_up:
        time.sleep(0.2)
    running.kill()
    running.wait()
    worker, give_up = Path("/proc") / told.read_text(), time.monotonic() + 20
    while worker.exists() and time.monotonic() < give_up:
        time.sleep(0.2)
    assert not worker.exists()


def test_output_pipes_cleanly(bench_process, tmp_path):
    said = bench_process("run", *QUICK, "model=independent", "--format", "csv")
    assert said.out.splitlines()[0].count(",") > 10
    bench = Path(sys.executable).parent / "bench"
    for reader in ("head -c 1", "true"):
        command = f"{bench} report --format csv | {reader}; exit ${{PIPESTATUS[0]}}"
        ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_terminal_that_has_no_sign_for_at_most_still_gets_the_table(bench, tmp_path):
    bench("run", *QUICK, "model=linear_gaussian")
    command = [str(Path(sys.executable).parent / "bench"), "report"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"})
    assert ended.returncode == 0 and b"u2264" in ended.stdout
