"""Defects planted in a user's own loop: does the named gate say NO-GO, and GO on the clean loop?

    python benchmarks/user_loops.py [NAME…]

Each defect is a copy of tests/whole/user_loop with one piece of `loop.py` replaced, gated as a user would gate it, in
a session of its own. Resumable: what reports/user-loops.json holds for the same sources is not run again.
Exit 0: every defect caught and every gate GO on the clean loop.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/whole/user_loop")]

from gonogo.harness.evidence.keys import content_key, source_digest
from plants import PLANTS, Plant

LOOP = ROOT / "tests/whole/user_loop"
WORK, TABLE = ROOT / "reports/work/user-loops", ROOT / "reports/user-loops.json"


def main(names: list[str]) -> int:
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    wanted = {name: PLANTS[name] for name in names or PLANTS}
    done = [told(rows, "clean", None, sorted({plant.criterion for plant in wanted.values()}))]
    done += [told(rows, name, plant, [plant.criterion]) for name, plant in wanted.items()]
    failed = sum(not row["as_wanted"] for row in done)
    print(f"{len(done) - failed} of {len(done)} sessions as wanted")
    return min(failed, 1)


def told(rows: dict, name: str, plant: Plant | None, criteria: list[str]) -> dict:
    """One session and its row, from the table if the same sources were judged before."""
    script = (LOOP / "loop.py").read_text("utf-8")
    text = plant.planted(script) if plant else script
    sources = source_digest(
        [ROOT / "fixtures/jobs/child.py", *ROOT.glob("methods/measures/*.py")], ROOT
    )
    key = content_key({"plant": name, "text": text, "criteria": criteria, "sources": sources})
    if key not in rows:
        rows[key] = session(name, text, criteria, "NO-GO" if plant else "GO")
        TABLE.write_text(json.dumps(rows, indent=1))
    row = rows[key]
    for id_, seen in row["seen"].items():
        print(
            f"{'ok    ' if row['as_wanted'] else 'MISSED'} {name:<36} {id_:<34} {seen['outcome']:<9} {row['seconds']:6.1f} s  {seen['reason'][:110]}"
        )
    return row


def session(name: str, script: str, criteria: list[str], wanted: str) -> dict:
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "loop.py").write_text(script, "utf-8")
    (folder / "loop.toml").write_bytes((LOOP / "loop.toml").read_bytes())
    tests = " or ".join(tests_of(criteria))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gate_stageA",
        f"--subject={folder / 'loop.toml'}",
        "-k",
        tests,
    ]
    begun = time.perf_counter()
    subprocess.run(
        command,
        cwd=ROOT,
        stdout=(folder / "session.log").open("w"),
        stderr=subprocess.STDOUT,
        check=False,
    )
    checklist = json.loads((ROOT / "reports/launch-checklist.json").read_text())
    if str(folder / "loop.toml") not in checklist["session"]["command"]:
        raise SystemExit(f"the session of {name} left no checklist; see {folder / 'session.log'}")
    seen = {
        row["id"]: {"outcome": row["outcome"], "reason": row["reason"]}
        for row in checklist["rows"]
        if row["id"] in criteria
    }
    return {
        "seen": seen,
        "as_wanted": {s["outcome"] for s in seen.values()} == {wanted},
        "seconds": time.perf_counter() - begun,
    }


def tests_of(criteria: list[str]) -> list[str]:
    """Names of the test functions that judge these criteria, read from the gates' sources."""
    found = {}
    for path in (ROOT / "gates").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                calls = [d for d in node.decorator_list if isinstance(d, ast.Call) and d.args]
                found |= {
                    call.args[0].value: node.name
                    for call in calls
                    if isinstance(call.args[0], ast.Constant)
                }
    return [found[id_] for id_ in criteria]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
