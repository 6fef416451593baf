"""The documents are complete and hold together: options, commands, criteria, keys, links, code blocks, public sources."""

import ast
import importlib
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from gonogo.fixtures.subject import words
from gonogo.fixtures.subject.read import load_subject
from gonogo.harness.criteria.read import PART_KEYS, load
from gonogo.harness.criteria.rules import RULES
from gonogo.harness.place import ROOT
from gonogo.harness.plugin import pytest_addoption
from safetensors.numpy import save_file

DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.glob("**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        ROOT / "reports/README.md",
    ]
)
GUIDES = [page for page in PAGES if DOCS in page.parents and page.parent.name != "decisions"]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
CRITERIA = load(ROOT / "criteria.toml")
PRIVATE = re.compile(
    r"\bseed 00\d|\bspec\b|\bissue \d|measured here|\bprotocol\b|literature|catalogue|peers|\bS\d\d\b",
    re.I,
)
SOURCE = re.compile(
    r"[\w.-]+/[\w.-]+#\d+|arXiv \d{4}\.\d{5}|github\.com/\S+|pytorch\.org/\S+|visualqa\.org/\S+"
    r"|ICH E10|optuna\.\w+|\b(18|19|20)\d\d\b|docs/[\w/-]+\.md|bounds? of ours|core\.[\w.]+|benchmarks/\w+\.py"
)
LACKING = re.compile(
    r"\bseed(?: document)? 00\d|\b(?:literature|protocol|peers)\.md\b|shared/spec|\bspec/"
    r"|\b(?:protocol|literature|peers|spec \w+) §|\bsabotage S\d\d\b",
    re.I,
)
"""Documents that were read while this was built and that no reader has."""


def build() -> ModuleType:
    """docs/build.py, which lies beside the pages and in no package."""
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = build().made()
"""Pages that are made when the site is built: path below docs/ → Markdown."""


def options() -> list[str]:
    """The options that the plugin adds, asked of the plugin itself."""
    named: list[str] = []

    class Group:
        def addoption(self, name: str, **_: object) -> None:
            named.append(name)

    class Parser:
        def getgroup(self, _: str) -> Group:
            return Group()

        def addini(self, *_: object, **__: object) -> None:
            pass

    pytest_addoption(Parser())  # type: ignore[arg-type]
    return named


def missing(words: list[str], text: str) -> list[str]:
    return [
        word for word in words if not re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text)
    ]


