"""What every page is made of: Jinja2's templates and macros, which escape whatever is printed, and the same pieces for Python.

Nothing outside this folder writes markup by hand: a `str` is text and is escaped, `Markup` is markup.
"""

import functools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gonogo.harness.reports.page.facts import PageFacts
from gonogo.harness.reports.words import SYMBOLS, duration, minute, neutral, number, real
from jinja2 import Environment, FileSystemLoader, Undefined
from markupsafe import Markup, escape

TEMPLATES: Final = Path(__file__).with_name("templates")
Cell = str | Markup
"""What a table's cell or a sentence's gap holds: text, which is escaped, or markup."""


def visible(value: object) -> object:
    """A value as it is printed: markup as it is, all else as neutral text, which Jinja2 then escapes."""
    return value if isinstance(value, Markup) else neutral(value)


class Wanted(Undefined):
    """A name that nobody gave: it may be asked for, and printing it is an error."""

    __str__ = Undefined._fail_with_undefined_error


@functools.cache
def environment(own: Path = TEMPLATES) -> Environment:
    """Templates of the folder `own`, then the kit's. Every value is escaped; to print a name that nobody gave is an error."""
    made = Environment(
        loader=FileSystemLoader([own, TEMPLATES]),
        autoescape=True,
        auto_reload=False,
        finalize=visible,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=Wanted,
    )
    made.filters |= {"duration": duration, "kind": kind, "minute": minute, "number": number}
    made.globals |= {"SYMBOLS": SYMBOLS, "verdict": verdict}
    return made


def render(template: str, own: Path = TEMPLATES, /, **values: object) -> Markup:
    """The template of this name, filled.

    Raises:
        jinja2.TemplateError: there is no such template, or it asks for a value that is not given.
    """
    return Markup(environment(own).get_template(template).render(values))


def document(template: str, /, **values: object) -> str:
    """A whole page: text for a file, no piece of another page."""
    return str(render(template, **values))


@functools.cache
def _kit() -> Any:
    return environment().get_template("kit.html").module


def _macro(name: str, *values: object) -> Markup:
    made: Markup = getattr(_kit(), name)(*values)
    return made


def style(*more: Path) -> Markup:
    """What every page is dressed in, and the sheets of this one."""
    return Markup("\n".join(sheet.read_text("utf-8") for sheet in (TEMPLATES / "base.css", *more)))


def kind(outcome: object) -> str:
    """A class name for an outcome; an outcome that nobody knows gets none of ours."""
    known = str(outcome) in SYMBOLS
    return str(outcome).lower().replace("-", "").replace(" ", "") if known else "unknown"


# ── pieces of text ───────────────────────────────────────────────────────────────────────────────────────────────────
def escaped(value: object) -> str:
    """A value as it stands in markup: markup as it is, all else as neutral text, escaped."""
    return value if isinstance(value, Markup) else str(escape(neutral(value)))


def sentence(words: str, *values: object) -> Markup:
    """Words with a gap `{}` for each value. `words` is markup of this page's author, never of its data."""
    return Markup(words.format(*map(escaped, values)))


def join(pieces: Iterable[object], between: str = "") -> Markup:
    """The pieces in a row. `between` is markup of this page's author."""
    return Markup(between.join(map(escaped, pieces)))


def code(words: object) -> Markup:
    return sentence("<code>{}</code>", words)


def small(words: object) -> Markup:
    return sentence("<small>{}</small>", words)


@functools.lru_cache(64, typed=True)
def verdict(outcome: object) -> Markup:
    return _macro("verdict", outcome)


def missing(words: str = "missing") -> Markup:
    return sentence('<span class="missing">{}</span>', words)


def link(record: object, words: object) -> Markup:
    """Words that stand for a number, linked to the record of this name."""
    return sentence('<a class="figure" href="#record-{}">{}</a>', record, words)


def record_link(data: PageFacts, identity: str, words: object) -> Markup:
    """Words that stand for a number, linked to the record of the criterion that holds it."""
    return link(data.place(identity), words)


def value_link(data: PageFacts, identity: str, value: Any) -> Markup:
    """A number linked to its record; missing where there is none, never 0."""
    return missing() if real(value) is None else record_link(data, identity, value_text(value))


def value_text(value: Any) -> str:
    seen = real(value)
    return "not a number" if seen is not None and math.isnan(seen) else number(value)


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Markup:
    """A table; "" without a row. On a narrow screen each cell carries its head as a label.

    Raises:
        ValueError: a row has more cells than heads, or fewer.
    """
    names = [Markup(escaped(head)) for head in heads]
    cells = [list(zip(names, row, strict=True)) for row in rows]
    return _macro("table", names, cells) if cells else Markup("")


def definitions(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Names with what stands beside each."""
    return _macro("definitions", list(pairs))


def bullet_list(items: Iterable[object], kind: str = "", most: int = 20) -> Markup:
    """The first `most` of the items, and how many more there are; "" without one."""
    every = list(items)
    more = [f"and {len(every) - most} more"] if len(every) > most else []
    return _macro("bullet_list", [*every[:most], *more], kind) if every else Markup("")


def fold(summary: object, body: object, opened: bool = False) -> Markup:
    """What is folded behind a summary; "" where there is nothing."""
    return _macro("fold", summary, body, opened) if body else Markup("")


def section(name: str, heading: object, *body: object) -> Markup:
    return _macro("section", name, heading, join(body))


def gallery(
    name: str, heading: object, figures: Iterable[Markup], after: object = "", kind: str = "gallery"
) -> Markup:
    """A section of figures, and below them what is as wide as the page. kind: `gallery`, in columns; `task`, in a grid with wide tables."""
    return _macro("gallery", name, heading, join(figures), after, kind)


def figure(caption: object, picture: object, numbers: object = "", note: object = "") -> Markup:
    """A picture, or that it is missing, with its numbers and a note under it."""
    return _macro("figure", caption, picture, numbers, note)
