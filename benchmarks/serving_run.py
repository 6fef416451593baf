"""One cell of the serving comparison on adapters from serving_adapters.py, printed as a table and kept as JSON.

    python benchmarks/serving_run.py ADAPTERS RECORD --engine peft --adapters 2 --batch 8 --blocks 60

A long cell can be run in pieces (`--blocks 20`, one record each), which start their servers anew, and be joined:

    python benchmarks/serving_run.py --join JOINED PIECE...

The engines of other environments take `--options '{"python": …}'`; docs/systems/serving.md has the commands.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from gonogo.harness.statistics import log_ratio_limits
from gonogo.methods.measures import serving
from gonogo.methods.run import RunFolder


def main() -> None:
    if sys.argv[1:2] == ["--join"]:
        record, *pieces = map(Path, sys.argv[2:])
        return kept(joined([json.loads(piece.read_text()) for piece in pieces]), record)
    return kept(*measured())


def measured() -> tuple[dict[str, Any], Path]:
    parser = argparse.ArgumentParser()
    parser.add_argument("adapters_folder", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("--engine", default="peft")
    parser.add_argument("--adapters", type=int, nargs="+", default=[2])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--most", type=int, default=150)
    parser.add_argument("--restarts", type=int, default=6)
    parser.add_argument("--aa-blocks", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--without-base", action="store_true")
    parser.add_argument("--options", type=json.loads, default={})
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    runs = [RunFolder(done.parent) for done in sorted(given.adapters_folder.glob("*/done.json"))]
    begun = time.monotonic()
    report = serving.latency(
        *runs,
        engine=given.engine,
        adapters=given.adapters,
        batch=given.batch,
        new_tokens=given.new_tokens,
        blocks=given.blocks,
        most=given.most,
        restarts=given.restarts,
        prompts=given.prompts,
        aa_blocks=given.aa_blocks,
        threads=given.threads,
        with_base=not given.without_base,
        options=given.options,
    )
    report["counts"]["wall_s"] = time.monotonic() - begun
    return report, given.record


def kept(report: dict[str, Any], record: Path) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(report))
    show(report)


def joined(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """The blocks of all pieces as one record; the A/A interval and the limits over all of them."""
    report = pieces[0]
    for piece in pieces[1:]:
        if piece["digests"] != report["digests"] or set(piece["values"]) != set(report["values"]):
            raise SystemExit("the pieces are of different engines, devices or arms")
        for name in report["values"]:
            report["values"][name] += piece["values"][name]
        for name in ("findings", "vetoes"):
            report[name] += piece[name]
    values, counts = report["values"], report["counts"]
    low, high = serving.ratio_interval(
        values["latency_p50@merged_again"], values["latency_p50@merged"]
    )
    counts |= {"a_a_during_low": low, "a_a_during_high": high, "pieces": len(pieces)}
    counts |= {
        name: sum(piece["counts"][name] for piece in pieces) for name in ("blocks", "wall_s")
    }
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        for metric in [metric for metric in values if metric.startswith(f"latency_{name}@")]:
            arm = metric.partition("@")[2]
            limits = serving.campaign.quantile_limits(values[metric], share)
            counts |= dict(
                zip(
                    (f"{name}@{arm}", f"{name}_low@{arm}", f"{name}_high@{arm}"),
                    limits,
                    strict=True,
                )
            )
    return report


def show(report: dict[str, Any]) -> None:
    values, counts = report["values"], report["counts"]
    print(f"{report['digests']['engine']} on {report['digests']['device']}")
    print(
        f"batch {counts['batch']}, {counts['new_tokens']} new tokens, {counts['blocks']:.0f} blocks, {counts['wall_s']:.0f} s"
    )
    print(
        f"A/A first [{counts['a_a_first_low']:.3f}, {counts['a_a_first_high']:.3f}], during [{counts['a_a_during_low']:.3f}, {counts['a_a_during_high']:.3f}], load {counts['load']:.1f}"
    )
    print(
        "| arm | p50 s (limits) | p95 s (limits) | p50 / merged (two-sided 95 %) | processor s | first token s | tokens/s | peak MB |\n|---|---|---|---|---|---|---|---|"
    )
    for arm in [name.partition("@")[2] for name in values if name.startswith("latency_p50@")]:
        p50, p95 = (
            [counts[f"{q}{edge}@{arm}"] for edge in ("", "_low", "_high")] for q in ("p50", "p95")
        )
        ratio = "1" if arm == "merged" else against_merged(values, arm)
        used, first, rate = (
            sorted(values[f"{name}@{arm}"])[len(values[f"{name}@{arm}"]) // 2]
            for name in ("processor", "first_token", "throughput")
        )
        print(
            f"| {arm} | {p50[0]:.3f} ({p50[1]:.3f}, {p50[2]:.3f}) | {p95[0]:.3f} ({p95[1]:.3f}, {p95[2]:.3f}) | {ratio} | {used:.2f} | {first:.3f} | {rate:.1f} | {values[f'peak_bytes@{arm}'][0] / 1e6:.0f} |"
        )
    for name in (
        "wrong_adapter",
        "agreement",
        "other_token_count",
        "constant_answers",
        "other_adapters_held",
        "not_interleaved",
    ):
        print(
            f"{name}: {sum(values[name]) / max(1, len(values[name])):.4f} (mean of {len(values[name])})"
        )
    print(
        "findings:",
        report["findings"],
        "vetoes:",
        report["vetoes"],
        "not scored:",
        report["not_scored"],
    )


def against_merged(values: dict[str, Any], arm: str) -> str:
    limits = log_ratio_limits(
        values[f"latency_p50@{arm}"], values["latency_p50@merged"], 0.95, sides=2
    )
    return f"{limits.estimate:.3f} ({limits.low:.3f}, {limits.high:.3f})"


if __name__ == "__main__":
    main()
