"""Names and messages come from anywhere: no report lets them mark up, steer, reverse or flood."""

import json
import re
from pathlib import Path

import pytest
from gonogo.harness.reports import (
    allure,
    lines,
    power_table,
    words,
    write_all,
)
from gonogo.harness.reports import (
    checklist_page as html,
)

from tests.harness.reports.examples import HOSTILE, Reader, go, hostile
from tests.whole import small_session


def test_hostile_texts_stay_texts_on_the_page() -> None:
    source = html.render(hostile())
    page = Reader(source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)


def test_hostile_texts_steer_neither_terminal_nor_markdown(tmp_path: Path) -> None:
    told = "\n".join(lines(hostile()) + power_table(hostile()["sabotage"]["rows"]))
    assert not {"\u202e", "\x1b"} & set(told)
    text = write_all(hostile(), tmp_path)["md"].read_text()
    assert not {"\u202e", "\x1b"} & set(text)
    assert "<" not in re.sub(r"`[^`\n]*`", "", text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table} == {7}


def test_the_json_is_strict_and_keeps_what_is_no_number_by_name(tmp_path: Path) -> None:
    made = hostile()
    made["rows"][0]["parts"][0]["low"] = float("-inf")
    text = write_all(made, tmp_path)["json"].read_text()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["rows"][0]["parts"][0]["low"] == "-inf"


def test_a_long_text_is_cut_in_its_middle() -> None:
    cut = words.neutral("begin " + "x" * 100_000 + " end")
    assert len(cut) <= words.LONGEST
    assert cut.startswith("begin")
    assert cut.endswith("end")


@pytest.mark.parametrize("name", ["row", "session"])
def test_a_flood_of_text_floods_no_report(name: str, tmp_path: Path) -> None:
    made = hostile()
    flood = "x" * 300_000
    if name == "row":
        made["rows"][3] |= {"reason": flood, "why": flood, "findings": [flood] * 500}
    else:
        made["session"] |= {"subject": flood, "command": flood, "warnings": [flood]}
    paths = write_all(made, tmp_path)
    assert max(paths[kind].stat().st_size for kind in ("html", "md")) < 300_000
    assert sum(map(len, lines(made))) < 60_000


def test_half_a_character_is_made_visible_in_every_depth() -> None:
    made = words.writable({"a\ud800": ["\udcff", {"b": ("\ud800", 1.5, None)}]})
    json.dumps(made, ensure_ascii=False).encode("utf-8")
    assert made == {"a\\ud800": ["\\udcff", {"b": ["\\ud800", 1.5, None]}]}


def test_allure_s_files_hold_one_line_per_fact(tmp_path: Path) -> None:
    session = {
        **hostile()["session"],
        "commit": "x\nLAUNCH = GO",
        "environment": {"a = b\nc": "d\nLAUNCH = GO"},
    }
    allure.write_session(tmp_path, session)
    told = (tmp_path / "environment.properties").read_text("utf-8").splitlines()
    assert not [line for line in told if line.startswith("LAUNCH")]
    assert {line.split(" = ")[0] for line in told} == {
        "a___b_c",
        "command",
        "commit",
        "stage",
        "subject",
    }
    allure.write_session(None, go()["session"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_session_of_hostile_texts_ends_with_its_verdicts(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    bad = repr(HOSTILE + "\ud800 " + "x" * 50_000)
    bodies = {
        "NO-GO": f"judge(seen(3.0, findings=[{bad}]))",
        "NOT RUN": f"raise NotObservable({bad})",
        "broken": f"raise ValueError({bad})",
    }
    places = {"a.bad": "NO-GO", "a.blind": "NOT RUN", "a.broken": "broken"}
    folder = small_session.build(tmp_path, places, bodies, claim="<script>alert(1)</script> {name}")
    done = small_session.run(folder, "--tb=short", *workers)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "LAUNCH: NO-GO" in done.stdout
    assert not {"\u202e", "\x1b"} & set(done.stdout + done.stderr)
    verdicts = {
        row["id"]: row["outcome"]
        for row in json.loads((folder / "reports/launch-checklist.json").read_text("utf-8"))["rows"]
    }
    assert verdicts == {
        "core.small.bad": "NO-GO",
        "core.small.blind": "NOT RUN",
        "core.small.broken": "NOT RUN",
    }
    assert len(list(folder.glob("reports/allure-results/*-result.json"))) == 3
    for result in folder.glob("reports/allure-results/*-result.json"):
        message = json.loads(result.read_text("utf-8"))["statusDetails"]["message"]
        assert not {"\u202e", "\x1b"} & set(message)
