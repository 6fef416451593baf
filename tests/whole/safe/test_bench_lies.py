"""Lies in the records of SAFE's bench that left a GO standing, or ended in a traceback, before `gonogo.fixtures.safe.bench_checks` looked at each run."""

import json

import pytest
from gonogo.fixtures.safe.campaign import SafeCampaign
from gonogo.fixtures.subject.read import load_subject
from gonogo.fixtures.subject.shipped import shipped
from gonogo.harness.evidence import EvidenceError
from gonogo.harness.judging.verdict import Outcome, judge

from tests.fixtures.safe.test_campaign import CRITERIA, MEASURES, named, records

AUDIO, RETENTION, DISTILLATION, NULL, SWEEP, SMALLEST = (
    "safe.variance.audio",
    "safe.variance.retention",
    "safe.retention.distillation",
    "safe.retention.null_space",
    "safe.retention.weight_sweep",
    "safe.ablation.smallest_config",
)
CELL = "p0.006 f0.006 w8.0"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    home = tmp_path_factory.mktemp("bench")
    text = (
        (shipped("safe/bench"))
        .read_text("utf-8")
        .replace("tokens = 8\nr      = 16", "tokens = 4\nr      = 8")
    )
    (home / "safe-bench.toml").write_text(text.replace("[4, 8]\n", "[4]\n"), "utf-8")
    subject = load_subject(home / "safe-bench.toml")
    made = SafeCampaign(subject)
    made.records = named(records())
    return made


def lied(honest, prefix, lie):
    """The bench with `lie(record)` told of every run whose name begins so."""
    made = SafeCampaign(honest.subject)
    made.records = dict(honest.records)
    for name in [name for name in made.records if name.startswith(f"safe.bench.run({prefix}")]:
        made.records[name] = json.loads(json.dumps(made.records[name]))
        lie(made.records[name])
    return made


def values(**changes):
    return lambda record: record["measurement"]["values"].update(changes)


def counts(**changes):
    return lambda record: record["measurement"]["counts"].update(changes)


def digests(**changes):
    return lambda record: record["measurement"]["digests"].update(changes)


def as_percent(record):
    held = record["measurement"]["values"]
    held["right"] = [100 * value for value in held["right"]]


