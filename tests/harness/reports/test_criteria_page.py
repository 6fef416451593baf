"""The pages of the criteria: what each says, and that what it names is a link."""

from pathlib import Path

import pytest
from gonogo.harness.criteria.read import Criteria, load
from gonogo.harness.reports.criteria_page import Beside, Planted, linked, pages

FILE = """
schema = 1

[criteria."mine.parity.merge"]
claim = "The merged model is the adapter model."
stage = "A"
severity = "blocker"
why = "A merge can differ (huggingface/peft#1388), see docs/measured/bounds.md and mine.h1."
rule = "all_of"
parts = [
  { metric = "error", unit = "1", rule = "at_most", bound = 0.0001 },
  { metric = "loss@*", unit = "nats", rule = "at_most", bound = 0.1, statistic = "mean", precondition = true },
]

[criteria."mine.h1"]
claim = "Within 3 % of full fine-tuning | or better."
stage = "B"
severity = "critical"
why = "arXiv 2106.09685"
rule = "non_inferior"
metric = "accuracy@*"
reference = "full_accuracy@*"
unit = "accuracy"
interval = "two-way"
margin_relative = 0.03

[criteria."mine.whole"]
claim = "Both."
stage = "C"
severity = "critical"
why = "A bound of ours."
rule = "composite"
all = ["mine.h1"]
any = ["mine.parity.merge", "mine.h1"]
"""


@pytest.fixture
def criteria(tmp_path: Path) -> Criteria:
    (tmp_path / "criteria.toml").write_text(FILE.replace(', "mine.h1"]', "]"), "utf-8")
    return load(tmp_path / "criteria.toml")


def test_a_page_says_claim_metrics_reason_remedy_defects_and_command(criteria):
    beside = Beside(
        remedies={"mine.parity.merge": "Merge in fp32."},
        planted={
            "mine.parity.merge": [
                Planted("twice", "merged twice", "huggingface/peft#1"),
                Planted("x", "y"),
            ]
        },
        gates={"mine.parity.merge": "test_merge"},
    )
    page = pages(criteria, beside)["criteria/mine.parity.merge.md"]
    assert "**The merged model is the adapter model.**" in page
    assert "| `error` | – | ≤ 0.0001 | no value is larger |" in page
    assert "| `loss@*` † | nats | ≤ 0.1 | no value is larger (of the mean) |" in page
    assert "judged for each suffix" in page
    assert "† A precondition" in page
    assert "Merge in fp32." in page
    assert (
        "| `twice` | merged twice | [huggingface/peft#1](https://github.com/huggingface/peft/issues/1) |"
        in page
    )
    assert "| `x` | y | our own |" in page
    assert 'pytest -m "gate_stageA and mine" -k test_merge' in page


def test_a_page_says_what_a_composite_is_made_of(criteria):
    page = pages(criteria, Beside())["criteria/mine.whole.md"]
    assert "* all of these hold: [mine.h1](mine.h1.md)" in page
    assert "* one of these holds: [mine.parity.merge](mine.parity.merge.md)" in page


def test_a_comparison_names_its_other_arm_once(criteria):
    page = pages(criteria, Beside())["criteria/mine.h1.md"]
    assert "| `accuracy@*` | accuracy | > 0 against 0.97 · full_accuracy@* |" in page
    assert page.count("full_accuracy") == 1


def test_the_list_of_all_counts_by_system_and_keeps_a_bar_out_of_its_table(criteria):
    index = pages(criteria, Beside(systems={"mine": "my own claims"}))["criteria/index.md"]
    assert "## mine: my own claims (3)" in index
    assert "| [mine.h1](mine.h1.md) | B | Within 3 % of full fine-tuning \\| or better. |" in index


@pytest.mark.parametrize(
    ("text", "link"),
    [
        (
            "huggingface/peft#577",
            "[huggingface/peft#577](https://github.com/huggingface/peft/issues/577)",
        ),
        ("arXiv 2106.09685", "[arXiv 2106.09685](https://arxiv.org/abs/2106.09685)"),
        ("docs/measured/bounds.md", "[docs/measured/bounds.md](../measured/bounds.md)"),
        ("mine.h1", "[mine.h1](../criteria/mine.h1.md)"),
        (
            "pytorch.org/docs/stable/notes/randomness.html",
            "[pytorch.org/docs/stable/notes/randomness.html](https://pytorch.org/docs/stable/notes/randomness.html)",
        ),
        (
            "github.com/some/one docs/A.md",
            "[github.com/some/one docs/A.md](https://github.com/some/one/blob/abc/docs/A.md)",
        ),
        (
            "github.com/some/one",
            "[github.com/some/one](https://github.com/some/one)",
        ),
        ("mine.unknown.id, 0.05 and e.g. this", "mine.unknown.id, 0.05 and e.g. this"),
    ],
)
def test_what_can_be_looked_up_is_a_link(criteria, text, link):
    assert linked(text, criteria, {"some/one docs/A.md": "abc"}) == link


def test_a_file_whose_commit_is_not_known_is_that_of_today(criteria):
    assert "blob/HEAD/A.md" in linked("github.com/some/one A.md", criteria)
