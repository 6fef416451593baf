"""The documents are complete and hold together: options, criteria, make's verbs, links, code blocks."""

import ast
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from gonogo.fixtures.subject.read import load_subject
from gonogo.harness.criteria.read import load
from gonogo.harness.place import ROOT
from gonogo.harness.plugin import pytest_addoption
from gonogo.harness.reports import criteria_page
from safetensors.numpy import save_file

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        ROOT / "reports/README.md",
    ]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
CRITERIA = load(ROOT / "criteria.toml")


def options() -> list[str]:
    """The options that the plugin adds, asked of the plugin itself."""
    named: list[str] = []

    class Group:
        def addoption(self, name: str, **_: object) -> None:
            named.append(name)

    class Parser:
        def getgroup(self, _: str) -> Group:
            return Group()

    pytest_addoption(Parser())  # type: ignore[arg-type]
    return named


def missing(words: list[str], text: str) -> list[str]:
    return [
        word for word in words if not re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text)
    ]


def test_the_readme_names_every_option():
    assert len(options()) >= 6
    assert missing(options(), (ROOT / "README.md").read_text("utf-8")) == []


def test_the_check_for_names_sees_one_that_is_missing():
    assert missing(["--plan", "--planned", "core.a"], "--plan core.a.b") == ["--planned"]


def test_the_criteria_page_is_up_to_date():
    assert criteria_page.PAGE.read_text("utf-8") == criteria_page.render(CRITERIA), (
        "python -m gonogo.harness.reports.criteria_page"
    )


def test_every_criterion_is_on_its_page():
    text = criteria_page.render(CRITERIA)
    assert [id_ for id_ in CRITERIA if f"`{id_}`" not in text] == []


def test_the_readme_names_every_verb_of_make():
    verbs = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert (
        missing([f"make {verb}" for verb in verbs], (ROOT / "README.md").read_text("utf-8")) == []
    )


def broken(page: Path) -> list[str]:
    """Links of a page to a file, or to a heading of a Markdown file, that are not there."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            found.append(link)
    return found


def headings(page: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_the_link_check_sees_a_dead_link_and_a_dead_heading(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n[a](page.md#a-title) [b](#a-title) [c](none.md) [d](page.md#other) [e](https://x.y/z)\n",
        "utf-8",
    )
    assert broken(page) == ["none.md", "page.md#other"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_and_toml_in_a_page_can_be_read(page):
    for kind, text in FENCE.findall(page.read_text("utf-8")):
        body = re.sub(r"^   ", "", text, flags=re.M) if text.startswith("   ") else text
        if kind == "python":
            ast.parse(body)
        if kind == "toml":
            tomllib.loads(body)


def test_the_subject_of_the_guide_is_sound(tmp_path):
    blocks = FENCE.findall((ROOT / "docs/gate-my-run.md").read_text("utf-8"))
    subject = next(text for kind, text in blocks if kind == "toml" and "[adapter]" in text)
    (tmp_path / "my_run.toml").write_text(subject, "utf-8")
    model = tmp_path / "models/minilm"
    model.mkdir(parents=True)
    (model / "config.json").write_text(
        '{"model_type": "bert", "hidden_size": 512, "num_hidden_layers": 1}', "utf-8"
    )
    (model / "tokenizer.json").write_text("{}", "utf-8")
    names = [f"encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key", "value")]
    save_file(
        {name: np.zeros((512, 512), np.float32) for name in names}, model / "model.safetensors"
    )
    for split in ("train", "dev", "test"):
        lines = [
            f'{{"text": "{split} {label}s", "label": "{label}", "customer": "{split}"}}\n'
            for label in ("no", "yes")
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines), "utf-8")
    assert load_subject(tmp_path / "my_run.toml").name == "ticket-triage"
