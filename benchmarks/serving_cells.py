"""The descriptive cells of H3 on a campaign's own LoRA runs: 1, 2 and 4 adapters against merged, several batches.

python benchmarks/serving_cells.py fixtures/lora/subjects/bench.toml [--batches 1 4 8 16] [--blocks 10]
"""

from __future__ import annotations

import argparse
import sys
from math import exp, log
from pathlib import Path
from statistics import fmean, median, stdev

from gonogo.fixtures.campaign.opening import opened
from gonogo.harness.place import ROOT
from scipy.special import stdtrit

MERGED = "merged"


def ratio(values: list[float], reference: list[float]) -> str:
    """Geometric mean over blocks with its 95 % interval, as words."""
    logs = [log(a / b) for a, b in zip(values, reference, strict=True)]
    half = float(stdtrit(len(logs) - 1, 0.975)) * stdev(logs) / len(logs) ** 0.5
    return f"{exp(fmean(logs)):.3f} [{exp(fmean(logs) - half):.3f}, {exp(fmean(logs) + half):.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subject", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--home", type=Path, default=ROOT / "reports")
    given = parser.parse_args()
    with opened(given.subject, given.home) as campaign:
        cells = campaign.cells(arms=["lora"])[:4]
        counts = [count for count in (1, 2, 4) if count <= len(cells)]
        for batch in given.batches:
            found = campaign.measure(
                "serving.latency",
                *cells,
                adapters=counts,
                batch=batch,
                new_tokens=16,
                blocks=given.blocks,
                most=given.blocks,
                restarts=1,
                with_base=False,
            )
            times = {
                name.partition("@")[2]: list(values)
                for name, values in found.values.items()
                if name.startswith("latency_p50@")
            }
            told = "; ".join(
                f"{count}: {ratio(times[f'adapters_{count}'], times[MERGED])}" for count in counts
            )
            vetoes = f" ({'; '.join(found.vetoes)})" if found.vetoes else ""
            sys.stdout.write(
                f"batch {batch}: merged {1000 * median(times[MERGED]):.1f} ms; ratio by adapters {told}{vetoes}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