def signed(record):
    held = record["measurement"]["values"]
    held["drift_on"] = [-0.03, 0.032] * (len(held["drift_on"]) // 2)


def damped(record):
    held = record["measurement"]["values"]
    held["drift_policy"] = [drift / 2 for drift in held["drift_policy"]]


def selected_by_test(record):
    held = record["measurement"]["values"]
    held.update(
        dev_right=held["right"], dev_plain_on=held["plain_on"], dev_plain_base=held["plain_base"]
    )


def shorter(record):
    held = record["measurement"]["values"]
    held.update(right=held["right"][::2])


def larger(record):
    record["measurement"]["values"].update(parameters=[90_000.0])


def two_threads(record):
    values(plain_base=[0.0] * 60 + [1.0] * 2940, plain_on=[0.0] * 60 + [1.0] * 2940)(record)


LIES = {
    "another seed than its name": (
        AUDIO,
        "with.3",
        counts(seed=13),
        "with.3: it was trained from seed 13",
    ),
    "one seed under ten names": (
        AUDIO,
        "with.",
        counts(seed=0),
        "with.9: it was trained from seed 0",
    ),
    "one seed scored on half of the items": (
        AUDIO,
        "with.3",
        shorter,
        "with.3: test has 6000 of 9000 items",
    ),
    "simulated": (
        AUDIO,
        "with.3",
        lambda record: record["measurement"].update(provenance="simulated"),
        "simulated",
    ),
    "arms of other sizes": (DISTILLATION, "with.", counts(r=2), "wanted 4 of rank 8"),
    "an arm with more parameters": (
        DISTILLATION,
        "without",
        larger,
        "parameters do not rise with tokens and rank",
    ),
    "drift that adds up to little": (DISTILLATION, "with.", signed, "drift_on is below 0"),
    "drift under no policy": (
        DISTILLATION,
        "with.",
        damped,
        "drifts neither by nothing nor as with its gate on",
    ),
    "arms under other policies": (
        DISTILLATION,
        "with.",
        counts(threshold=9.0),
        "different thresholds",
    ),
    "arms on other backbones": (
        DISTILLATION,
        "without",
        digests(frozen_off="other"),
        "frozen paths do not answer alike",
    ),
    "the projected arm on another backbone": (
        NULL,
        "null_space",
        digests(frozen_off="other"),
        "frozen paths",
    ),
    "arms against other bases": (NULL, "without", two_threads, "different bases"),
    "arms of a few steps": (
        DISTILLATION,
        "with.",
        lambda record: record["trained"].update(steps=150),
        "it took 150 steps, the curriculum 1500 to 1700",
    ),
    "cells of other budgets": (
        SWEEP,
        CELL,
        lambda record: record["trained"].update(steps=15_000),
        "it took 15000 steps",
    ),
    "nobody knows how long": (
        SWEEP,
        CELL,
        lambda record: record.pop("trained"),
        "an unknown number of steps",
    ),
    "percent for shares": (SWEEP, "p", as_percent, "right has values other than 0 and 1"),
    "a loss below 0": (SWEEP, CELL, values(late_over_early=[-1.0]), "late_over_early is below 0"),
    "a base that knows nothing": (
        SWEEP,
        "p",
        values(plain_on=[0.0] * 3000, plain_base=[0.0] * 3000),
        "nothing can be lost",
    ),
    "chosen on test": (SWEEP, "p", selected_by_test, "dev is test"),
    "a smaller one made larger": (SMALLEST, "k4 r4", larger, "parameters do not rise"),
    "a smaller one that is another": (
        SMALLEST,
        "k4 r4",
        counts(tokens=12, r=16),
        "it has 12 tokens of rank 16, wanted 4 of rank 4",
    ),
    "a smaller one of no number": (
        SMALLEST,
        "k4 r4",
        values(dev_right=[float("nan")] * 1000),
        "dev_right has values other",
    ),
    "a smaller one hardly trained": (
        SMALLEST,
        "k4 r4",
        lambda record: record["trained"].update(steps=20),
        "it took 20 steps",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_about_a_run_takes_the_go_away(honest, what):
    criterion, prefix, lie, says = LIES[what]
    verdict = judge(CRITERIA[criterion], MEASURES[criterion](lied(honest, prefix, lie)))
    assert verdict.outcome is not Outcome.GO
    assert says in verdict.reason


@pytest.mark.parametrize("criterion", MEASURES)
def test_what_is_true_stays_go(honest, criterion):
    verdict = judge(CRITERIA[criterion], MEASURES[criterion](honest))
    assert verdict.outcome is Outcome.GO, verdict.reason


def test_one_run_under_two_seeds_is_seen_by_its_answers_where_its_file_was_written_anew(honest):
    made = lied(
        honest,
        "with.4",
        lambda record: record["measurement"].update(
            values=honest.records["safe.bench.run(with.1)"]["measurement"]["values"]
        ),
    )
    verdict = judge(CRITERIA[AUDIO], MEASURES[AUDIO](made))
    assert (verdict.outcome, "item by item" in verdict.reason) == (Outcome.UNDECIDED, True)


UNREADABLE = {
    "drift in bits": (
        lambda record: record["measurement"]["unit"].update(drift_on="bits"),
        "'bits'",
    ),
    "no digest of the adapter": (
        lambda record: record["measurement"]["digests"].pop("artifact"),
        "no digest of artifact",
    ),
    "rows of no digest": (digests(rows=""), "no digest of rows"),
    "no seed": (lambda record: record["measurement"]["counts"].pop("seed"), "no count of seed"),
    "no dev items": (values(dev_right=[]), r"\{'dev_right': 0\} values"),
    "two ends of one loss": (values(divergence=[0.0, 50.0]), r"\{'divergence': 2\} values"),
    "fewer items of the base": (values(plain_base=[1.0] * 2970), "of the same items"),
    "no key": (lambda record: record.pop("key"), "a record with measurement, key and seconds"),
    "no measurement": (lambda record: record.pop("measurement"), "a mapping with 'values'"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_record_that_says_too_little_is_refused_by_name(honest, what):
    lie, says = UNREADABLE[what]
    with pytest.raises(EvidenceError, match=says):
        MEASURES[AUDIO](lied(honest, "with.3", lie))


def test_a_record_of_nothing_is_refused(honest):
    made = lied(honest, "none at all", None)
    made.records["safe.bench.run(with.3)"] = None
    with pytest.raises(EvidenceError, match=r"with\.3\): saw None"):
        MEASURES[AUDIO](made)
