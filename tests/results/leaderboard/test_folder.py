"""A page appears whole or not at all, and never over anything that is not its own."""

from __future__ import annotations

import os

import pytest

from torchstone.results import RecordError
from torchstone.results.leaderboard import folder
from torchstone.results.leaderboard.folder import CERTIFICATES, INDEX, MARKER, RECORDS, check_apart, check_free, publish

ID, OTHER = "a" * 64, "b" * 64
NO_RECORDS = ("notes.json", "abc.json", f"{'A' * 64}.json", f"{'a' * 64}.txt")


@pytest.fixture
def sources(tmp_path):
    made = {}
    for id in (ID, OTHER):
        made[f"{id}.json"] = tmp_path / f"{id}.json"
        made[f"{id}.json"].write_bytes(id.encode() * 3000)
    return made


def tree(path):
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def test_a_new_folder_holds_the_page_and_what_it_links_to(tmp_path, sources):
    output = tmp_path / "deep" / "board"
    publish(output, b"page", sources, {f"{ID}.html": b"certificate"})
    assert (output / INDEX).read_bytes() == b"page"
    assert (output / CERTIFICATES / f"{ID}.html").read_bytes() == b"certificate"
    for name, source in sources.items():
        assert (output / RECORDS / name).read_bytes() == source.read_bytes()
    assert os.listdir(output.parent) == ["board"]


def test_what_fails_leaves_nothing(tmp_path, sources):
    output = tmp_path / "board"
    before = set(os.listdir(tmp_path))
    with pytest.raises(RecordError, match="board: the page cannot be written: No such file"):
        publish(output, b"page", {**sources, "c.json": tmp_path / "gone.json"}, {})
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["notes.txt", INDEX, ".git"])
def test_a_folder_with_other_things_is_left_alone(tmp_path, sources, name):
    output = tmp_path / "site"
    output.mkdir()
    (output / name).write_text("mine")
    with pytest.raises(RecordError, match=rf"site: it holds other things already \({name}\), and nothing is overwr"):
        publish(output, b"page", sources, {})
    assert tree(output) == {name: b"mine"}


def test_a_file_is_left_alone(tmp_path, sources):
    output = tmp_path / "site"
    output.write_text("mine")
    with pytest.raises(RecordError, match="it is a file"):
        publish(output, b"page", sources, {})
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecordError, match="it is a file"):
        check_free(tmp_path / "link")
    assert output.read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path, sources):
    output = tmp_path / "empty"
    output.mkdir()
    publish(output, b"page", sources, {})
    assert (output / INDEX).read_bytes() == b"page"


def test_a_page_made_before_is_made_anew_and_what_others_put_there_stays(tmp_path, sources):
    output = tmp_path / "board"
    publish(output, b"old", sources, {f"{ID}.html": b"old", f"{OTHER}.html": b"old"})
    (output / "CNAME").write_text("example.org")
    for name in NO_RECORDS:
        (output / RECORDS / name).write_text("mine")
    publish(output, b"new", {f"{ID}.json": sources[f"{ID}.json"]}, {f"{ID}.html": b"new"})
    assert {name: content for name, content in tree(output).items() if name != MARKER} == {
        INDEX: b"new",
        f"{RECORDS}/{ID}.json": sources[f"{ID}.json"].read_bytes(),
        f"{CERTIFICATES}/{ID}.html": b"new",
        "CNAME": b"example.org",
        **{f"{RECORDS}/{name}": b"mine" for name in NO_RECORDS},
    }


def test_a_copy_that_was_cut_short_is_made_anew(tmp_path, sources):
    output = tmp_path / "board"
    publish(output, b"page", sources, {})
    copy = output / RECORDS / f"{ID}.json"
    copy.write_bytes(b"cut")
    publish(output, b"page", sources, {})
    assert copy.read_bytes() == sources[f"{ID}.json"].read_bytes()


def test_a_copy_that_is_older_than_its_record_is_made_anew(tmp_path, sources):
    """As long as it, and yet another: it is only left as it is where it was written later."""
    output = tmp_path / "board"
    publish(output, b"page", sources, {})
    copy, source = output / RECORDS / f"{ID}.json", sources[f"{ID}.json"]
    copy.write_bytes(bytes(source.stat().st_size))
    os.utime(copy, (1e9, 1e9))
    publish(output, b"page", sources, {})
    assert copy.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", [RECORDS, CERTIFICATES])
def test_a_folder_that_is_a_link_is_not_written_through(tmp_path, sources, name):
    output, mine = tmp_path / "board", tmp_path / "mine"
    publish(output, b"page", {}, {})
    mine.mkdir()
    for id in (ID, OTHER):
        (mine / f"{id}.json").write_text("mine")
        (mine / f"{id}.html").write_text("mine")
    (output / name).rmdir()
    (output / name).symlink_to(mine, target_is_directory=True)
    before = tree(mine)
    with pytest.raises(RecordError, match=f"board: {name} in it is a link to another folder"):
        publish(output, b"new", sources, {f"{ID}.html": b"new"})
    assert tree(mine) == before and (output / INDEX).read_bytes() == b"page"


@pytest.mark.parametrize("results", ["board", "board/records", "board/deep/store", "link", "other/../board/records"])
def test_records_in_the_folder_of_the_page_are_refused(tmp_path, sources, results):
    publish(tmp_path / "board", b"page", sources, {})
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "board" / RECORDS)
    with pytest.raises(
        RecordError, match=r"it lies in .*board, the folder of the page, from which records are removed"
    ):
        check_apart(tmp_path / results, tmp_path / "board")


@pytest.mark.parametrize("results", ["boards", ".", "store"])
def test_records_beside_or_above_the_page_are_not(tmp_path, results):
    check_apart(tmp_path / results, tmp_path / "board")


def test_the_old_page_stands_until_all_that_the_new_one_links_to_is_there(tmp_path, sources, monkeypatch):
    output = tmp_path / "board"
    publish(output, b"old", {f"{ID}.json": sources[f"{ID}.json"]}, {})
    monkeypatch.setattr(folder, "write_whole", lambda path, page: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(RecordError, match=r"No space left\. Make room"):
        publish(output, b"new", {f"{OTHER}.json": sources[f"{OTHER}.json"]}, {})
    assert (output / INDEX).read_bytes() == b"old"
    assert {path.stem for path in (output / RECORDS).iterdir()} == {ID, OTHER}
