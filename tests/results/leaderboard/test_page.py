"""The page holds what the records hold, as text, in one file that needs no other."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from torchstone.results import Kind, RecordError, Score, Status, Store
from torchstone.results.leaderboard.page import FIRST, leaderboard
from torchstone.results.references import NOTICE, references

VOID = {"meta", "link", "input", "line", "circle", "path"}


class Page(HTMLParser):
    """The tags, links and tables of a page; every tag that is opened is closed."""

    def __init__(self, index: Path) -> None:
        super().__init__()
        self.source = index.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.inlined: dict[str, str] = {}
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            kind = self.tags[-1][1].get("type") or self.open[-1]
            self.inlined[kind] = self.inlined.get(kind, "") + data
        else:
            self.text += data

    @property
    def blocks(self) -> list[dict]:
        """What the script has."""
        return json.loads(self.inlined["application/json"])

    def column(self, block: int, type: str) -> list:
        """The cells of the first column of that type."""
        place = self.blocks[block]["columns"].index(type)
        return [row[place] for row in self.blocks[block]["rows"]]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def board(folder, tmp_path):
    """``board()``: the page of all records kept so far."""

    def made(**options) -> Page:
        return Page(leaderboard(folder, tmp_path / "board", **options).index)

    return made


def test_a_row_has_its_rank_number_grade_and_records(keep, make, certify, verdict, folder, board, rng):
    base = rng.normal(90, 10, 300)
    keep(base, model="good", seed=0)
    keep(base + 0.1, model="good", seed=1)
    keep(base + 9, model="bad")
    certificate = Store(folder).write(certify(verdict("enumeration", "pass", "A"), model="good"))
    page = board()
    first, second = page.blocks
    assert first["columns"] == [
        "rank", "name", "number", "number", "audit", "number", "number", "family", "records",
    ]  # fmt: skip
    assert [row[:2] for row in first["rows"]] == [[1, ["good", ""]], [2, ["bad", ""]]]
    assert first["rows"][0][2][0].endswith(" ± 0.6")
    assert first["rows"][0][3][0] == "0.071"
    assert first["rows"][0][4][:2] == ["A", certificate.id]
    assert first["rows"][1][4][:2] == ["unaudited", None]
    assert [seed for seed, _ in first["rows"][0][-1]] == [0, 1]
    assert second["caption"].startswith("audit on digits")
    for block in page.blocks:
        assert block["caption"] in page.text


def test_every_link_leads_to_a_file_that_is_there(keep, certify, verdict, folder, board, tmp_path):
    record = keep([1.0, 2.0, 3.0])
    certificate = Store(folder).write(certify(verdict("enumeration", "pass", "A")))
    page = board()
    links = {link["href"] for link in page.all("a")}
    assert {f"records/{record.id}.json", f"certificates/{certificate.id}.html"} <= links
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (tmp_path / "board" / link).is_file()
    copy = Store(tmp_path / "board" / "records").read(record.id)
    assert copy == Store(folder).read(record.id)
    assert (
        "Audit certificate: mixture on digits"
        in (tmp_path / "board/certificates" / f"{certificate.id}.html").read_text()
    )


def test_a_certificate_shows_its_pictures_and_those_of_its_model(make, certify, verdict, folder, board, tmp_path):
    store = Store(folder)
    png = b"\x89PNG\r\n\x1a\n and so on"
    store.write(make(), figures={"rate-distortion": png})
    spoilt = store.write(make(seed=1), figures={"spoilt": png})
    (folder / f"{spoilt.id}.spoilt.png").write_bytes(b"other")
    certificate = store.write(certify(verdict("enumeration", "pass", "A")), figures={"enumeration": png})
    board()
    page = (tmp_path / "board/certificates" / f"{certificate.id}.html").read_text()
    assert 'alt="rate distortion"' in page and 'alt="enumeration' in page and "spoilt" not in page


def test_the_page_needs_nothing_else_and_its_policy_fits_what_is_inside(keep, board):
    keep([1.0, 2.0, 3.0])
    page = board()
    (policy,) = (tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.inlined[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|@import|url\(", page.source)
    for _, attributes in page.tags:
        assert not attributes.get("src")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_hostile_names_are_text(keep, make, certify, verdict, folder, board, hostile):
    for name in hostile:
        keep([1.0, 2.0, 3.0], model=name, family=name, settings={"model": {name: name}})
        keep([1.0, 2.0, 3.0], dataset=name, contract={"dataset": name, name: name})
        scores = (Score(name, 1.0, name, Kind.EXACT, False, 0.1, None, 3),)
        Store(folder).write(make(model=name, scores=scores, suite=name, started=name))
        Store(folder).write(make(model=name, scores=(), status=Status.FAILED, reason=name, identity=""))
        Store(folder).write(certify(verdict("enumeration", "pass", "A", witness=name), model=name))
    page = board(title=hostile[1])
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not page.all("img")
    assert "<script>alert(1)</script>" in page.text
    for tag in page.all("a"):
        assert re.fullmatch(r"#[a-z]+(-\d+)?|records/[0-9a-f]{64}\.json|certificates/[0-9a-f]{64}\.html", tag["href"])
    assert not set(map(chr, (0, 27, 0x202E, 0x2028))) & set(page.source)
    assert "{{ 7 * 7 }}" in page.text
    assert "x" * 600 not in page.source
    names = {name for block in range(len(page.blocks)) for name, _ in page.column(block, "name")}
    assert {"<script>alert(1)</script>", "../../etc/passwd", "javascript:alert(1)"} <= names


def test_exact_values_and_bounds_stand_in_tables_of_their_own(keep, board):
    for kind in Kind:
        keep([1.0, 2.0, 4.0], kind=kind, model=kind.value)
    page = board()
    (signs,) = zip(*([text[0] for text, _ in page.column(block, "number")] for block in range(4)), strict=True)
    assert set(signs) == {"≤", "≥", "≈", "2"} and len(page.blocks) == 4
    assert not any("rank" in block["columns"] for block in page.blocks)


def test_the_first_rows_can_be_read_without_a_script(make, folder, board):
    for number in range(FIRST + 7):
        Store(folder).write(make(model=f"m{number:03d}", bits=1 + number / 100))
    page = board()
    assert len([tag for tag in page.all("th") if tag.get("scope") == "row"]) == FIRST
    assert f"These are the best {FIRST} of {FIRST + 7} rows" in page.text
    assert len(page.blocks[0]["rows"]) == FIRST + 7
    body = page.source.partition("<tbody>")[2].partition("</tbody>")[0]
    assert "m000" in body and f"m{FIRST - 1:03d}" in body and f"m{FIRST:03d}" not in body


def test_what_has_a_name_for_those_who_do_not_see(keep, folder, board, rng):
    base = rng.normal(90, 10, 100)
    for number, model in enumerate("ab"):
        keep(base + number, model=model, seconds=1.0 + number)
    page = board()
    pictures = page.all("svg")
    assert len(pictures) == 2 and all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    labels = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    for tag in [*page.all("table"), *(tag for tag in page.all("div") if tag.get("class") == "scroll")]:
        assert tag.get("aria-label") or tag["aria-labelledby"] in labels
    assert page.all("html")[0]["lang"] == "en"
    assert [tag for tag in page.all("th") if tag.get("aria-sort")] == [
        {"scope": "col", "class": "number", "aria-sort": "ascending", "data-better": "lower"}
    ]


def test_numbers_that_are_not_finite_are_shown_and_sorted_last(make, folder, board):
    for model, value, error in (("a", math.inf, math.nan), ("b", math.nan, None), ("c", 1.0, math.inf)):
        scores = (Score("nll", value, "nats", Kind.UPPER_BOUND, False, error, None, 3, {"nonfinite": 2}),)
        Store(folder).write(make(model=model, scores=scores))
    page = board()
    shown = dict(zip((name for name, _ in page.column(0, "name")), page.column(0, "number"), strict=True))
    assert shown == {"a": ["≤ inf", None], "b": ["≤ nan", None], "c": ["≤ 1", 1.0]}
    assert "rank" not in page.blocks[0]["columns"]


def test_a_standard_error_below_zero_is_none_and_is_not_shown_as_zero(make, folder, board):
    for model, error in (("a", -5.0), ("b", 0.0)):
        scores = (Score("nll", 1.0, "nats", Kind.EXACT, False, error, None, 3),)
        Store(folder).write(make(model=model, scores=scores))
    assert [text for text, _ in board().column(0, "number")] == ["1", "1 ± 0"]


ODD = (-1.7e308, -1e308, -1e-320, 0.0, 5e-324, 1e-320, 1e308, 1.7e308, math.inf, math.nan)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("odd", ODD)
def test_one_odd_record_does_not_prevent_the_page(make, folder, board, odd, up):
    """Its number, standard error, speed or time is at the end of what a number can be, or none; others stand beside."""
    store, other = Store(folder), (Score("other", 1.0, "nats", Kind.EXACT, up, 0.1, None, 9),)
    for model, value, error in (("a", odd, 0.1), ("b", odd, abs(odd)), ("c", 1.0, abs(odd)), ("d", 2.0, 0.1)):
        for seed in (0, 1, 2):
            scores = (
                () if seed == 0 and model in "ac" else (Score("nll", value, "nats", Kind.EXACT, up, error, None, 9),)
            )
            rate = (Score("sample_rate", value, "examples/s", Kind.ESTIMATE, True, error, None, 9),)
            seconds = abs(odd) if math.isfinite(odd) else 1.0
            for day, more in ((1, 0.0), (2, 1.0)):
                changes = {"started": f"2026-01-0{day}T00:00:00Z", "seconds": seconds + more, "seed": seed}
                store.write(make(model=model, scores=scores + other, identity=f"{model}{seed}", **changes))
            store.write(make(model=model, suite="throughput", scores=rate, seed=seed))
    page = board()
    assert sorted(name for name, _ in page.column(0, "name")) == ["a", "b", "c", "d"]
    drawn = " ".join(attributes["aria-label"] for attributes in page.all("svg"))
    assert not re.search(r'="(nan|inf|-inf)"', page.source) and "nan" not in re.sub(r"mean nan", "", drawn)


def test_a_picture_that_cannot_be_drawn_is_a_note(make, folder, board):
    for model, value in (("a", -1e308), ("b", 1e308)):
        Store(folder).write(make(model=model, scores=(Score("nll", value, "nats", Kind.EXACT, False, 1.0, None, 9),)))
    page = board()
    assert not page.all("svg") and "too large, or too far apart, for an axis." in page.text


def test_what_a_standard_error_is_of_is_said_for_speeds_too(keep, board):
    keep([1.0, 2.0, 3.0])
    assert "is the standard error over the test examples, or, of a speed, over the calls of one run" in board().text


def test_records_in_the_folder_of_the_page_stay_where_they_are(keep, folder, tmp_path):
    for day in (1, 2):
        keep([1.0, 2.0, 3.0], identity="one", started=f"2026-01-0{day}T00:00:00Z")
    leaderboard(folder, tmp_path / "board")
    own = tmp_path / "board" / "records"
    for path in folder.glob("*.json"):
        (own / path.name).write_bytes(path.read_bytes())
    with pytest.raises(RecordError, match=r"it lies in .*board, the folder of the page"):
        leaderboard(own, tmp_path / "board")
    assert len(list(own.glob("*.json"))) == 2


def test_cells_without_numbers_are_named(make, folder, board):
    Store(folder).write(make())
    Store(folder).write(make(model="gan", status=Status.SKIPPED, reason="It has no density.", scores=()))
    assert "skipped: density of gan on digits, seed 0: It has no density." in board().text


def test_references_stand_apart_with_their_tags_and_have_no_rank(keep, board):
    keep([1.0, 2.0, 3.0])
    page = board(references=references())
    assert NOTICE in page.text
    assert len(page.blocks) == 1
    assert "PixelCNN++" in page.text and "≤ 3.49" in page.text
    assert "PixelCNN++" not in page.inlined["application/json"]
    assert NOTICE not in board().text


def test_the_same_records_give_the_same_page(keep, folder, tmp_path):
    keep([1.0, 2.0, 3.0])
    keep([1.0, 2.0, 4.0], model="other")
    pages = [leaderboard(folder, tmp_path / name).index.read_bytes() for name in ("one", "two", "one")]
    assert len(set(pages)) == 1


def test_a_history_is_drawn(make, folder, board, environment):
    for day, commit in enumerate("abc", 1):
        where = dataclasses.replace(environment, git_commit=commit * 40, git_dirty=False)
        Store(folder).write(make(bits=day, environment=where, identity="one", started=f"2026-01-0{day}T00:00:00Z"))
    page = board()
    assert "History of nll" in page.text and "ccccccc" in page.text


def test_what_is_no_record_is_passed_over_and_named(keep, folder, tmp_path):
    keep([1.0, 2.0, 3.0])
    (folder / "broken.json").write_text("{")
    made = leaderboard(folder, tmp_path / "board")
    assert (made.records, made.tables) == (1, 1)
    assert len(made.problems) == 1 and "broken.json is passed over" in made.problems[0]


def test_no_records_make_no_page(tmp_path):
    (tmp_path / "store").mkdir()
    with pytest.raises(RecordError, match="there are no records to show; make some with `bench run"):
        leaderboard(tmp_path / "store", tmp_path / "board")
    assert not (tmp_path / "board").exists()