def table(page: str) -> str:
    """The rows of a page's tables."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("|"))


# ── options, commands, keys ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_table_of_commands_names_every_option():
    assert len(options()) >= 6
    assert missing(options(), table("reference/commands.md")) == []


def test_the_table_of_commands_names_every_verb_of_make():
    verbs = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert missing([f"make {verb}" for verb in verbs], table("reference/commands.md")) == []


def test_the_table_of_commands_names_every_verb_of_gonogo():
    """Once the command is there."""
    command = importlib.util.find_spec("gonogo.harness.command")
    verbs = importlib.import_module("gonogo.harness.command").VERBS if command else ()
    assert missing([f"gonogo {verb}" for verb in verbs], table("reference/commands.md")) == []


def test_the_check_for_names_sees_one_that_is_missing():
    assert missing(["--plan", "--planned", "core.a"], "--plan core.a.b") == ["--planned"]


@pytest.mark.parametrize("name", ["subject", "base", "data", "training", "budgets", "probe"])
def test_the_page_of_the_subject_names_every_key_of_a_table(name):
    page = (DOCS / "reference/subject.md").read_text("utf-8")
    section = page.partition(f"## [{name}]")[2].partition("\n## ")[0]
    assert [key for key in words.TABLES[name] if f"`{key}`" not in section] == []


def test_the_page_of_the_subject_says_each_default_of_training():
    page = (DOCS / "reference/subject.md").read_text("utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    said = {row[1].strip().strip("`"): row[3].strip() for row in rows}
    wanted = {key: str(value) for key, value in words.TRAINING.items() if value is not None}
    wanted = {
        key: value.lower() if value in ("True", "False") else value for key, value in wanted.items()
    }
    seen = {key: said.get(key, "").strip("`").strip('"') for key in wanted}
    assert seen == wanted


def test_the_page_of_the_criteria_file_names_every_key_and_rule():
    page = table("reference/criteria-file.md")
    assert [key for key in (*PART_KEYS, *RULES) if f"`{key}`" not in page] == []


# ── criteria ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("id_", CRITERIA)
def test_every_criterion_has_a_page_that_says_what_it_asks(id_):
    page, criterion = MADE[f"criteria/{id_}.md"], CRITERIA[id_]
    assert criterion.claim in page
    assert [part.metric for part in criterion.parts if f"`{part.metric}`" not in page] == []
    assert "No remedy is written down" not in page
    assert f"-k {build().gates()[id_]}" in page
    assert f"[{id_}]({id_}.md)" in MADE["criteria/index.md"]


def test_a_page_of_a_criterion_names_its_planted_defects_and_their_public_source():
    page = MADE["criteria/core.learn.accumulation.md"]
    assert "| `loss-times-accumulation` |" in page
    assert "https://github.com/huggingface/transformers/issues/47688" in page


@pytest.mark.parametrize("id_", CRITERIA)
def test_a_reason_names_what_every_reader_can_have(id_):
    why = CRITERIA[id_].why
    assert PRIVATE.findall(why) == [], (
        "name a public source, or a page of docs that holds the figure"
    )
    assert SOURCE.search(why), "name a paper, an issue, a page, or say that the bound is ours"


@pytest.mark.parametrize(
    "why",
    [
        "Seed 002, section 1.",
        "measured here",
        "spec peers §1",
        "issue 2",
        "S27",
        "see literature.md",
    ],
)
def test_a_private_reason_is_seen(why):
    assert PRIVATE.search(why)


def test_a_reason_without_a_source_is_seen():
    assert not SOURCE.search("A leaked row makes every held-out number a training number.")


def test_every_page_that_a_reason_names_is_there():
    named = {
        page for each in CRITERIA.values() for page in re.findall(r"docs/[a-z/-]+\.md", each.why)
    }
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def sources() -> list[Path]:
    kinds = ("*.py", "*.md", "*.toml", "*.yml", "*.ini", "*.html", "*.css")
    rooms = ("harness", "methods", "fixtures", "gates", "benchmarks", "docs", "examples", "tests")
    found = [path for room in rooms for kind in kinds for path in (ROOT / room).rglob(kind)]
    return [*found, *ROOT.glob("*.md"), *ROOT.glob("*.toml")]


def test_no_file_names_a_document_that_readers_lack():
    own = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources()
        if path.resolve() != own
        for match in LACKING.finditer(path.read_text("utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text", ["seed 002, section 9", "literature.md §1.2", "protocol §3", "sabotage S06", "spec/x"]
)
def test_a_document_that_readers_lack_is_seen(text):
    assert LACKING.search(text)


def documented() -> set[str]:
    """The metrics that the docstrings of the measures list, without what follows an `@`."""
    found: set[str] = set()
    files = [*(ROOT / "methods/measures").glob("*.py"), *(ROOT / "methods").glob("*/measures/*.py")]
    for path in files:
        for node in ast.parse(path.read_text("utf-8")).body:
            text = ast.get_docstring(node) or "" if isinstance(node, ast.FunctionDef) else ""
            if re.search(r"^ *Metrics\b", text, re.M):
                found |= set(re.findall(r"[a-z][a-z0-9_]+", text))
    return found


def test_every_metric_of_the_core_criteria_is_listed_by_a_measure():
    named = {
        part.metric.partition("@")[0]
        for id_, each in CRITERIA.items()
        if id_.startswith("core.")
        for part in each.parts
    }
    assert len(named) > 40
    assert sorted(named - documented() - {"rank_p"}) == []


# ── links and code ──────────────────────────────────────────────────────────────────────────────────────────────────
def broken(page: Path, text: str | None = None) -> list[str]:
    """Links of a page to a file, or to a heading of a Markdown file, that are not there."""
    found = []
    for link in LINK.findall(FENCE.sub("", text or page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        made = MADE.get(str(target.relative_to(DOCS))) if target.is_relative_to(DOCS) else None
        if (made is None and not target.exists()) or (
            heading and heading not in headings(made or target.read_text("utf-8"))
        ):
            found.append(link)
    return found


def headings(text: str) -> set[str]:
    """Anchors as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_every_link_of_a_page_that_is_made_leads_somewhere():
    assert {
        path: found for path, text in MADE.items() if (found := broken(DOCS / path, text))
    } == {}


def test_the_link_check_sees_a_dead_link_and_a_dead_heading(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n[a](page.md#a-title) [b](#a-title) [c](none.md) [d](page.md#other) [e](https://x.y/z)\n",
        "utf-8",
    )
    assert broken(page) == ["none.md", "page.md#other"]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_guide_says_the_next_step_and_is_in_the_menu(page):
    assert re.search(r"\*\*Next:\*\* \[", page.read_text("utf-8"))
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert str(page.relative_to(DOCS)) in menu


def test_every_decision_is_in_the_list_of_decisions():
    index = (DOCS / "decisions/index.md").read_text("utf-8")
    titles = {
        page.name: page.read_text("utf-8").splitlines()[0].lstrip("# ")
        for page in DOCS.glob("decisions/0*.md")
    }
    assert [name for name, title in titles.items() if f"* [{title}]({name})" not in index] == []


def test_the_readme_fits_one_page():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_and_toml_in_a_page_can_be_read(page):
    for kind, text in FENCE.findall(page.read_text("utf-8")):
        body = re.sub(r"^   ", "", text, flags=re.M) if text.startswith("   ") else text
        if kind == "python":
            ast.parse(body)
        if kind == "toml":
            tomllib.loads(body)


def test_the_subject_of_the_guide_is_sound(tmp_path):
    blocks = FENCE.findall((DOCS / "how-to/recipe.md").read_text("utf-8"))
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
