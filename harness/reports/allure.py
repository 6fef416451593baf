"""What Allure is told: labels at collection, measured values and pictures in the test, files beside the results.

Allure renders verdicts and decides none. Without `--alluredir` nothing here writes or attaches anything.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import allure
import allure_commons
import pytest
from allure_commons.logger import AllureFileLogger
from allure_commons.types import Severity
from gonogo.harness.files import write_atomically
from gonogo.harness.reports import markdown
from gonogo.harness.reports.checklist import plain
from gonogo.harness.reports.words import Row, deciding, duration, margin, neutral, seen

SEVERITIES: Final = {severity.value: severity for severity in Severity}
untyped: Any = allure  # its label functions carry no types
# A failure's message begins with its verdict, after the exception's name; Java and JavaScript both read these.
BEGINS: Final = r"^(?:[\w.]+: )?{}\b[\s\S]*$"


class Labelled(Protocol):
    """What is read of a criterion."""

    @property
    def id(self) -> str: ...
    @property
    def claim(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def system(self) -> str: ...


class Bare:
    """Text that Allure shows without quotation marks."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def active() -> bool:
    """Whether this process writes Allure results (`--alluredir` was given)."""
    return any(
        isinstance(plugin, AllureFileLogger)
        for plugin in allure_commons.plugin_manager.get_plugins()
    )


def asked(config: pytest.Config) -> bool:
    """Whether any of Allure's options, or its test plan, was given: nothing else reads its labels."""
    given = (value for name, value in vars(config.option).items() if name.startswith("allure_"))
    return any(given) or "ALLURE_TESTPLAN_PATH" in os.environ


def labels(criterion: Labelled) -> list[pytest.MarkDecorator]:
    """The marks of a gate; Allure's own selection (`--allure-severities`) sees them too."""
    marks = [
        untyped.epic(criterion.system),
        untyped.feature(f"Stage {criterion.stage}"),
        untyped.story(neutral(criterion.claim)),
        untyped.severity(SEVERITIES.get(criterion.severity, Severity.NORMAL)),
        untyped.label("gate_id", criterion.id),
        untyped.id(criterion.id),
        untyped.title(neutral(criterion.id)),
    ]
    return [mark for mark in marks if isinstance(mark, pytest.MarkDecorator)]


def attach(row: Row) -> None:
    """Called inside the test, before it fails: the verdict as a label, the numbers as parameters, row and pictures attached."""
    if not active():
        return
    untyped.dynamic.label("verdict", row["outcome"])
    untyped.dynamic.title(f"{row['outcome']} · {neutral(row['id'])}")
    untyped.dynamic.description(markdown.about(row))
    for name, value in _parameters(row).items():
        allure.dynamic.parameter(name, Bare(value), excluded=True)
    text = json.dumps(plain(row), allow_nan=False, sort_keys=True, indent=1)
    allure.attach(text, name="verdict", attachment_type=allure.attachment_type.JSON)
    for name, svg in _pictures(row).items():
        allure.attach(svg, name=name, attachment_type=allure.attachment_type.SVG)


def _parameters(row: Row) -> dict[str, str]:
    part = deciding(row) or {}
    found = {
        "verdict": row["outcome"],
        "bound": part.get("bound"),
        "margin": margin(part),
        "time": duration(row),
    }
    for each in row.get("parts") or []:
        found[f"seen: {each['metric']}"] = seen(each)
    return {neutral(name): neutral(value) for name, value in found.items() if value}


def _pictures(row: Row) -> dict[str, str]:
    from gonogo.harness.reports import pictures  # only where Allure is asked
    from gonogo.harness.reports.page.svg import drawn

    shown = {
        f"{neutral(part['metric'])} against its bound": drawn(pictures.strip, part)
        for part in row.get("parts") or []
    }
    arrays = (row.get("arrays") or {}).items()
    shown |= {neutral(name): drawn(pictures.array, name, values) for name, values in arrays}
    return {name: svg for name, svg in shown.items() if svg}


def write_session(folder: str | Path | None, session: Mapping[str, Any]) -> None:
    """The three files beside the results; on the controller only, once it is known what was judged."""
    write_environment(folder, session)
    write_categories(folder)
    write_executor(folder, session)


def write_environment(folder: str | Path | None, session: Mapping[str, Any]) -> None:
    """`environment.properties`: what was judged, by which versions."""
    facts = {
        "subject": session.get("subject"),
        "stage": session.get("stage"),
        "commit": f"{session.get('commit')}{' (dirty)' if session.get('dirty') else ''}",
        "command": session.get("command"),
        **(session.get("environment") or {}),
    }
    lines = [
        f"{_key(name)} = {_value(value)}"
        for name, value in sorted(facts.items())
        if value is not None
    ]
    _write(folder, "environment.properties", "\n".join(lines) + "\n")


def _key(name: object) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in neutral(name)) or "_"


def _value(value: object) -> str:
    return neutral(value).replace("\\", "\\\\")


def write_categories(folder: str | Path | None) -> None:
    """`categories.json`: the verdicts that are no pass, each by its own name; whatever else broke comes last."""
    failed = ["failed", "broken"]
    verdicts = [
        {"name": "NO-GO", "matchedStatuses": failed, "messageRegex": BEGINS.format("NO-GO")},
        {
            "name": "UNDECIDED: more evidence needed",
            "matchedStatuses": failed,
            "messageRegex": BEGINS.format("UNDECIDED"),
        },
        {"name": "NOT RUN", "matchedStatuses": failed, "messageRegex": BEGINS.format("NOT RUN")},
        {"name": "NOT RUN: skipped, which is no pass", "matchedStatuses": ["skipped"]},
        {
            "name": "Broken: the gate itself failed",
            "matchedStatuses": ["broken"],
            "messageRegex": _none_of_ours(),
        },
    ]
    _write(folder, "categories.json", json.dumps(verdicts, indent=1) + "\n")


def _none_of_ours() -> str:
    return r"^(?!(?:[\w.]+: )?(?:NO-GO|UNDECIDED|NOT RUN)\b)[\s\S]*$"


def write_executor(folder: str | Path | None, session: Mapping[str, Any]) -> None:
    """`executor.json`: who ran the session, a person's machine or a CI job."""
    server, repository, job = (
        os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")
    )
    executor = {
        "name": "gonogo",
        "type": "local",
        "buildName": neutral(session.get("id", "")),
        "reportName": "Launch checklist",
    }
    if job:
        executor |= {
            "name": "GitHub Actions",
            "type": "github",
            "buildUrl": f"{server}/{repository}/actions/runs/{job}",
        }
    _write(folder, "executor.json", json.dumps(executor, indent=1, sort_keys=True) + "\n")


def _write(folder: str | Path | None, name: str, text: str) -> None:
    if folder:
        write_atomically(Path(folder) / name, text)
