"""The Allure report as a browser shows it, of real sessions: what is no GO reads as no success anywhere."""

import functools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.whole import small_session
from tests.whole.reports.test_browser import BROWSER, FLAGS

VERSION = "3.18.0"
SESSIONS = {
    "GO": {"a.first": "GO", "a.second": "GO"},
    "NO-GO": {
        "a.good": "GO",
        "a.bad": "NO-GO",
        "a.open": "UNDECIDED",
        "a.blind": "NOT RUN",
        "a.left_out": "skipped",
        "b.later": "GO",
    },
}
UNPAINTED = re.compile(r"(?s)<(style|script|head)\b.*?</\1>|<[^>]*>")


def allure_command() -> list[str]:
    """Allure of the pinned version as npm has it in its cache; nothing is fetched by a test."""
    npx = shutil.which("npx")
    command = [str(npx), "--yes", "--offline", f"allure@{VERSION}"]
    known = npx and subprocess.run(
        [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    return command if known and known.stdout.strip() == VERSION else []


pytestmark = pytest.mark.services


@dataclass
class Report:
    word: str
    folder: Path
    url: str
    profile: Path
    seen: dict[str, str] = field(default_factory=dict)

    def results(self) -> list[dict[str, Any]]:
        return [
            json.loads(path.read_text("utf-8"))
            for path in (self.folder / "reports/allure-results").glob("*-result.json")
        ]

    def shown(self, place: str = "") -> str:
        """The words on the page that a browser painted at `#place`; each place is opened once."""
        if place not in self.seen:
            self.seen[place] = self._open(place)
        return self.seen[place]

    def _open(self, place: str) -> str:
        command = [
            str(BROWSER),
            *FLAGS,
            f"--user-data-dir={self.profile}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            f"{self.url}#{place}",
        ]
        page = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True
        ).stdout
        return " ".join(UNPAINTED.sub("\n", page).split())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module", params=SESSIONS)
def report(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Report]:
    allure = allure_command()
    if BROWSER is None or not allure:
        pytest.fail(
            f"needs chromium, and Allure in npm's cache: npx --yes allure@{VERSION} --version fetches it once"
        )
    folder = small_session.build(tmp_path_factory.mktemp("session"), SESSIONS[request.param])
    session = small_session.run(folder)
    assert session.returncode == (0 if request.param == "GO" else 1), (
        session.stdout + session.stderr
    )
    shutil.copy(small_session.ROOT / "allurerc.mjs", folder)
    made = subprocess.run(
        [*allure, "generate", "reports/allure-results"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    handler = functools.partial(Quiet, directory=str(folder / "reports/allure-report"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Report(
            request.param, folder, f"http://127.0.0.1:{server.server_port}/", folder / "profile"
        )
        server.shutdown()


def test_the_first_page_shows_the_launch_word_and_every_verdict_under_system_stage_and_claim(
    report: Report,
) -> None:
    page = report.shown()
    assert f"LAUNCH: {report.word} · embedded, stage A" in page
    assert _branches(report) == {
        ("core", f"Stage {place[0].upper()}", f"The claim of {place[2:]} holds.")
        for place in SESSIONS[report.word]
    }
    wanted = {
        "UNDECIDED · core.small.open",
        "NOT RUN · core.small.blind",
        "NOT RUN · core.small.left_out",
        "NO-GO · core.small.bad",
    }
    for title in wanted:
        assert (title in page) == (report.word == "NO-GO"), title
    assert ("Stage B" in page) == (report.word == "NO-GO")


def _branches(report: Report) -> set[tuple[str, ...]]:
    """The tree of the report, from its roots to the last group: system, stage, claim."""
    tree = json.loads(
        (report.folder / "reports/allure-report/widgets/default/tree.json").read_text("utf-8")
    )
    groups = tree["groupsById"]

    def down(ids: list[str], above: tuple[str, ...]) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for group in (groups[each] for each in ids):
            place = (*above, group["name"])
            found |= down(group["groups"], place) if group.get("groups") else {place}
        return found

    return down(tree["root"]["groups"], ())


def test_only_go_has_the_status_passed(report: Report) -> None:
    outcomes = {
        label["value"]: result["status"]
        for result in report.results()
        for label in result["labels"]
        if label["name"] == "verdict"
    }
    assert outcomes.pop("GO") == "passed"
    assert set(outcomes.values()) <= {"failed"}
    assert len(report.results()) == len(SESSIONS[report.word])
    statistic = json.loads(
        (report.folder / "reports/allure-report/widgets/statistic.json").read_text("utf-8")
    )
    passed = sum(outcome == "GO" for outcome in SESSIONS[report.word].values())
    assert statistic.get("passed", 0) == passed
    assert statistic["total"] == len(SESSIONS[report.word])
    assert not statistic.get("skipped")


def test_each_verdict_that_is_no_pass_has_a_category_of_its_own(report: Report) -> None:
    page = report.shown("categories")
    for name in ("UNDECIDED: more evidence needed 1", "NOT RUN 2", "NO-GO 1"):
        assert (name in page) == (report.word == "NO-GO"), name


def test_a_gate_shows_its_numbers_as_excluded_parameters_and_its_pictures_as_attachments(
    report: Report,
) -> None:
    for result in report.results():
        parameters = {parameter["name"]: parameter for parameter in result["parameters"]}
        assert all(parameter["excluded"] for parameter in parameters.values())
        verdict = parameters["verdict"]["value"]
        if verdict != "NOT RUN":
            assert parameters["bound"]["value"] == "≤ 0.5"
            assert "logits" in parameters["seen: error"]["value"]
            assert {"application/json", "image/svg+xml"} <= {
                attached["type"] for attached in result["attachments"]
            }
        if result["name"].endswith(("second", "good", "left_out", "later")):
            continue  # one page per verdict is enough
        page = report.shown(_identity(report, result["name"]))
        assert f"{verdict} · core.small" in page
        assert "Passed" in page if verdict == "GO" else "Failed" in page
        assert ("divide the loss" in page) == (verdict == "NO-GO")


def _identity(report: Report, title: str) -> str:
    """Allure's own name for the page of one result."""
    files = (report.folder / "reports/allure-report/data/test-results").glob("*.json")
    return next(path.stem for path in files if json.loads(path.read_text("utf-8"))["name"] == title)


def test_the_checklist_and_the_environment_are_in_the_report(report: Report) -> None:
    page = report.shown()
    assert "Global Attachments 2" in page
    assert "subject embedded" in page
    assert f"LAUNCH {report.word}" in page
