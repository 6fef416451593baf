"""Checklists to show: one GO, one NO-GO, one UNDECIDED, and one whose every text is hostile."""

from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202egnp.exe \x1b[31mred | `code` @all\nnext"


def part(
    metric: str, bound: str, estimate: Any, outcome: str = "GO", **more: Any
) -> dict[str, Any]:
    base = {
        "unit": "logits",
        "rule": "at_most",
        "low": None,
        "high": None,
        "n": 200,
        "margin": None,
        "reason": "",
        "needs": "",
    }
    return {
        **base,
        "metric": metric,
        "bound": bound,
        "estimate": estimate,
        "outcome": outcome,
        **more,
    }


def row(identity: str, outcome: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {
        "id": identity,
        "system": "core",
        "stage": "A",
        "severity": "critical",
        "why": "twelve clean seeds stayed below a tenth of it",
        "claim": f"The claim that {identity.replace('.', ' ')} holds.",
        "outcome": outcome,
        "reason": "",
        "seconds": 1.234,
        "reused": False,
        "parts": list(parts),
        "findings": [],
        "counts": {"rows": 200},
        "not_scored": {},
        "arrays": {},
        "evidence_key": "3f9c" * 16,
    }
    return {**base, **more}


def checklist(outcome: str, *rows: dict[str, Any], reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    judged = sum(each["outcome"] in ("GO", "NO-GO", "UNDECIDED") for each in rows)
    session = {
        "id": "20261121-061500-1a2b",
        "started": "2026-11-21T06:15:00Z",
        "subject": "embedded",
        "stage": "A",
        "command": "pytest -m gate_stageA",
        "commit": "0123abc",
        "dirty": True,
        "seconds": 171.5,
        "environment": {"torch": "2.13.0+cpu", "threads": "1"},
        "warnings": [],
    }
    launch = {"outcome": outcome, "reasons": list(reasons), "judged": judged, "total": len(rows)}
    return {
        "schema": 1,
        "session": session,
        "launch": launch,
        "rows": list(rows),
        "curves": curves(),
        "sabotage": None,
    }


def curves() -> dict[str, Any]:
    steps = list(range(1, 64))
    falling = [0.72 - 0.34 * (1 - 0.95**step) + 0.02 * ((step * 7) % 5 - 2) / 2 for step in steps]
    flat = [0.70 + 0.02 * ((step * 3) % 5 - 2) / 2 for step in steps]
    return {
        "pilot": {"step": steps, "loss": falling, "lr": [1e-3] * 63},
        "shuffled": {"step": steps, "loss": flat, "lr": [1e-3] * 63},
    }


def clean_rows() -> list[dict[str, Any]]:
    return [
        row(
            "core.data.schema",
            "GO",
            part(
                "rows_loaded",
                "at least 0.95",
                0.998,
                unit="share",
                low=0.996,
                high=0.999,
                margin=0.046,
            ),
        ),
        row(
            "core.freeze.bytes_unchanged",
            "GO",
            part("changed", "exactly 0", 0, unit="tensors", rule="exact", margin=0),
        ),
        row(
            "core.parity.adapter_off",
            "GO",
            part("step0", "at most 1e-5", 0.0, margin=1e-5),
            part("end", "at most 1e-5", 2e-6, margin=8e-6),
        ),
        row(
            "core.parity.merge",
            "GO",
            part("max_difference", "at most 1e-4", 3.1e-6, low=2.8e-6, high=4e-6, margin=9.6e-5),
        ),
        row(
            "core.learn.beats_baselines",
            "GO",
            part("gain", "at least 0.05", 0.21, unit="accuracy", low=0.17, high=0.25, margin=0.12),
            arrays={"gain per seed": [0.2, 0.22, 0.19, 0.21], "confusion": [[88, 12], [9, 91]]},
            reused=True,
        ),
    ]


def power() -> dict[str, Any]:
    names = [
        ("S01", "core.freeze.bytes_unchanged"),
        ("S02", "core.freeze.bytes_unchanged"),
        ("S09", "core.parity.merge"),
        ("S12", "core.parity.merge"),
        ("S27", "core.learn.beats_baselines"),
    ]
    rows = [
        {
            "defect": d,
            "criterion": c,
            "outcome": "caught",
            "seconds": 2.0,
            "what": "the backbone is trained too",
        }
        for d, c in names
    ]
    rows[3] |= {"outcome": "MISSED", "what": "merged at 1.01 times the scale"}
    return {
        "stored": "2026-11-19T10:00:00Z",
        "age_days": 2,
        "caught": 4,
        "planted": 5,
        "rows": rows,
    }


def go() -> dict[str, Any]:
    return {**checklist("GO", *clean_rows()), "sabotage": power()}


def no_go() -> dict[str, Any]:
    rows = clean_rows()
    rows[3] = row(
        "core.parity.merge",
        "NO-GO",
        part(
            "max_difference", "at most 1e-4", 0.032, "NO-GO", low=0.029, high=0.034, margin=-0.0319
        ),
        reason="the merged model differs from the one that was trained",
        findings=[
            f"encoder.layer.{n}.attention.query: off by {3.2 - n / 10:.1f}e-2" for n in range(5)
        ],
    )
    rows.append(
        row(
            "core.repro.resume", "NOT RUN", reason="no checkpoint was written; set checkpoint_every"
        )
    )
    rows.append(row("core.budget.latency", "NOT SELECTED"))
    reasons = (
        "core.parity.merge is NO-GO",
        "5 of 7 judged; not run: core.repro.resume; not selected: core.budget.latency",
    )
    return {**checklist("NO-GO", *rows, reasons=reasons), "sabotage": power()}


def undecided() -> dict[str, Any]:
    wide = part(
        "gain",
        "at least 0.05",
        0.06,
        "UNDECIDED",
        low=0.02,
        high=0.1,
        margin=-0.03,
        needs="about 180 more rows",
    )
    return checklist(
        "UNDECIDED",
        *clean_rows()[:4],
        row("core.learn.beats_baselines", "UNDECIDED", wide, reason="the interval holds the bound"),
    )


def hostile() -> dict[str, Any]:
    made = no_go()
    bad = made["rows"][3]
    bad |= {key: HOSTILE for key in ("id", "claim", "why", "reason", "severity", "evidence_key")}
    bad["findings"] = [HOSTILE, "\ud800 lone"]
    bad["counts"] = {HOSTILE: 3}
    bad["arrays"] = {HOSTILE: [1.0, float("nan"), 2.0], "deep": [[HOSTILE, 1.0], [2.0, None]]}
    bad["parts"][0] |= {
        "metric": HOSTILE,
        "unit": HOSTILE,
        "bound": f"at most 1e-4 {HOSTILE}",
        "reason": HOSTILE,
        "needs": HOSTILE,
    }
    made["session"] |= {
        "subject": HOSTILE,
        "command": HOSTILE,
        "warnings": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
    }
    made["launch"]["reasons"] = [HOSTILE]
    made["curves"] = {HOSTILE: {"step": [1, 2, 3], "loss": [1.0, float("inf"), "nan"]}}
    made["sabotage"]["rows"][0] |= {"defect": HOSTILE, "criterion": HOSTILE, "what": HOSTILE}
    return made


class Reader(HTMLParser):
    """Collects tags and refuses a page whose tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
