"""A leaderboard: a folder with a web page made from records alone, and what the page links to."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torchstone.results.leaderboard.certificates import certificate_pages
from torchstone.results.leaderboard.columns import Heading, columns
from torchstone.results.leaderboard.costs import THROUGHPUT, cost
from torchstone.results.leaderboard.examples import Examples
from torchstone.results.leaderboard.folder import INDEX, check_apart, check_free, publish
from torchstone.results.leaderboard.histograms import Histograms, histograms
from torchstone.results.leaderboard.history import History, histories, history
from torchstone.results.leaderboard.names import counted, cut
from torchstone.results.leaderboard.ranks import ranking
from torchstone.results.leaderboard.reading import Found, Reading, read
from torchstone.results.leaderboard.scatter import Scatter, scatter
from torchstone.results.reading.grades import CERTIFICATE
from torchstone.results.record import RecordError
from torchstone.results.references import NOTICE, TAGS, Reference, ReferenceBlock
from torchstone.results.references import blocks as reference_blocks
from torchstone.results.store import age
from torchstone.results.tables.render import legend
from torchstone.results.tables.table import Block, absences, blocks
from torchstone.results.text.numbers import shortened
from torchstone.results.text.pages import part, template

__all__ = ["Written", "leaderboard"]

FIRST = 50  # rows of a table that can be read without a script


@final
@dataclass(frozen=True, slots=True)
class Written:
    """What was made: the page, how many records and tables are in it, and the files that were passed over."""

    index: Path
    records: int
    tables: int
    problems: tuple[str, ...]


def leaderboard(
    results: Path, output: Path, *, title: str = "Leaderboard", references: Sequence[Reference] = ()
) -> Written:
    """Make the page of the records in ``results`` in the folder ``output``, with copies of all that it links to.

    The same records give the same page, byte for byte.

    Args:
        results: folder of the records.
        output: a folder that is not there yet, an empty one, or one that holds a leaderboard.
        title: of the page.
        references: published numbers, to be shown apart from the measured ones.

    Raises:
        RecordError: there are no records, they lie in ``output``, or that may not or cannot be written.
    """
    check_free(output)
    check_apart(results, output)
    reading = read(results)
    if not reading.count:
        raise RecordError(f"{results}: there are no records to show; make some with `bench run suite=density`")
    found = {each.measurement.record: each for each in (*reading.older, *reading.current)}
    page = _page(results, reading, found, title, references)
    sources = {f"{id}.json": results / found[id].file for block in page.blocks for id in block.records}
    publish(output, _html(page).encode(), sources, certificate_pages(results, _certificates(page), found))
    return Written(output / INDEX, reading.count, len(page.blocks), reading.problems)


@final
@dataclass(frozen=True, slots=True)
class _Shown:
    """One block as it is shown."""

    caption: str
    legend: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Any, ...], ...]
    ranking: str
    notes: tuple[str, ...]
    scatter: Scatter | None
    histograms: Histograms | None
    history: History | None
    records: tuple[str, ...]

    @property
    def first(self) -> Sequence[tuple[Any, ...]]:
        """The rows that are part of the page itself."""
        return self.rows[:FIRST]


@final
@dataclass(frozen=True, slots=True)
class _Page:
    """All that a page says."""

    title: str
    summary: str
    families: tuple[str, ...]
    blocks: tuple[_Shown, ...]
    without: tuple[str, ...]
    references: tuple[ReferenceBlock, ...]


def _page(
    results: Path, reading: Reading, found: Mapping[str, Found], title: str, references: Sequence[Reference]
) -> _Page:
    tables = sorted(
        blocks([each.measurement for each in reading.current]), key=lambda block: block.suite == CERTIFICATE
    )
    speeds = [block for block in tables if block.suite == THROUGHPUT]
    sources = _Sources(found, reading, Examples(results, found), histories(list(found.values())), speeds)
    return _Page(
        title=cut(title),
        summary=_summary(reading, tables),
        families=tuple(sorted({cut(row.family) for block in tables for row in block.rows})),
        blocks=tuple(_shown(block, sources) for block in tables),
        without=tuple(shortened(line, _LINE) for line in absences(reading.without)),
        references=reference_blocks(references),
    )


@final
@dataclass(frozen=True, slots=True)
class _Sources:
    """What the blocks of a page are shown with."""

    found: Mapping[str, Found]
    reading: Reading
    examples: Examples
    histories: Mapping[tuple[Any, ...], Sequence[Found]]
    speeds: Sequence[Block]


_LINE = 500  # letters of a caption or a note


def _shown(block: Block, sources: _Sources) -> _Shown:
    found, values = sources.found, sources.examples.of(block)
    ranks = ranking(block, values, found)
    shown = columns(block, ranks, found, sources.reading.certificates)
    own = block.suite not in (CERTIFICATE, THROUGHPUT)  # neither is a quality that anything is paid for
    price = cost(block, found, sources.speeds) if own and len(block.rows) > 1 else None
    paid = scatter(block, price) if price is not None else None
    spread, time = histograms(block, values), history(block, found, sources.histories)
    undrawn = [picture for picture in (paid, spread, time) if isinstance(picture, str)]
    return _Shown(
        shortened(block.caption, _LINE),
        shortened(legend(block), _LINE),
        tuple(heading for heading, _ in shown),
        tuple(zip(*(cells for _, cells in shown), strict=True)),
        ranks.words,
        tuple(shortened(note, _LINE) for note in (*undrawn, *block.notes)),
        None if isinstance(paid, str) else paid,
        None if isinstance(spread, str) else spread,
        None if isinstance(time, str) else time,
        tuple(id for row in block.rows for id in row.records),
    )


def _summary(reading: Reading, tables: Sequence[Block]) -> str:
    rows = sum(len(block.rows) for block in tables)
    started = max((each.measurement.started for each in reading.current), key=age, default="")
    newest = f", the newest of them of {shortened(started[:10])}" if started else ""
    return (
        f"{counted(rows, 'row')} in {counted(len(tables), 'table')}, from {counted(reading.count, 'record')}{newest}."
    )


def _certificates(page: _Page) -> list[str]:
    """The ids of the certificates that the page links to."""
    wanted: dict[str, None] = {}
    for block in page.blocks:
        places = [place for place, heading in enumerate(block.headings) if heading.type == "audit"]
        wanted |= {row[place][1]: None for row in block.rows for place in places if row[place][1] is not None}
    return list(wanted)


def _html(page: _Page) -> str:
    from markupsafe import Markup

    style, script = part("leaderboard.css"), part("leaderboard.js")
    return template("leaderboard.html").render(
        page=page,
        style=Markup(style),
        style_digest=_digest(style),
        script=Markup(script),
        script_digest=_digest(script),
        rows=Markup(_embedded(page.blocks)),
        notice=NOTICE,
        tags=TAGS,
    )


def _digest(text: str) -> str:
    """What a content security policy calls a style or script that is part of a page."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(shown: Sequence[_Shown]) -> str:
    """All rows as JSON in which no markup can begin or end."""
    import orjson

    content = [
        {"caption": each.caption, "columns": [heading.type for heading in each.headings], "rows": each.rows}
        for each in shown
    ]
    text = orjson.dumps(content).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
