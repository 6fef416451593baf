"""The pieces of a page: text is escaped wherever it stands, markup is not escaped twice, what nobody gave is an error."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gonogo.harness.place import ROOT
from gonogo.harness.reports.page import tags
from gonogo.harness.reports.page.svg import element
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from tests.harness.reports.examples import HOSTILE

TAG = re.compile(r"</?[a-zA-Z]")
PAGES = [
    *ROOT.glob("harness/reports/*.py"),
    *ROOT.glob("harness/reports/page/*.py"),
    *ROOT.glob("gates/*/page.py"),
    *ROOT.glob("gates/*/page/*.py"),
]


def written(autoescape: bool) -> str:
    """A page whose template prints what it is given, as every template does."""
    page = tags.environment().overlay(
        autoescape=autoescape,
        loader=DictLoader(
            {"x": '<p title="{{ words }}">{{ words }}{% for w in [words] %}{{ w }}{% endfor %}</p>'}
        ),
    )
    return page.get_template("x").render(words=HOSTILE)


def test_a_template_escapes_what_it_prints_and_would_not_without_autoescape() -> None:
    assert tags.environment().autoescape is True
    assert "<script>" not in written(True)
    assert "onerror=alert(2)&gt;" in written(True)
    assert "<script>" in written(False)  # so the test above can fail


def test_no_template_marks_what_it_prints_as_safe() -> None:
    templates = [*ROOT.glob("harness/**/templates/*.html"), *ROOT.glob("gates/**/templates/*.html")]
    assert len(templates) > 5
    for file in templates:
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", file.read_text("utf-8")), file


def test_every_piece_escapes_text_and_keeps_markup() -> None:
    bold = Markup("<b>bold</b>")
    for made in (
        tags.code(HOSTILE),
        tags.missing(HOSTILE),
        tags.link(HOSTILE, HOSTILE),
        tags.sentence("<i>{}</i>", HOSTILE),
        tags.join([HOSTILE, HOSTILE], ", "),
        tags.table([HOSTILE], [[HOSTILE]]),
        tags.definitions([(HOSTILE, HOSTILE)]),
        tags.bullet_list([HOSTILE], HOSTILE),
        tags.fold(HOSTILE, HOSTILE),
        tags.section(HOSTILE, HOSTILE, HOSTILE),
        tags.gallery(HOSTILE, HOSTILE, [tags.figure(HOSTILE, "", HOSTILE, HOSTILE)], HOSTILE),
        tags.verdict(HOSTILE),
        element("text", HOSTILE, style=HOSTILE),
    ):
        assert "<script" not in made
        assert "<img" not in made
        assert not {"\u202e", "\x1b"} & set(made)
    assert bold in tags.table(["x"], [[bold]])
    assert bold in tags.sentence("{}", bold)
    assert tags.join(["a", "b"], ", ") == "a, b"


def test_a_text_is_not_taken_for_markup_that_reads_the_same() -> None:
    assert element("g", style=Markup("<b>")) != element("g", style="<b>")
    assert tags.verdict(Markup("<b>")) != tags.verdict("<b>")


def test_a_name_that_nobody_gave_is_an_error_where_it_is_printed() -> None:
    page = tags.environment().from_string("{% if there %}yes{% endif %}{{ there }}")
    assert page.render(there=1) == "yes1"
    with pytest.raises(UndefinedError, match="there"):
        page.render()


def test_a_row_of_a_table_has_a_cell_for_each_head() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tags.table(["a", "b"], [["1"]])
    assert tags.table(["a"], []) == ""


def hand_written(tree: ast.AST) -> list[int]:
    """Lines where markup is put together from values by an f-string, `+` or `%`."""
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    texts = {
        node.lineno: "".join(
            part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
        for node in joined
    }
    return [line for line, text in texts.items() if TAG.search(text)]


def test_no_page_puts_markup_together_by_hand() -> None:
    assert len(PAGES) > 20
    found = {
        f"{file.relative_to(ROOT)}:{line}"
        for file in PAGES
        for line in hand_written(ast.parse(file.read_text("utf-8")))
    }
    assert {name.split(":")[0] for name in found} <= {"harness/reports/page/svg.py"}
    assert hand_written(ast.parse('f"<b>{words}</b>"')) == [1]


def test_who_writes_no_page_pays_for_no_template() -> None:
    code = "import sys, gonogo.harness.plugin; sys.exit(any(n in sys.modules for n in ('jinja2', 'markupsafe')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(ROOT), check=False)
    assert done.returncode == 0
