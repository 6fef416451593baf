"""Pieces of a page that every report of this folder is made of; all text is escaped here."""

import math
from collections.abc import Iterable
from html import escape
from typing import Any, Final

from gonogo.harness.reports.page.facts import PageFacts
from gonogo.harness.reports.words import SYMBOLS, neutral, number, real

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def text(value: object) -> str:
    return escape(neutral(value), quote=True)


def kind(outcome: object) -> str:
    """A class name for an outcome; an outcome that nobody knows gets none of ours."""
    return (
        str(outcome).lower().replace("-", "").replace(" ", "") if outcome in SYMBOLS else "unknown"
    )


def verdict(outcome: str) -> str:
    return f'<b class="verdict {kind(outcome)}"><i aria-hidden="true">{SYMBOLS.get(outcome, "○")}</i> {text(outcome)}</b>'


def document(title: str, style: str, body: str) -> str:
    """A page that loads nothing and runs nothing. `title` is plain text; `style` and `body` are markup already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n<body>{body}</body></html>\n"
    )


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that are markup already; on a narrow screen each cell carries its head as a label."""
    names = [text(head) for head in heads]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{name}">{cell}</td>' for name, cell in zip(names, cells, strict=True)
        )
        + "</tr>"
        for cells in rows
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        if body
        else ""
    )


def facts(listed: Iterable[tuple[str, str]]) -> str:
    """A list of names, plain text, with what stands beside each, markup already."""
    return (
        "<dl>"
        + "".join(f"<dt>{text(name)}</dt><dd>{value}</dd>" for name, value in listed)
        + "</dl>"
    )


def missing(words: str = "missing") -> str:
    return f'<span class="missing">{text(words)}</span>'


def figure(found: PageFacts, identity: str, words: str) -> str:
    """Words that stand for a number, linked to the record that holds it."""
    return f'<a class="figure" href="#record-{found.place(identity)}">{text(words)}</a>'


def linked(found: PageFacts, identity: str, value: Any) -> str:
    """A number linked to its record; missing where there is none, never 0."""
    known = real(value)
    if known is None:
        return missing()
    return figure(found, identity, "not a number" if math.isnan(known) else number(known))
