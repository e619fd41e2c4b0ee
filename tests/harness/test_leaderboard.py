"""``bench leaderboard`` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from torchstone.harness.cli import main; main()"
    words = [sys.executable, "-c", code, "leaderboard", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    from torchstone.harness import run

    folder: Path = tmp_path_factory.mktemp("results")
    run(["independent", "mixture"], seed=[0, 1], budget="smoke", results=folder, progress=False)
    (folder / "notes.json").write_text("{}")
    return folder


def test_it_writes_a_page_says_where_and_names_what_it_passed_over(results, tmp_path):
    ended = bench("--results", results, "--output", tmp_path / "board", "--title", "Digits & more")
    assert (ended.returncode, ended.stdout) == (0, f"{tmp_path}/board/index.html: 1 table of 4 records\n")
    assert "notes.json is passed over" in ended.stderr
    page = (tmp_path / "board" / "index.html").read_text()
    assert "<title>Digits &amp; more</title>" in page and "Published reference numbers" in page
    rows = json.loads(page.partition('id="rows">')[2].partition("</script>")[0])[0]["rows"]
    assert [(row[0], row[1][0]) for row in rows] == [(1, "mixture"), (2, "independent")]


def test_it_needs_neither_torch_nor_pandas_and_can_be_run_again(results, tmp_path):
    code = (
        "import sys\nfrom torchstone.harness.cli import bench\n"
        f"bench(['leaderboard', '--results', {str(results)!r}, '--output', {str(tmp_path / 'board')!r},"
        " '--no-references'], standalone_mode=False)\n"
        "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        assert ended.stdout.splitlines()[-1] == "set()", ended.stderr
    assert "Published reference numbers" not in (tmp_path / "board" / "index.html").read_text()


def test_a_folder_of_others_is_left_alone(results, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    ended = bench("--results", results, "--output", tmp_path)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith(f"bench: --output {tmp_path}: it holds other things already (mine.txt), and nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_records_that_lie_in_the_page_are_not_read_for_it_and_links_are_not_followed(results, tmp_path):
    board, store = tmp_path / "board", tmp_path / "store"
    assert bench("--results", results, "--output", board).returncode == 0
    ended = bench("--results", board / "records", "--output", board)
    assert ended.returncode == 2 and ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.startswith(
        f"bench: --results {board}/records: it lies in {board}, the folder of the page, from"
    )
    (board / "records").rename(store)
    (board / "records").symlink_to(store)
    ended = bench("--results", results, "--output", board)
    assert ended.returncode == 2 and ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.startswith(
        f"bench: --output {board}: records in it is a link to another folder, of which files"
    )
    assert len(list(store.iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--output is missing; type for example bench leaderboard --output leaderboard."),
        (("--output", "x", "--results", "nowhere"), "--results nowhere: there is no such folder"),
        (("--output", "x", "--results", "{empty}"), "{empty}: there are no records to show; make some with"),
        (("--output", "{file}", "--results", "{results}"), "--output {file}: it is a file"),
        (("--output", "{file}/deep", "--results", "{results}"), "{file}/deep: the page cannot be written: "),
    ],
)
def test_what_cannot_be_done_is_a_sentence(results, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    places = {"empty": tmp_path / "empty", "file": tmp_path / "file", "results": results}
    ended = bench(*(each.format(**places) for each in arguments))
    assert ended.returncode == 2
    assert words.format(**places) in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "x").exists()
