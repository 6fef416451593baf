"""A repository's criteria file holds only what differs from the shipped one; what it changes is told."""

import pytest
from gonogo.harness.criteria.overlay import load_over
from gonogo.harness.criteria.read import CriteriaError, load
from gonogo.harness.place import CRITERIA

SHIPPED = """schema = 1

[units]
1 = "a share"
hits = "findings"

[criteria."a.one.bound"]
claim = "c"
stage = "A"
severity = "minor"
why = "w"
metric = "m"
unit = "1"
rule = "at_most"
bound = 5

[criteria."a.two.parts"]
claim = "c"
stage = "B"
severity = "minor"
why = "w"
rule = "all_of"
parts = [
  { metric = "x", unit = "1", rule = "at_most", bound = 1 },
  { metric = "y", unit = "1", rule = "exact", bound = 0 },
]
"""


@pytest.fixture
def over(tmp_path):
    (tmp_path / "shipped.toml").write_text(SHIPPED)

    def laid(text: str):
        (tmp_path / "mine.toml").write_text(f"schema = 1\n{text}")
        return load_over(tmp_path / "mine.toml", tmp_path / "shipped.toml")

    return laid


def test_only_the_named_keys_change_and_the_change_is_told(over):
    made = over('[criteria."a.one.bound"]\nbound = 8\n')
    assert list(made) == ["a.one.bound", "a.two.parts"]
    assert made["a.one.bound"].parts[0].bound == 8
    assert (made["a.one.bound"].claim, made["a.one.bound"].stage) == ("c", "A")
    assert made.changes == {"a.one.bound": ["bound changed from 5 to 8 by mine.toml"]}
    assert made.own == frozenset()


def test_a_part_that_changes_is_named_by_its_metric(over):
    made = over(
        '[criteria."a.two.parts"]\nparts = [\n'
        '{ metric = "x", unit = "1", rule = "at_most", bound = 2 },\n'
        '{ metric = "z", unit = "1", rule = "exact", bound = 0 },\n]\n'
    )
    told = made.changes["a.two.parts"]
    assert "x bound changed from 1 to 2 by mine.toml" in told
    assert 'y rule changed from "exact" to nothing by mine.toml' in told
    assert 'z rule changed from nothing to "exact" by mine.toml' in told


def test_the_same_value_is_no_change(over):
    assert over('[criteria."a.one.bound"]\nbound = 5\n').changes == {}


def test_another_rule_brings_its_keys_along(over):
    made = over(
        '[criteria."a.one.bound"]\nrule = "proportion"\nmetric = "m"\nunit = "1"\n'
        'bound = 0.9\ndirection = "at_least"\n'
    )
    assert made["a.one.bound"].rule == "proportion"
    with pytest.raises(CriteriaError, match="has no `metric`"):
        over('[criteria."a.one.bound"]\nrule = "proportion"\n')


def test_a_criterion_of_ones_own_is_whole_and_may_have_a_unit_of_its_own(over):
    whole = '[criteria."mine.a.b"]\nclaim = "c"\nstage = "A"\nseverity = "minor"\nwhy = "w"\n'
    rest = 'metric = "m"\nunit = "faults"\nrule = "exact"\nbound = 0\n'
    made = over(f'[units]\nfaults = "of mine"\n{whole}{rest}')
    assert made.own == {"mine.a.b"}
    assert made["mine.a.b"].system == "mine"
    assert made.changes == {}
    with pytest.raises(CriteriaError, match=r"mine.toml: \[criteria.\"mine.a.b\"\] has no `rule`"):
        over(whole)


def test_the_digest_is_of_both_files(over):
    one, two = (over(f'[criteria."a.one.bound"]\nbound = {n}\n') for n in (8, 9))
    assert len({one.digest, two.digest}) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[criteria."a.one.bound"]\nbuond = 8\n', "has unknown key `buond`"),
        ('[criteria."a.one.bound"]\nbound = "8"\n', '`bound` is "8", wanted a number'),
        ('[criteria]\n"a.one.bound" = 8\n', "is 8, wanted a table"),
        ("", "has no criterion"),
    ],
)
def test_what_is_wrong_is_told_with_the_name_of_the_own_file(over, text, said):
    with pytest.raises(CriteriaError) as refused:
        over(text)
    assert said in str(refused.value)
    assert str(refused.value).startswith("mine.toml: ")


def test_every_shipped_criterion_stays(tmp_path):
    shipped = load(CRITERIA)
    first = next(c for c in shipped.values() if c.rule == "at_most")
    (tmp_path / "mine.toml").write_text(
        f'schema = 1\n[criteria."{first.id}"]\nseverity = "minor"\n'
    )
    made = load_over(tmp_path / "mine.toml")
    assert [id_ for id_ in shipped if made[id_] != shipped[id_]] in ([], [first.id])
    assert list(made) == list(shipped)
