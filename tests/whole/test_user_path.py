"""The user's path, without training: the examples are sound subjects, the script is in the keys, the diagnosis has words."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from gonogo.fixtures.runs.make import Runs
from gonogo.fixtures.subject.read import SubjectError, load_subject
from gonogo.methods.run import NotObservable, RunFolder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "hf_trainer"
SUBJECTS = ("my_run", "my_run_fixed")


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def keys(folder: Path, name: str = "my_run") -> dict[str, str]:
    """Keys of a fresh session on this subject; base and data stand for themselves, nothing is fetched."""
    subject = load_subject(folder / f"{name}.toml")
    recipe = {
        "schema": 1,
        "kind": "pilot",
        "task": subject.task,
        "base": {"digest": "b"},
        "data": {"digest": "d"},
        "method": subject.adapter,
        "training": subject.training,
        "train": subject.train,
        "factory": subject.factory,
        "checkpoints": subject.checkpoints,
    }
    runs = Runs(recipe, SimpleNamespace(), SimpleNamespace(), folder / "home", subject=subject)
    assert runs.dynamic_imports() == []
    return {kind: runs.key(kind) for kind in ("pilot", "gradients", "straight", "resumed", "full")}


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_examples_are_sound_subjects(name):
    subject = load_subject(EXAMPLES / f"{name}.toml")
    assert subject.train == {"my_run": "my_run:train", "my_run_fixed": "my_run:train_fixed"}[name]
    assert subject.training["accumulation"] == 4
    assert subject.training["precision"] == "fp32"


def test_the_two_examples_differ_by_nothing_but_the_function_called():
    plain, fixed = (load_subject(EXAMPLES / f"{name}.toml").raw for name in SUBJECTS)
    for raw in (plain, fixed):
        raw["subject"].pop("train"), raw["subject"].pop("name")
    assert plain == fixed


def test_the_script_imports_nothing_from_gonogo():
    text = (EXAMPLES / "my_run.py").read_text("utf-8")
    assert not [
        room
        for room in ("methods", "fixtures", "harness")
        if f"from {room}" in text or f"import {room}" in text
    ]


def test_editing_the_script_changes_the_keys_of_every_run_that_calls_it(copied):
    before = keys(copied)
    assert keys(copied) == before
    script = copied / "my_run.py"
    script.write_text(
        script.read_text("utf-8").replace("learning_rate=3e-3", "learning_rate=2e-3"), "utf-8"
    )
    after = keys(copied)
    assert {kind for kind in before if before[kind] == after[kind]} == {"full"}  # gonogo's loop


def test_editing_a_module_that_the_script_imports_changes_the_keys(copied):
    script, helper = copied / "my_run.py", copied / "my_helper.py"
    script.write_text("import my_helper\n" + script.read_text("utf-8"), "utf-8")
    helper.write_text("SCALE = 1\n", "utf-8")
    before = keys(copied)
    helper.write_text("SCALE = 2\n", "utf-8")
    assert keys(copied)["pilot"] != before["pilot"]


def test_a_helper_is_in_the_keys_of_a_script_in_a_package(copied):
    package, helper = copied / "pkg", copied / "my_helper.py"
    package.mkdir()
    (package / "__init__.py").write_text("", "utf-8")
    (package / "loop.py").write_text(
        "import my_helper\n\ndef train(run):\n    my_helper.go(run)\n", "utf-8"
    )
    helper.write_text("SCALE = 1\n", "utf-8")
    toml = copied / "my_run.toml"
    toml.write_text(toml.read_text("utf-8").replace("my_run:train", "pkg.loop:train"), "utf-8")
    before = keys(copied)
    helper.write_text("SCALE = 2\n", "utf-8")
    assert keys(copied)["pilot"] != before["pilot"]


def test_the_plain_and_the_fixed_function_have_keys_of_their_own(copied):
    assert keys(copied, "my_run")["gradients"] != keys(copied, "my_run_fixed")["gradients"]


def test_moving_the_folder_changes_no_key(copied, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(copied, moved)
    assert keys(copied) == keys(moved)


def test_a_loop_that_names_no_checkpoints_is_told_which_key_to_add(copied):
    toml = copied / "my_run.toml"
    toml.write_text(toml.read_text("utf-8").replace("checkpoints =", "# checkpoints ="), "utf-8")
    with pytest.raises(
        NotObservable, match=r'add `checkpoints = "checkpoint-\*"` .* under \[subject\]'
    ):
        keys(copied)


def test_a_function_that_is_not_in_the_script_is_refused(copied):
    toml = copied / "my_run.toml"
    toml.write_text(toml.read_text("utf-8").replace("my_run:train", "my_run:trian"), "utf-8")
    with pytest.raises(SubjectError, match=r"defines no function `trian`.*did you mean `train`"):
        load_subject(toml)


@pytest.mark.parametrize(
    ("ratio", "cosine", "micro", "told"),
    [
        (4.0, 1.0, 4, True),
        (3.99, 1.0, 4, True),
        (1.0, 1.0, 4, False),
        (1.0, 1.0, 1, False),
        (2.0, 1.0, 4, False),
        (4.0, 0.5, 4, False),
        (float("nan"), 1.0, 4, False),
    ],
)
def test_a_gradient_multiplied_by_the_accumulation_is_told_with_its_remedy(
    tmp_path, ratio, cosine, micro, told
):
    from gonogo.methods.measures.learning import gradient_accumulation

    seen = {
        "norm_ratio": str(ratio),
        "cosine": str(cosine),
        "worst": "w",
        "max_rel_error": "3.0",
        "micro_batches": micro,
    }
    seen["slopes"] = ["1.0", "1.0"]
    (tmp_path / "recipe.json").write_text(json.dumps({"training": {"precision": "fp32"}}), "utf-8")
    (tmp_path / "gradients.json").write_text(json.dumps(seen), "utf-8")
    findings = gradient_accumulation(RunFolder(tmp_path))["findings"]
    assert any("trainer.model_accepts_loss_kwargs = False" in line for line in findings) == told
    assert findings[-1].startswith("w: relative error 3")
