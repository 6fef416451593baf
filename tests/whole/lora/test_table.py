"""The tables of a study for search, serving and planned power: what is refused, and in which words."""

from pathlib import Path

import pytest
from gonogo.fixtures.lora import power as study_power
from gonogo.fixtures.lora import subject as study_subject
from gonogo.fixtures.subject.read import SubjectError, load_subject
from gonogo.harness.statistics.crossed import planned_power

LORA = Path("fixtures/lora/subjects/default.toml").read_text("utf-8")
GOOD = "[lora.search]\nspace = { lora = { lora_alpha = { choices = [8, 16] } }, full = { learning_rate = { low = 1e-5, high = 1e-3, log = true } } }\n"


def refused(tmp_path, more: str) -> str:
    (tmp_path / "s.toml").write_text(LORA + "\n" + more)
    with pytest.raises(SubjectError) as error:
        load_subject(tmp_path / "s.toml")
    return str(error.value)


def test_a_search_that_is_declared_in_full_is_taken(tmp_path):
    (tmp_path / "s.toml").write_text(f"{LORA}\n{GOOD}[lora.search.tasks.reviews]\ntrials = 40\n")
    raw = load_subject(tmp_path / "s.toml").raw
    assert study_subject.search(raw, "reviews")["trials"] == 40
    assert study_subject.search(raw, "another")["trials"] == study_subject.SEARCH["trials"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[lora.search]\ntrails = 3", "[lora.search] trails: unknown; wanted one of trials"),
        (
            GOOD + "trials = 10\nstartup = 10",
            "saw trials 10, startup 10; wanted more trials than random start-up",
        ),
        ("[lora.search]\ntrials = 40", "[lora.search.space] lora: saw None; wanted a table"),
        (
            GOOD.replace("lora_alpha", "alpha"),
            "[lora.search.space.lora] alpha: unknown; wanted a key of [training] or [adapter]; did you mean `lora_alpha`?",
        ),
        (
            GOOD.replace("low = 1e-5", "low = 0"),
            "saw {'low': 0, 'high': 0.001, 'log': True}; wanted { low = 1e-4",
        ),
        (GOOD.replace("low = 1e-5", "low = 1"), "[lora.search.space.full] learning_rate: saw"),
        (
            GOOD.replace("[8, 16]", "[]"),
            "[lora.search.space.lora] lora_alpha: saw {'choices': []}",
        ),
        (
            GOOD + "[lora.search.tasks.rewiews]\ntrials = 40",
            "[lora.search.tasks] rewiews: saw {'trials': 40}; wanted a table for one of reviews; did you mean `reviews`?",
        ),
        (GOOD + "[lora.search.tasks.reviews]\ntrials = 4", "saw trials 4, startup 10"),
        (
            '[lora.serving]\nengine = "tgi"',
            "[lora.serving] engine: saw 'tgi'; wanted one of peft, llama.cpp, vllm, ollama",
        ),
        ("[lora.serving]\nadapters = []", "[lora.serving] adapters: saw []"),
        (
            "[lora.power]\nscore = 80",
            "[lora.power] score: saw 80; wanted a number from 0 and below 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(tmp_path, more, words):
    assert words in refused(tmp_path, more)


def test_planned_power_is_told_per_task_from_what_is_assumed(tmp_path):
    (tmp_path / "s.toml").write_text(LORA + "\n[lora.power]\ndiscordance = 0.1\n")
    raw = load_subject(tmp_path / "s.toml").raw
    wanted = planned_power(n=400, seeds=2, score=0.8, discordance=0.1, seed_sd=0.01, shared=0.5)
    assert study_power.power(raw) == {"reviews": pytest.approx(wanted)}
    told = study_power.lines(raw)
    assert "UNDECIDED by design" in told[1]
    assert "discordance 0.1" in told[1]
