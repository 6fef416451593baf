"""The LoRA study as one page, from the rows of one checklist: no scripts, no network, every figure linked to its record."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gonogo.gates.lora.page import facts as study_facts
from gonogo.gates.lora.page import tasks as study_tasks
from gonogo.gates.lora.page.facts import (
    ALL,
    ARMS,
    H1,
    H2,
    H3,
    HYPOTHESES,
    SQUAD,
    TASKS,
    TEMPORAL,
    Facts,
    cells,
    mean,
    shortness,
    standardised,
    task_of,
    title,
)
from gonogo.harness.reports.page import Page
from gonogo.harness.reports.page.printing import printed
from gonogo.harness.reports.page.sections import KEY, MOST_SHOWN, SHOW, style
from gonogo.harness.reports.page.tags import (
    document,
    facts,
    figure,
    kind,
    linked,
    missing,
    table,
    text,
    verdict,
)
from gonogo.harness.reports.words import (
    SYMBOLS,
    Part,
    Row,
    deciding,
    duration,
    finite,
    neutral,
    number,
    real,
    seen,
)

MEANINGS: Final = {
    "GO": "The composite claim holds on the evidence below.",
    "NO-GO": "The composite claim is refuted by the evidence below.",
    "UNDECIDED": "The evidence below carries neither the composite claim nor its refutation.",
    "NOT RUN": "The composite claim was not judged.",
}
TIMES: Final = {"p50": "p50 [ms]", "p95": "p95 [ms]", "first_token": "first token [ms]"}
AMOUNTS: Final = {
    "throughput": ("throughput [tokens/s]", 1.0),
    "peak_bytes": ("peak memory [MB]", 1e-6),
    "rss": ("resident memory [MB]", 1e-6),
}
CELLS_OF: Final = ("engine", "device")


def render(checklist: Mapping[str, Any]) -> str:
    found, session = study_facts.of(checklist), checklist["session"]
    tasks = "".join(study_tasks.section(found, task) for task in found.tasks())
    body = (
        f"{_header(found, session)}<main>{_hypotheses(found)}{tasks}{_deployment(found)}{_effects(found)}{_other(found)}"
        f"{_absent(found)}{_registration(checklist)}{_records(found, session)}</main>"
    )
    return document(f"LoRA against full fine-tuning · {session['subject']}", style(), body)


def section(name: str, heading: str, body: str) -> str:
    return f'<section class="study" id="{name}"><h2>{heading}</h2>{body}</section>'


def _header(found: Facts, session: Mapping[str, Any]) -> str:
    outcome = str((found.row(ALL) or {}).get("outcome") or "NOT RUN")
    counts = "".join(
        f"<li>{text(name)} {_outcome(found, identity)}</li>"
        for identity, name in HYPOTHESES.items()
    )
    return (
        f'<header class="launch {kind(outcome)}"><p class="what">LoRA against full fine-tuning: performance, drift, deployment</p>'
        f'<h1 id="launch"><span aria-hidden="true">{SYMBOLS.get(outcome, "○")}</span> {text(outcome)}</h1>'
        f'<p class="meaning">{MEANINGS.get(outcome, MEANINGS["NOT RUN"])}</p><ul class="counts">{counts}</ul>'
        f'<p class="subject"><b>{text(session["subject"])}</b> · stage {text(session["stage"])} · {text(session["started"])}</p>'
        f"{_warnings(session)}</header>"
    )


def _warnings(session: Mapping[str, Any]) -> str:
    return _list(list(session.get("warnings") or []), "warnings")


def _list(told: list[Any], style: str) -> str:
    more = [f"and {len(told) - MOST_SHOWN} more"] if len(told) > MOST_SHOWN else []
    return (
        f'<ul class="{style}">{"".join(f"<li>{text(one)}</li>" for one in [*told[:MOST_SHOWN], *more])}</ul>'
        if told
        else ""
    )


def _outcome(found: Facts, identity: str) -> str:
    row = found.row(identity)
    return verdict(str(row["outcome"])) if row else missing("not in this session")


# ── hypotheses ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _hypotheses(found: Facts) -> str:
    heads = ("Hypothesis", "Claim", "Estimate", "Bound", "p", "Verdict", "What would decide it")
    overview = table(
        heads, (_hypothesis(found, identity, name) for identity, name in HYPOTHESES.items())
    )
    parts = "".join(_detail(found, identity, name) for identity, name in HYPOTHESES.items())
    return section("hypotheses", "Hypotheses", overview + parts)


def _hypothesis(found: Facts, identity: str, name: str) -> list[str]:
    row = found.row(identity)
    if row is None:
        return [
            f"<b>{text(name)}</b>",
            text(identity),
            *[missing()] * 3,
            missing("not in this session"),
            missing(),
        ]
    part = deciding({**row, "parts": found.claimed(identity)}) or {}
    p = row.get("p") if row.get("p") is not None else part.get("p")
    needs = list(
        dict.fromkeys(str(each["needs"]) for each in row.get("parts") or [] if each.get("needs"))
    )
    estimate = "" if identity == ALL else _estimate(found, identity, part)
    said = (
        "; ".join(needs)
        if needs
        else "nothing more"
        if row["outcome"] in ("GO", "NO-GO")
        else str(row.get("reason") or part.get("reason") or "not said")
    )
    return [
        f"<b>{text(name)}</b>",
        text(row.get("claim") or identity),
        estimate or "see its parts",
        text(part.get("bound") or "–"),
        linked(found, identity, p),
        verdict(str(row["outcome"])),
        text(said),
    ]


def _estimate(found: Facts, identity: str, part: Part) -> str:
    if real(part.get("estimate")) is None:
        return missing()
    label = f"<small>{text(part['metric'])} · {text(_short(found, identity, part))}</small> "
    return label + figure(found, identity, seen(part))


def _short(found: Facts, identity: str, part: Part) -> str:
    task = "squad_v2" if identity == SQUAD else task_of(part["metric"])
    return shortness(found, task) if task in (*found.tasks(), "squad_v2") else "all tasks"


def _detail(found: Facts, identity: str, name: str) -> str:
    parts = found.parts(identity)
    if not parts:
        return ""
    listed = table(PART_HEADS, (part_cells(found, identity, part) for part in parts))
    return f"<details open><summary>{text(name)}: {len(parts)} comparison{'' if len(parts) == 1 else 's'}</summary>{listed}</details>"


PART_HEADS: Final = (
    "Comparison",
    "Estimate",
    "Bound",
    "p",
    "n",
    "Trained on",
    "Verdict",
    "What would decide it",
)


def part_cells(found: Facts, identity: str, part: Part) -> list[str]:
    """One comparison: what was not seen stands as missing, with the reason beside it."""
    known = real(part.get("estimate")) is not None
    outcome = str(part.get("outcome") or "NOT RUN")
    said = part.get("needs") or ("" if outcome == "GO" else part.get("reason") or "")
    return [
        f"<code>{text(part['metric'])}</code>",
        figure(found, identity, seen(part)) if known else missing(),
        text(part.get("bound") or "–"),
        linked(found, identity, part["p"]) if part.get("p") is not None else "–",
        linked(found, identity, part.get("n")),
        text(_short(found, identity, part)),
        verdict(outcome),
        text(said),
    ]


# ── deployment ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _deployment(found: Facts) -> str:
    known = cells(found)
    counts, digests = found.counts(H3), (found.row(H3) or {}).get("digests") or {}
    about = [(name, str(digests[name])) for name in CELLS_OF if digests.get(name)]
    about += [
        (name.replace("_", " "), number(counts[name])) for name in counts if "@" not in str(name)
    ]
    told = facts((name, figure(found, H3, value)) for name, value in about) if about else ""
    if not about or not digests.get("engine"):
        told += f"<p>{missing('engine and device are not recorded')}</p>"
    listed = _cells(
        found, {cell: seen for cell, seen in known.items() if {*TIMES, *AMOUNTS} & {*seen}}
    )
    words = "Request latency with one-sided 95 % order-statistic limits; the factor to merged is of the two medians and has no interval: the verdict above has one."
    return section(
        "deployment",
        "Deployment",
        f"{told}<p><small>{words}</small></p>{listed or missing('no cell was measured')}",
    )


def _cells(found: Facts, known: Mapping[str, Mapping[str, float]]) -> str:
    times = [name for name in TIMES if any(name in seen for seen in known.values())]
    amounts = [name for name in AMOUNTS if any(name in seen for seen in known.values())]
    heads = [
        "Cell",
        *(TIMES[name] for name in times),
        "p50 / merged",
        *(AMOUNTS[name][0] for name in amounts),
    ]
    return table(
        heads,
        (
            [
                f"<code>{text(cell)}</code>",
                *(_time(found, seen, name) for name in times),
                _factor(found, known, cell),
                *(linked(found, H3, _times(seen.get(name), AMOUNTS[name][1])) for name in amounts),
            ]
            for cell, seen in known.items()
        ),
    )


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _time(found: Facts, seen_here: Mapping[str, float], name: str) -> str:
    middle, low, high = (
        _times(seen_here.get(f"{name}{end}"), 1000) for end in ("", "_low", "_high")
    )
    if middle is None:
        return missing()
    return figure(found, H3, seen({"estimate": middle, "low": low, "high": high}))


def _factor(found: Facts, known: Mapping[str, Mapping[str, float]], cell: str) -> str:
    """Against the merged cell of the same setting: `adapters_2 batch 16` against `merged batch 16`."""
    arm, blank, setting = cell.partition(" ")
    merged, own = known.get(f"merged{blank}{setting}", {}).get("p50"), known[cell].get("p50")
    if arm == "merged" or own is None or not merged:
        return "–" if arm == "merged" else missing()
    return figure(found, H3, f"{number(own / merged)} times")


# ── effect sizes, the other gates, what is not there ─────────────────────────────────────────────────────────────────
def _effects(found: Facts) -> str:
    heads = (
        "Task",
        "LoRA − full",
        "relative",
        "standardised over seeds",
        "drift LoRA / full",
        "sign-flip p",
        "Trained on",
    )
    listed = table(heads, (_effect(found, task) for task in found.tasks())) + _costs(found)
    words = "Standardised: mean of the seeds' differences in units of their standard deviation; with few seeds itself uncertain, and undefined without spread."
    return section(
        "effects",
        "Effect sizes",
        f"<p><small>{words}</small></p>{listed or missing('no task has figures')}",
    )


def _effect(found: Facts, task: str) -> list[str]:
    lora, full = (found.line(H1, f"{arm}@{task} by seed") for arm in ("lora", "full"))
    middle = [mean(lora), mean(full)]
    both = [value for value in middle if value is not None]
    gap = both[0] - both[1] if len(both) == 2 else None
    ratio = found.part(H2, f"drift_lora@{task}", "ratio")
    drift = (
        figure(found, H2, seen(ratio))
        if ratio and real(ratio.get("estimate")) is not None
        else missing()
    )
    standard = standardised(lora, full)
    return [
        text(title(task)),
        linked(found, H1, gap),
        _percent(found, gap, both[-1] if both else None),
        linked(found, H1, standard)
        if standard is not None
        else missing("undefined" if gap is not None else "missing"),
        drift,
        linked(found, H2, found.count(H2, f"drift_p@{task}")),
        text(shortness(found, task)),
    ]


def _costs(found: Facts) -> str:
    """Per task and arm: what a training took, the scores without shared rows, the intruder dimensions of the updates."""
    heads = (
        "Task",
        "Arm",
        "processor time [s]",
        "peak memory [MB]",
        "score without rows that share a text with others",
        "intruder dimensions a matrix",
    )
    rows = []
    for task in found.tasks():
        for arm, name in ARMS.items():
            peak = finite(found.count(H1, f"peak_bytes {arm}@{task}"))
            alone = found.count(H1, f"{arm}@{task} mean without shared rows")
            rows.append(
                [
                    text(title(task)),
                    name,
                    linked(found, H1, found.count(H1, f"cpu_s {arm}@{task}")),
                    linked(found, H1, None if peak is None else peak / 1e6),
                    missing("none are shared, or missing")
                    if alone is None
                    else linked(found, H1, alone),
                    linked(found, TEMPORAL, found.count(TEMPORAL, f"intruders {arm}@{task}")),
                ]
            )
    return table(heads, rows)


def _percent(found: Facts, gap: float | None, whole: float | None) -> str:
    share = None if gap is None or not whole else 100 * gap / whole
    return linked(found, H1, share) + ("" if finite(share) is None else " %")


def _other(found: Facts) -> str:
    rows = [row for row in found.rows if row["id"] not in HYPOTHESES and row.get("parts")]
    told = "".join(
        f"<details open><summary>{verdict(str(row['outcome']))} {text(row.get('claim') or row['id'])} <code>{text(row['id'])}</code></summary>"
        f"{table(PART_HEADS, (part_cells(found, row['id'], part) for part in row['parts']))}</details>"
        for row in rows
    )
    return section(
        "sanity",
        "Sanity, tuning and the way there",
        told or missing("none of these gates was judged"),
    )


def _absent(found: Facts) -> str:
    told = "".join(f"<li>{one}</li>" for one in _gaps(found))
    return section(
        "absent",
        "What was not run, and why",
        f'<ul class="gaps">{told}</ul>'
        if told
        else "<p>Nothing: every gate and every task has its figures.</p>",
    )


def _gaps(found: Facts) -> Iterable[str]:
    for identity, name in HYPOTHESES.items():
        if found.row(identity) is None:
            yield f"<b>{text(name)}</b> <code>{identity}</code>: not in this session"
    for row in found.rows:
        if row["outcome"] in ("NOT RUN", "NOT SELECTED"):
            why = row.get("reason") or "left out of this session"
            yield f"{verdict(row['outcome'])} <code>{text(row['id'])}</code>: {text(why)}"
        for reason, count in (row.get("not_scored") or {}).items():
            yield f"<code>{text(row['id'])}</code>: {figure(found, row['id'], number(count))} not scored: {text(reason)}"
        for part in row.get("parts") or []:
            if real(part.get("estimate")) is None:
                yield f"<code>{text(row['id'])}</code>, <code>{text(part['metric'])}</code>: {text(part.get('reason') or 'no estimate')}"
    for task, name in TASKS.items():
        if task not in found.tasks():
            yield f"<b>{name}</b>: no figures in this session ({number(study_facts.WHOLE[task])} training rows in the whole data set)"
    for task in found.tasks():
        lacks = study_tasks.lacking(found, task)
        if lacks:
            yield f"<b>{text(title(task))}</b>: {text(', '.join(lacks))} missing"


def _registration(checklist: Mapping[str, Any]) -> str:
    """What was fixed before the first measurement: its digest, and whatever was changed since."""
    fixed = checklist.get("registration") or {}
    if not isinstance(fixed, Mapping) or not fixed.get("digest"):
        return section(
            "registration",
            "Pre-registration",
            missing("no registration is stored with this session"),
        )
    changes = [str(change) for change in fixed.get("changes") or []]
    told = [
        ("Digest", f"<code>{text(fixed['digest'])}</code>"),
        ("Fixed at", text(fixed.get("at") or "not recorded")),
    ]
    told += [
        (str(name), text(_plainly(value))) for name, value in (fixed.get("fixed") or {}).items()
    ]
    later = (
        f"<p><b>Changed since ({len(changes)}):</b></p>{_list(changes, 'changes')}"
        if changes
        else "<p>Not changed since.</p>"
    )
    return section("registration", "Pre-registration", facts(told) + later)


def _plainly(value: object) -> str:
    return number(value) if finite(value) is not None else neutral(value, 400)


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _records(found: Facts, session: Mapping[str, Any]) -> str:
    told = "".join(_record(row, at) for at, row in enumerate(found.rows))
    about = {
        "Session": session["id"],
        "Command": session.get("command"),
        "Took": duration({"seconds": session.get("seconds")}),
        "Commit": f"{session.get('commit') or 'unknown'}{' (with uncommitted changes)' if session.get('dirty') else ''}",
        **(session.get("environment") or {}),
    }
    words = "Every figure above links to its record here; the command shows the criterion and the verdict as they are stored."
    listed = facts(
        (str(name), text(value)) for name, value in about.items() if value not in (None, "")
    )
    return section("records", "Records", f"<p>{words}</p>{told}{listed}")


def _record(row: Row, at: int) -> str:
    key = str(row.get("evidence_key") or "")
    told = [("Evidence", f"<code>{text(key)}</code>" if key else missing("no evidence key"))]
    if KEY.fullmatch(key):
        told.append(("Show", f"<code>{text(SHOW.format(key=key))}</code>"))
    told += [("Measured", text(duration(row) or "–"))]
    told += [
        (f"Digest of {name}", f"<code>{text(value)}</code>")
        for name, value in list((row.get("digests") or {}).items())[:MOST_SHOWN]
    ]
    return (
        f'<article class="record" id="record-{at}"><h3>{verdict(str(row["outcome"]))} {text(row["id"])}</h3>'
        f"<p>{text(row.get('reason') or '')}</p>{_list(list(row.get('findings') or []), 'findings')}{facts(told)}</article>"
    )


PAGE = Page(
    "lora",
    "LoRA against full fine-tuning",
    about="The LoRA study: estimates, trajectories, layers",
    draw=lambda checklist, _: render(checklist),
    beside=lambda page: printed(page, page.with_suffix(".pdf")),
)
