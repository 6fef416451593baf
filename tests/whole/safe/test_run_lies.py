"""Lies in the folders of finished SAFE runs: a control that is none, a config that cannot be read."""

import json
import shutil

import pytest
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.measures import (
    answers as safe_answers,
)
from gonogo.methods.safe.measures import (
    audit as safe_audit,
)
from gonogo.methods.safe.measures import (
    learning as safe_learning,
)

from tests.methods.safe.test_measures import (
    clean,
    copy,
    counts,
    data,
    edit,
    pairs,
    read_once,
)
from tests.methods.safe.test_training import write


@pytest.fixture
def control(pairs, tmp_path):
    """The control in a folder of its own, with data of its own."""
    run = RunFolder(shutil.copytree(pairs[1].path, tmp_path / "control"))
    own = shutil.copytree(run.data, tmp_path / "data", symlinks=True)
    edit(run, "recipe.json", lambda recipe: recipe["data"].update(path=str(own)))
    return run


def retrained(part, **fields):
    return lambda run: edit(run, "recipe.json", lambda recipe: recipe[part].update(fields))


def relabelled(change):
    def lie(run):
        held = rows.read(run.data, "train")
        write(run.data / "train.jsonl", change(held) or held)

    return lie


def shorter(run):
    lines = (run.path / "trace.jsonl").read_text().splitlines(keepends=True)
    (run.path / "trace.jsonl").write_text("".join(lines[:7]))


LIES = {
    "a tenth of the rate": (retrained("training", fusion_rate=1e-9), "another training"),
    "fewer tokens": (retrained("method", config={}), "another method"),
    "no distillation": (retrained("retention", weight=0.0), "another retention"),
    "a few steps": (shorter, "the control took 7 steps, the overfit 10"),
    "other rows": (relabelled(lambda held: held[::-1]), "other rows"),
    "one answer to all": (
        relabelled(lambda held: [{**row, "answer": "yes"} for row in held]),
        "are not the overfit's, dealt anew",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_control_differs_in_whose_answer_is_whose_alone(pairs, control, what):
    lie, says = LIES[what]
    assert safe_learning.otherwise(pairs[0], control) == []
    lie(control)
    assert says in " ".join(safe_learning.otherwise(pairs[0], control))


def test_a_control_that_is_none_is_vetoed(pairs, control):
    shorter(control)
    assert safe_learning.overfit(*pairs)["vetoes"] == []
    assert len(safe_learning.overfit(pairs[0], control)["vetoes"]) == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"tokens": "8"}', '{"layers": 3}', '{"heads": 0}']
)
def test_a_saved_config_that_cannot_be_read_is_said_and_no_crash(copy, content):
    (copy.artifact / "safe_config.json").write_text(
        content
        if content[:2] != '{"'
        else json.dumps(
            {**json.loads((copy.artifact / "safe_config.json").read_text()), **json.loads(content)}
        )
    )
    assert counts(safe_audit.freeze(copy))["artifact_differs"] >= 1
    with pytest.raises(NotObservable, match=r"cannot be loaded|not of the recipe's shape"):
        safe_answers.table(copy)
