"""How many rows a split has, and how many steps a run took."""

from typing import Any

from gonogo.methods.run import RunFolder

SPLITS = ("train", "dev", "test")


def counted(run: RunFolder) -> dict[str, Any]:
    files = [run.data / f"{split}.jsonl" for split in SPLITS]
    rows = [
        float(len(file.read_text("utf-8").splitlines())) if file.is_file() else 0.0
        for file in files
    ]
    return {"values": {"rows": rows}, "unit": {"rows": "items"}, "sampling_unit": "split"}


def steps(run: RunFolder, wanted: int) -> dict[str, Any]:
    missing = abs(wanted - len(run.lines("trace.jsonl")))
    return {
        "values": {"missing": [float(missing)]},
        "unit": {"missing": "steps"},
        "sampling_unit": "run",
    }
