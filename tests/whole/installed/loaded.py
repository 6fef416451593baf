"""Which modules a pytest session has loaded from a folder, and under which names."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys
from pathlib import Path
import pytest

class AtTheEnd:
    def pytest_sessionfinish(self, session):
        files = {n: getattr(m, "__file__", None) for n, m in list(sys.modules.items())}
        below = {n: f for n, f in files.items() if f and Path(f).is_relative_to(sys.argv[1])}
        self.seen = {
            "ids": [item.nodeid for item in session.items],
            "modules": {n: Path(f).relative_to(sys.argv[1]).as_posix() for n, f in below.items()},
            "front": [p for p in sys.path if p and Path(p).is_relative_to(sys.argv[1])],
        }

at_the_end = AtTheEnd()
status = pytest.main(sys.argv[2:], plugins=[at_the_end])
print("\\nLOADED" + json.dumps({"status": int(status), **at_the_end.seen}))
"""


def session(folder: Path, here: Path, *arguments: str, **environment: str) -> dict:
    """`status`, `ids`, `modules` (name → file below `folder`) and `front` (entries of sys.path below it)."""
    command = [sys.executable, "-c", SCRIPT, str(folder), "--co", "-q", "-m", "gate_stageA"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[0].removeprefix("LOADED"))


def wrong(modules: dict[str, str], short: tuple[str, ...] = ()) -> list[str]:
    """Names of a file that is loaded twice, and names without `gonogo`; files in folders of `short` may have a short one."""
    files = list(modules.values())
    return [
        name
        for name, file in modules.items()
        if files.count(file) > 1
        or not (name.split(".")[0] == "gonogo" or file.split("/")[0] in short)
    ]
