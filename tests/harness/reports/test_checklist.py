"""The reports tell one story: whatever the form, the launch word, the verdicts and the reasons are the same."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gonogo.harness.reports import (
    ChecklistError,
    lines,
    markdown,
    validate,
    write_all,
)
from gonogo.harness.reports import (
    checklist_page as html,
)

from tests.harness.reports.examples import Reader, go, no_go, undecided


@pytest.mark.parametrize("make", [go, no_go, undecided])
def test_every_form_tells_the_same_launch_word(make: Any, tmp_path: Path) -> None:
    made = make()
    word = made["launch"]["outcome"]
    paths = write_all(made, tmp_path)
    assert json.loads(paths["json"].read_text())["launch"]["outcome"] == word
    assert paths["md"].read_text().splitlines()[0].endswith(f"LAUNCH: {word}")
    page = Reader(paths["html"].read_text())
    assert page.words.count(word) >= 2
    assert (
        next(line for line in lines(made) if line.startswith("LAUNCH: ")).split("   ")[0]
        == f"LAUNCH: {word}"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"launch-checklist.{kind}" for kind in ("html", "json", "md")
    ]


def test_undecided_says_what_would_decide() -> None:
    assert "to decide: about 180 more rows" in "\n".join(lines(undecided()))
    assert "about 180 more rows" in html.render(undecided())
    assert "about 180 more rows" in markdown.render(undecided())


def test_writing_leaves_its_input_alone_and_an_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = go()
    kept = copy.deepcopy(made)
    paths = write_all(made, tmp_path)
    assert made == kept
    before = paths["html"].read_text()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_all(no_go(), tmp_path)
    assert paths["html"].read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def _broken(change: Any) -> dict[str, Any]:
    made = no_go()
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema=2), "schema: seen 2, wanted 1"),
        (lambda c: c.pop("session"), "session: seen None, wanted dict"),
        (lambda c: c["session"].pop("subject"), "session.subject"),
        (
            lambda c: c["launch"].update(outcome="PASS"),
            "launch.outcome: seen 'PASS', wanted one of GO",
        ),
        (lambda c: c["launch"].update(outcome="GO"), "GO, but core.parity.merge is NO-GO"),
        (
            lambda c: c["launch"].update(outcome="UNDECIDED"),
            "UNDECIDED, but core.parity.merge is NO-GO",
        ),
        (
            lambda c: c["rows"][0].update(outcome="SKIPPED"),
            r"rows\[0\] \(core.data.schema\).outcome",
        ),
        (lambda c: c["rows"][0].update(parts=[]), "GO without a part"),
        (lambda c: c["rows"][0]["parts"][0].update(estimate="many"), "wanted a number"),
        (
            lambda c: c["rows"][0]["parts"][0].update(estimate="nan"),
            "GO on an estimate that is not a number",
        ),
        (lambda c: c["sabotage"]["rows"][0].update(outcome="ok"), "sabotage.rows"),
        (lambda c: c["rows"].append("x"), r"rows\[7\]: seen str, wanted a table"),
    ],
)
def test_a_checklist_that_must_not_be_shown_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ChecklistError, match=message):
        validate(_broken(change))


def test_a_red_gate_of_another_stage_does_not_contradict_go() -> None:
    made = go()
    made["rows"].append({**no_go()["rows"][3], "stage": "C"})
    validate(made)


def test_go_with_a_criterion_unjudged_is_refused() -> None:
    made = go()
    made["launch"]["total"] += 1
    with pytest.raises(ChecklistError, match="only 5 of 6"):
        validate(made)


def test_reports_import_without_torch() -> None:
    code = "import sys, gonogo.harness.reports, gonogo.harness.reports.allure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_shows_what_blocks_before_all_criteria_with_its_remedy() -> None:
    made = no_go()
    made["rows"][3]["findings"] = ["divide the loss: set `model_accepts_loss_kwargs = False`"]
    page = html.render(made)
    top = page.index("What stands in the way")
    assert (
        top
        < page.index("<code>model_accepts_loss_kwargs = False</code>")
        < page.index("All criteria")
    )
    assert page[top:].index("core.parity.merge") < page[top:].index("core.repro.resume")
    assert "What stands in the way" not in html.render(go())


def test_the_page_says_which_gates_nobody_has_seen_fail() -> None:
    assert "Not tried: 2 of 5." in html.render(go())
    assert "Not shown: no power table is stored." in html.render(undecided())
    assert "not tried, 2 of 5" in markdown.render(go())


def test_the_pilot_s_loss_and_the_tiny_split_s_are_two_pictures() -> None:
    made = go()
    made["curves"]["overfit"] = made["curves"]["pilot"]
    page = html.render(made)
    first, second = (
        page.index("Training loss by step: pilot"),
        page.index("Training loss by step: shuffled, overfit"),
    )
    assert first < second < page.index("Parity: differences")
