"""Kill -9 a process that writes verdicts, again and again, and count what the evidence database kept.

    python benchmarks/evidence_kills.py [--rounds 12] [--folder DIR] [--seed 0]

A verdict counts as acknowledged once `put_verdict` returned and its hash went down a pipe. After each kill every
acknowledged hash must be in the database, at most the one in flight may be there besides, and the chain must verify.
Resumable: finished rounds lie in DIR/rounds.jsonl and are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gonogo.harness.evidence import Store

COLUMNS = ("round", "killed_after_s", "acknowledged", "kept", "in_flight", "lost", "chain_problems")


def write_for_ever(folder: Path) -> None:
    """The child: one verdict after the other, each hash printed once it is kept."""
    store = Store(f"sqlite:///{folder / 'evidence.db'}", folder)
    session = store.open_session({"pid": os.getpid()})
    print(session, flush=True)
    while True:
        kept = store.put_verdict(
            session, "lora.drift", "kill", "e" * 64, {"claim": "c"}, {"pad": "x" * 2000}, 0.0
        )
        os.write(1, kept.encode() + b"\n")


def kill_once(folder: Path, number: int, pause_s: float) -> dict[str, object]:
    command = [sys.executable, __file__, "--child", "--folder", str(folder)]
    log = folder / f"round-{number}.txt"
    with log.open("wb") as heard, subprocess.Popen(command, stdout=heard) as child:
        deadline = time.monotonic() + 60
        while not log.stat().st_size and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
    if child.returncode != -signal.SIGKILL:
        raise SystemExit(
            f"round {number}: the child ended by itself with {child.returncode}; see its message above"
        )
    session, *lines = log.read_text().split("\n")
    return {
        "round": number,
        "killed_after_s": round(pause_s, 4),
        **compare(folder, session, [x for x in lines if x]),
    }


def compare(folder: Path, session: str, acknowledged: list[str]) -> dict[str, object]:
    store = Store(f"sqlite:///{folder / 'evidence.db'}", folder)
    kept = [row["hash"] for row in store.verdicts(session)]
    problems = store.verify_chain()
    store.close()
    return {
        "acknowledged": len(acknowledged),
        "kept": len(kept),
        "in_flight": len(set(kept) - set(acknowledged)),
        "lost": len(set(acknowledged) - set(kept)),
        "chain_problems": len(problems),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "gonogo-evidence-kills"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        write_for_ever(asked.folder)
    asked.folder.mkdir(parents=True, exist_ok=True)
    record = asked.folder / "rounds.jsonl"
    done = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    for number in range(len(done), asked.rounds):
        pause_s = random.Random(f"{asked.seed}-{number}").uniform(0.0, 0.6)
        done.append(kill_once(asked.folder, number, pause_s))
        with record.open("a") as lines:
            lines.write(json.dumps(done[-1]) + "\n")
    print(" | ".join(COLUMNS))
    for row in done:
        print(" | ".join(str(row[name]).rjust(len(name)) for name in COLUMNS))
    bad = [row for row in done if row["lost"] or row["in_flight"] > 1 or row["chain_problems"]]
    total = sum(row["acknowledged"] for row in done)
    print(
        f"{len(done)} kills, {total} acknowledged, {len(bad)} rounds with a loss, a stranger or a broken chain"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
