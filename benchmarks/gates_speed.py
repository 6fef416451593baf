"""1,000 trivial gates that keep their evidence against 1,000 trivial tests in bare pytest.

    python benchmarks/gates_speed.py [--blocks 32] [--gates 1000]

Each block is one fresh `python -m pytest` per arm, in random order:
bare      plain tests, no plugin of the project
evidence  the same tests, each puts one committed, chained row into the project's store
gates     gates through the project's whole plugin: criteria, judging, rows, the three checklists at the end
After every session the rows are counted and the hash chain is verified, outside the timing. Byte code is cached in all
arms, as it is for a user.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import turns
from gonogo.harness.evidence import Store
from turns import ROOT, Block

FILES = 10
PACKAGE = "from pathlib import Path\n\n__path__ = [str(Path(__file__).resolve().parents[1])]\n"
INI = """[pytest]
addopts = -p no:cacheprovider --strict-markers
markers =
    gate_stageA: A
    bench: generated
"""
CONFTEST = '''"""The project's plugin; what a gate measured is at hand."""

import pytest

pytest_plugins = ["gonogo.harness.plugin"]


class AtHand:
    last_key, reused, seconds = "e" * 64, False, 0.0


@pytest.fixture
def measures():
    return AtHand()
'''
KEEPER = '''"""Each test keeps one verdict; nothing else of the project is on."""

import pytest

from gonogo.harness.evidence import Store

CLAIM = {"id": "core.gate", "claim": "Nothing is wrong.", "stage": "A", "rule": "exact", "bound": 0}


@pytest.fixture(scope="session")
def opened():
    store = Store("sqlite:///reports/centralized.db", "reports")
    return store, store.open_session({})


@pytest.fixture
def keep(opened, request):
    store, session = opened
    return lambda seen: store.put_verdict(
        session, f"core.gate.{request.node.name}", "generated", "e" * 64, CLAIM, {"outcome": "GO", "seen": seen}, 0.0
    )
'''
GATES_HEAD = """from gonogo.harness.evidence import Measurement
from gonogo.harness.gate import gate

SEEN = Measurement.from_mapping({"values": {"hits": [0.0]}, "unit": {"hits": "hits"}, "sampling_unit": "run"})
"""
GATE = '\n\n@gate("core.gate.g{0}")\ndef test_gate_{0}(judge):\n    judge(SEEN)\n'
TEST = "\n\ndef test_{0}():\n    assert SEEN == 0.0\n"
KEPT = "\n\ndef test_{0}(keep):\n    assert SEEN == 0.0\n    keep(SEEN)\n"
ARMS = ("bare", "evidence", "gates")
CRITERION = """
[criteria."core.gate.g{0}"]
claim = "Nothing is wrong with number {0}."
stage = "A"
severity = "trivial"
why = "generated"
metric = "hits"
unit = "hits"
rule = "exact"
bound = 0
"""


def generate(folder: Path, count: int) -> None:
    """One folder per arm, all with the same number of files; the two with evidence hold a copy of harness/."""
    shutil.rmtree(folder, ignore_errors=True)
    heads = {"bare": "SEEN = 0.0\n", "evidence": "SEEN = 0.0\n", "gates": GATES_HEAD}
    bodies = {"bare": TEST, "evidence": KEPT, "gates": GATE}
    for arm in ARMS:
        tests = folder / arm / "tests"
        tests.mkdir(parents=True)
        for part in range(FILES):
            body = "".join(bodies[arm].format(n) for n in range(part, count, FILES))
            (tests / f"test_{part}.py").write_text(heads[arm] + body, "utf-8")
        (folder / arm / "pytest.ini").write_text(INI, "utf-8")
    for arm, conftest in (("evidence", KEEPER), ("gates", CONFTEST)):
        shutil.copytree(
            ROOT / "harness",
            folder / arm / "harness",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (folder / arm / "gonogo").mkdir()
        (folder / arm / "gonogo" / "__init__.py").write_text(PACKAGE, "utf-8")
        (folder / arm / "conftest.py").write_text(conftest, "utf-8")
    criteria = "".join(CRITERION.format(n) for n in range(count))
    (folder / "gates" / "criteria.toml").write_text(
        f'schema = 1\n[units]\nhits = "findings"\n{criteria}', "utf-8"
    )
    (folder / "gates" / "tests").rename(folder / "gates" / "gates")


def session(folder: Path, count: int) -> dict[str, float]:
    """One fresh pytest over everything in `folder`; all must pass."""
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--color=no",
        *(["gates"] if folder.name == "gates" else ["tests", "-p", "no:gonogo"]),
    ]
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or f"{count} passed" not in done.stdout:
        raise SystemExit(
            f"{folder}: pytest left with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return {"wall_s": seconds, "cpu_s": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime}


def check_evidence(folder: Path, count: int) -> None:
    """Every gate has its row and the chain holds, or the benchmark ends."""
    store = Store(f"sqlite:///{folder / 'reports' / 'centralized.db'}", folder / "reports")
    rows, problems = store.counts()["verdicts"], store.verify_chain()
    store.close()
    if rows != count or problems:
        raise SystemExit(
            f"{folder}: {rows} verdicts kept of {count}; chain: {problems[:3] or 'intact'}"
        )


def block(folder: Path, number: int, count: int) -> Block:
    for arm in ("evidence", "gates"):
        shutil.rmtree(folder / arm / "reports", ignore_errors=True)
    seen = {
        arm: session(folder / arm, count) for arm in random.Random(number).sample(ARMS, len(ARMS))
    }
    for arm in ("evidence", "gates"):
        check_evidence(folder / arm, count)
    return seen


def main() -> int:
    parser = turns.options(__doc__)
    parser.add_argument("--gates", type=int, default=1000)
    asked = parser.parse_args()
    folder, record = asked.folder / "arms", asked.folder / f"gates-{asked.gates}.jsonl"
    blocks: list[Block] = turns.read_record(record)
    generate(folder, asked.gates)
    if len(blocks) < asked.blocks:
        block(folder, 0, asked.gates)
    began = time.monotonic()
    while len(blocks) < asked.blocks and time.monotonic() - began < asked.seconds:
        blocks.append(block(folder, len(blocks), asked.gates))
        turns.add_record(record, blocks[-1])
    print(
        f"{asked.gates} tests; every row kept, every chain intact; {json.dumps(turns.machine(asked.threads))}"
    )
    for arm in ("evidence", "gates"):
        for clock in ("wall_s", "cpu_s"):
            print(
                f"  {arm} against bare, {clock}: {turns.told(turns.ratio(blocks, arm, 'bare', clock))}"
            )
    for arm in ARMS:
        print(f"  {arm}: {sum(b[arm]['wall_s'] for b in blocks) / len(blocks):.2f} s")
    print(f"  record: {record}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
