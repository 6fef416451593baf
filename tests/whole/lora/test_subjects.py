"""The study's ready subjects parse on any machine that has the files, and a subject whose data do not fit is refused in words."""

from pathlib import Path

import pytest
from gonogo.fixtures import assets
from gonogo.fixtures.data import sources
from gonogo.fixtures.lora import subject as study_subject
from gonogo.fixtures.subject.read import SubjectError, _data_folder, load_subject, resolve
from gonogo.fixtures.subject.shipped import shipped
from gonogo.harness.place import ROOT
from gonogo.methods.tasks import table as tasks

FILES = Path(__file__).with_name("tasks")
READY = sorted(shipped("lora/published/x").parent.glob("*.toml"))


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setattr(sources, "mirror", lambda: FILES)


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_subject_parses_where_the_files_are(path, mirror):
    subject = load_subject(path)
    assert subject.name == path.stem
    assert subject.task in tasks.TASKS[subject.data["from"]].heads
    assert subject.systems == ("lora",)
    assert subject.adapter["config"]["r"] == 8


def test_every_task_has_a_subject_on_this_machine_and_one_for_a_gpu():
    names = {path.stem for path in READY}
    for base in ("minilm", "tinyllama", "qwen2.5"):
        assert {f"{base}-{task}" for task in ("sst2", "mrpc", "rte", "squad_v2")} < names
    assert "smollm2-sst2" in names


SUBJECT = """schema = 1
[subject]
name = "mine"
task = "{task}"
[base]
from = "owner/model"
[data]
{data}
[adapter]
method = "head"
[training]
epochs = 1
"""


def refused(folder: Path, task: str, data: str) -> str:
    path = folder / "mine.toml"
    path.write_text(SUBJECT.format(task=task, data=data), "utf-8")
    with pytest.raises(SubjectError) as error:
        load_subject(path)
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        (
            "span",
            'from = "mrpc"',
            "[data] from: mrpc has no span rows; wanted task = classification or causal-lm; correct the task or the data",
        ),
        (
            "classification",
            'from = "squad_v2"',
            "[data] from: squad_v2 has no classification rows; wanted task = span; correct the task or the data",
        ),
        (
            "span",
            'train = "a.jsonl"',
            '[data] from: missing; wanted "squad_v2" and the path of SQuAD-shaped files; add both',
        ),
        (
            "classification",
            'from = "rte"\ntext = "x"',
            '[data] text: given beside from = "rte"; wanted path, sizes and seed only; remove it',
        ),
        (
            "classification",
            'from = "rte"\nsizes = { train = 0 }',
            "[data.sizes] train: saw 0; wanted a whole number from 1; correct the value",
        ),
        (
            "classification",
            'from = "imdb"',
            "[data] from: saw 'imdb'; wanted one of sst2, mrpc, rte, squad_v2, reviews, digits; correct the value",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_in_words(task, data, words, tmp_path):
    assert refused(tmp_path, task, data) == words


def test_absent_files_refuse_the_subject_before_anything_is_loaded(tmp_path):
    assert refused(tmp_path, "classification", 'from = "mrpc"\npath = "nowhere"').startswith(
        "[data] path: no folder `nowhere`; wanted the files of mrpc"
    )


def test_a_path_beside_the_subject_is_resolved_to_a_data_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "cache_folder", lambda: tmp_path / "cache")
    good = ROOT / "tests" / "fixtures" / "subject" / "bad_subjects" / "material" / "good.toml"
    text = (
        good.read_text("utf-8")
        .partition("[data]")[0]
        .replace('from = "', f'from = "{good.parent}/')
    )
    text += f'[data]\nfrom = "mrpc"\npath = "{FILES}"\nsizes = {{ train = 5 }}\n'
    path = tmp_path / "mine.toml"
    path.write_text(text + '[adapter]\nmethod = "head"\n[training]\nepochs = 1\n', "utf-8")
    recipe = resolve(load_subject(path))
    folder = Path(recipe["data"]["path"])
    assert len((folder / "train.jsonl").read_text("utf-8").splitlines()) == 5
    assert recipe["data"]["digest"] == assets.folder_digest(folder)


def test_sizes_that_the_files_cannot_give_refuse_the_subject(tmp_path, mirror):
    path = tmp_path / "mine.toml"
    path.write_text(
        SUBJECT.format(task="classification", data='from = "rte"\nsizes = { train = 600 }'), "utf-8"
    )
    subject = load_subject(path)
    with pytest.raises(
        SubjectError,
        match=r"mine.toml: \[data\] rte: 6 rows in the files of rte give 5 of 600 for train",
    ):
        _data_folder(subject, tmp_path)


@pytest.mark.parametrize(
    ("data", "declared", "kind"),
    [
        ("squad_v2", "classification", "span"),
        ("mrpc", "causal-lm", "causal-lm"),
        ("mrpc", "classification", "classification"),
        (None, "causal-lm", "causal-lm"),
    ],
)
def test_a_task_of_one_kind_brings_its_kind_into_a_study(data, declared, kind):
    raw = {
        "subject": {"name": "s", "task": declared},
        "data": {"from": data} if data else {"train": "t"},
        "lora": {},
    }
    assert study_subject.overlaid(raw, "t", "lora")["subject"]["task"] == kind
