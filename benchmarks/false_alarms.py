"""Judge a clean subject again under other seeds of data and training, and count what is not GO.

    python benchmarks/false_alarms.py [--subject FILE] [--seeds 10] [--folder DIR] [-- pytest options]

Each seed is a copy of the subject file with `seed = …` of [data] and [training] replaced, judged by
`pytest -m gate_stageA`. Every verdict that is not GO on a clean subject is a false alarm, or a subject that does not
learn under that seed: both are listed, with the reason. Resumable: a finished seed lies in DIR/<name>.json and is not
judged again; a killed one goes on from the evidence store.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEED = re.compile(r"^(seed\s*=\s*)\d+", re.MULTILINE)
NAME = re.compile(r'^(name\s*=\s*")([^"]+)', re.MULTILINE)


def seeded(subject: Path, seed: int, folder: Path) -> Path:
    """A copy of the subject file under another seed; both tables must name theirs."""
    text, times = SEED.subn(rf"\g<1>{seed}", subject.read_text("utf-8"))
    if times != 2:
        raise SystemExit(
            f"{subject}: {times} lines `seed = …`; wanted one in [data] and one in [training]"
        )
    text = NAME.sub(rf"\g<1>\g<2>-seed-{seed}", text, count=1)
    made = folder / f"{subject.stem}-seed-{seed}.toml"
    made.write_text(text, "utf-8")
    return made


def judged(subject: Path, options: list[str]) -> dict:
    """The checklist of one seed, and the seconds it took."""
    begun = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gate_stageA",
        f"--subject={subject}",
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 10):
        raise SystemExit(
            f"{subject.name}: pytest left with status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
        )
    checklist = json.loads((ROOT / "reports/launch-checklist.json").read_text("utf-8"))
    return {
        "seconds": time.monotonic() - begun,
        "launch": checklist["launch"],
        "rows": checklist["rows"],
    }


def told(name: str, result: dict) -> list[str]:
    rows = [row for row in result["rows"] if row["stage"] == "A"]
    counts = Counter(row["outcome"] for row in rows)
    lines = [
        f"{name:28} {result['seconds']:6.0f} s  "
        + " · ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
    ]
    return lines + [
        f"    {row['outcome']} {row['id']}: {row['reason']}"
        for row in rows
        if row["outcome"] != "GO"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--subject", type=Path, default=ROOT / "fixtures/core/subjects/default.toml"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=ROOT / "reports/false-alarms")
    parser.add_argument("options", nargs="*", help="more pytest options, after --")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    verdicts = alarms = 0
    for seed in range(asked.seeds):
        kept = asked.folder / f"{asked.subject.stem}-seed-{seed}.json"
        if not kept.is_file():
            result = judged(seeded(asked.subject, seed, asked.folder), asked.options)
            scratch = kept.with_suffix(".tmp")
            scratch.write_text(json.dumps(result), "utf-8")
            shutil.move(scratch, kept)
        result = json.loads(kept.read_text("utf-8"))
        print(*told(kept.stem, result), sep="\n", flush=True)
        outcomes = [row["outcome"] for row in result["rows"] if row["stage"] == "A"]
        verdicts, alarms = verdicts + len(outcomes), alarms + sum(o != "GO" for o in outcomes)
    print(f"{alarms} of {verdicts} verdicts over {asked.seeds} seeds are not GO")


if __name__ == "__main__":
    main()
