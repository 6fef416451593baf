import json
from pathlib import Path

import pytest
from gonogo.harness.criteria.read import RULES, CriteriaError, load, shipped_units
from gonogo.harness.words import nearest
from hypothesis import given, settings
from hypothesis import strategies as st

BAD = sorted((Path(__file__).parent / "bad_criteria").glob("*.toml"))
GOOD = """schema = 1

[criteria."core.parity.merge"]
claim = "Merged and live model agree."
stage = "A"
severity = "blocker"
why = "fp32 rounding alone gives 1e-6"
rule = "at_most"
metric = "drift"
unit = "logits"
bound = 1e-3

[criteria."lora.quality"]
claim = "No worse than full fine-tuning, at a tenth of the parameters."
stage = "B"
severity = "critical"
why = "reports/baselines"
rule = "all_of"
level = 0.9
parts = [
  { metric = "hit", unit = "1", rule = "non_inferior", reference = "full_hit", margin = 0.03 },
  { metric = "share", unit = "ratio", rule = "ratio", bound = 1, level = 0.99 },
]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "criteria.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_in_the_stored_words(path):
    with pytest.raises(CriteriaError) as caught:
        load(path)
    assert str(caught.value) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_line_of_a_refusal_begins_with_the_file(path):
    lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert all(line.startswith(f"{path.name}: ") for line in lines)


def test_there_are_many_bad_files():
    assert len(BAD) >= 25


def test_a_good_file_is_read_as_written(tmp_path):
    criteria = load(written(tmp_path, GOOD))
    assert list(criteria) == ["core.parity.merge", "lora.quality"]
    simple, compound = criteria.values()
    assert (simple.system, simple.stage, simple.rule, len(simple.parts)) == (
        "core",
        "A",
        "at_most",
        1,
    )
    (part,) = simple.parts
    assert (part.metric, part.unit, part.bound, part.direction, part.statistic, part.level) == (
        "drift",
        "logits",
        1e-3,
        "at_most",
        "each",
        0.95,
    )
    assert [part.rule for part in compound.parts] == ["non_inferior", "ratio"]
    assert [part.direction for part in compound.parts] == ["at_least", "at_most"]
    assert [part.level for part in compound.parts] == [0.9, 0.99]
    assert isinstance(compound.parts[1].bound, float)
    assert json.loads(simple.to_json())["parts"][0]["bound"] == 1e-3


def test_the_digest_follows_the_text_and_not_the_place(tmp_path):
    first = load(written(tmp_path, GOOD))
    (tmp_path / "there").mkdir()
    assert load(written(tmp_path / "there", GOOD)).digest == first.digest
    assert load(written(tmp_path, GOOD.replace("1e-3", "2e-3"))).digest != first.digest
    assert {first: 1}[first] == 1


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(CriteriaError, match="cannot be read"):
            load(path)


def test_nearest_suggests_only_what_is_near():
    assert nearest("core.parity.merg", ["core.parity.merge", "core.freeze"]) == "core.parity.merge"
    assert nearest("zzz", ["core.parity.merge"]) is None


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(
        [*RULES, *shipped_units(), "A", "blocker", "all_of", "composite", "two-way", "x@*", "t"]
    ),
    st.text(max_size=8),
)
KEYS = [
    "all",
    "any",
    "margin_relative",
    "relative_to",
    "floor",
    "floor_times",
    "claim",
    "stage",
    "severity",
    "why",
    "rule",
    "metric",
    "unit",
    "bound",
    "direction",
    "statistic",
    "reference",
    "margin",
    "quantile",
    "level",
    "interval",
    "odd",
]
TABLE = st.dictionaries(st.sampled_from(KEYS), SCALARS)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def outcome(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        load(path)
    except CriteriaError as error:
        words = str(error)
    else:
        return
    assert words.startswith("fuzz.toml: ")


@settings(max_examples=150, deadline=None)
@given(
    tables=st.dictionaries(st.sampled_from(["core.a", "safe.b", "Bad", ""]), TABLE, min_size=1),
    parts=st.one_of(SCALARS, st.lists(TABLE, max_size=3)),
)
def test_any_table_is_read_or_refused_in_words(tmp_path_factory, tables, parts):
    lines = ["schema = 1"]
    for name, table in tables.items():
        lines += [
            f"[criteria.{json.dumps(name)}]",
            *(f"{key} = {toml(value)}" for key, value in table.items()),
            f"parts = {toml(parts)}",
        ]
    outcome(tmp_path_factory.getbasetemp() / "fuzz.toml", "\n".join(lines).encode())


@settings(max_examples=150, deadline=None)
@given(
    head=st.sampled_from([b"", b"schema = 1\n", GOOD.encode()]),
    rest=st.one_of(st.binary(), st.text(alphabet='[]{}"=.,\n#1ae ').map(str.encode)),
)
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, head, rest):
    outcome(tmp_path_factory.getbasetemp() / "fuzz.toml", head + rest)


STUDY = (
    GOOD
    + """
[criteria."lora.h1"]
claim = "Within 3 % of full fine-tuning."
stage = "B"
severity = "critical"
why = "arXiv 2106.09685"
rule = "non_inferior"
metric = "accuracy@*"
reference = "full_accuracy@*"
unit = "accuracy"
interval = "two-way"
margin_relative = 0.03

[criteria."lora.h2"]
claim = "Less drift."
stage = "B"
severity = "critical"
why = "arXiv 2106.09685"
rule = "all_of"
parts = [
  { metric = "drift@*", unit = "1", rule = "ratio", bound = 0.8, reference = "full_drift@*", floor = "floor@*", floor_times = 2 },
  { metric = "utility", unit = "1", rule = "correlates", bound = 0.5, reference = "gain", relative_to = "ceiling" },
]

[criteria."lora.composite"]
claim = "H1 and H2 or the merge."
stage = "C"
severity = "critical"
why = "arXiv 2106.09685"
rule = "composite"
all = ["lora.h1"]
any = ["lora.h2", "core.parity.merge"]
level = 0.9
"""
)


def test_the_keys_of_a_study_are_read_as_written(tmp_path):
    criteria = load(written(tmp_path, STUDY))
    (h1,) = criteria["lora.h1"].parts
    assert (h1.margin, h1.margin_relative, h1.interval, h1.everywhere) == (
        None,
        0.03,
        "two-way",
        True,
    )
    drift, utility = criteria["lora.h2"].parts
    assert (drift.floor, drift.floor_times) == ("floor@*", 2.0)
    assert (utility.statistic, utility.relative_to, utility.direction, utility.everywhere) == (
        "pearson",
        "ceiling",
        "at_least",
        False,
    )
    whole = criteria["lora.composite"]
    assert (whole.all, whole.any, whole.level, whole.parts) == (
        ("lora.h1",),
        ("lora.h2", "core.parity.merge"),
        0.9,
        (),
    )
    assert json.loads(whole.to_json())["all"] == ["lora.h1"]
