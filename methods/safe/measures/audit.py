"""Exact audits of a finished SAFE run: what trained, what was frozen, what the optimizer held, what was shipped.

What must train is worked out here from the recipe's own numbers, and nothing is asked of the adapter's code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.measures.audit import counted, inventory, late, parameters, silent_share
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe.adapter import CONFIG, WEIGHTS, SafeConfig
from gonogo.methods.safe.instruments.promise import promised
from gonogo.methods.safe.instruments.recipe import settings_off
from gonogo.methods.safe.instruments.reference import lived, served
from gonogo.methods.safe.models import PRECISIONS
from gonogo.methods.tensors import tensor_digest
from safetensors import SafetensorError
from safetensors.torch import load_file

PARTS = ("vision_language", "audio")
HEARD = ("audio_model.", "audio_projection.")  # the side of CLAP that hears
FROZEN = ("base.", "audio_encoder.")
ALIKE = ("live_differs", "start_differs", "served_differs")
Seen = dict[str, Any]


def stored(run: RunFolder) -> dict[str, str]:
    """Live name → digest of every tensor in the folders of the two backbones, read anew from their files, in the precision that they are loaded in."""
    found: dict[str, str] = {}
    held = {
        "base.": PRECISIONS[run.recipe["training"]["precision"]],
        "audio_encoder.": torch.float32,
    }
    for part, prefix in zip(PARTS, FROZEN, strict=True):
        for file in sorted((run.base / part).glob("*.safetensors")):
            for name, tensor in load_file(file).items():
                if prefix == "base." or name.startswith(HEARD):
                    found[prefix + name] = tensor_digest(
                        tensor.to(held[prefix]) if tensor.is_floating_point() else tensor
                    )
    if not found:
        raise NotObservable(
            f"{run.base} holds no safetensors; the backbones cannot be compared with what they were loaded from"
        )
    return found


def freeze(run: RunFolder) -> dict[str, Any]:
    """What trains, what is frozen, and whether the adapter is the one that its equations define.

    Metrics:
        trainable_unexpected, trainable_missing, shape_wrong [tensors]: against the allow-list
        frozen_changed, base_differs [tensors]: by digest, before and after and against the backbones' files
        frozen_in_optimizer, missing_from_optimizer, strangers [tensors]
        modes_wrong [modules]: backbones in training mode
        written_elsewhere [count]: weights that something else than the optimizer wrote
        settings_off [count]: against the recipe
        live_differs, start_differs, served_differs [rows]: against the equations in float64; 0 each where the artefact
            itself is at fault
        trainable_share [1]: of all parameters, tied ones once
        share_over_declared [1]: by how much that is more than the subject's budget
    """
    seen, tensors = inventory(run)
    wanted, live = promised(run), parameters(tensors)
    frozen = [item for item in tensors if item["name"] not in wanted]
    saved, projected = shipped(run)["values"], run.recipe["retention"]["null_space"]
    found = {
        **_trained(seen, live, wanted),
        "shape_wrong": _misshapen(tensors, wanted),
        "frozen_changed": _changed(seen, frozen),
        "base_differs": differing(frozen, stored(run)),
        **_optimized(seen, live, wanted),
        "modes_wrong": wrong_modes(seen),
        "written_elsewhere": ["the adapter changed outside of an optimizer step"]
        * (0 if projected else seen["watched"]["written_elsewhere"]),
    }
    own = sum(prod(shape) for shape in wanted.values())
    whole = sum({item["storage"]: prod(item["shape"]) for item in live}.values())
    flowing = flow(run)["values"]
    alike = as_asked(run, sound=not any(count for (count,) in saved.values()))
    report = counted(found, _units(found, saved, alike))
    report["values"] |= {
        "trainable_share": [own / whole],
        "share_over_declared": [max(0.0, own / whole - run.recipe["budgets"]["trainable_share"])],
        **saved,
        "without_gradient": flowing["without_gradient"],
        "without_update": flowing["without_update"],
        **{name: [float(len(lines))] for name, lines in alike.items()},
    }
    report["findings"] += [line for lines in alike.values() for line in lines[:3]]
    report["counts"] = {
        "trainable_parameters": own,
        "parameters": whole,
        "frozen_tensors": len(frozen),
    }
    report["not_scored"] = (
        {"what else writes the adapter: the null-space projection does, after each step": 1}
        if projected
        else {}
    )
    return report


def _trained(
    seen: Seen, live: list[Seen], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """What trained at all and should not, and what should and did not at every step."""
    asked = seen["watched"]["trainable_steps"]
    ever = [
        item
        for item in live
        if item["requires_grad_first"] or item["requires_grad_last"] or asked.get(item["name"])
    ]
    always = {
        item["name"]
        for item in live
        if item["requires_grad_first"]
        and item["requires_grad_last"]
        and asked.get(item["name"], 0) >= seen["steps"]
    }
    return {
        "trainable_unexpected": [
            f"{item['name']}: trains, but is no part of projector or fusion"
            for item in ever
            if item["name"] not in wanted
        ],
        "trainable_missing": [
            f"{name}: must train, and did not throughout" for name in wanted if name not in always
        ],
    }


def _misshapen(tensors: list[Seen], wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
    by_name = {item["name"]: item for item in tensors}
    return [
        f"{name}: {by_name[name]['shape']}, the recipe says {list(shape)}"
        for name, shape in wanted.items()
        if name in by_name and tuple(by_name[name]["shape"]) != shape
    ]


def _changed(seen: Seen, frozen: list[Seen]) -> list[str]:
    return [
        f"{item['name']}: changed in training"
        for item in frozen
        if item["digest_first"] != item["digest_last"]
    ] + [f"{name}: added while it trained" for name in seen["added_in_training"]]


def _optimized(
    seen: Seen, live: list[Seen], wanted: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """What the optimizer held and should not, and what it should have held at every step."""
    held = [item for item in live if item["in_optimizer"]]
    most = max((item["optimizer_steps"] for item in held), default=0)
    whole = {item["name"] for item in held if item["optimizer_steps"] == most}
    return {
        "frozen_in_optimizer": [
            f"{item['name']}: frozen, yet in the optimizer"
            for item in held
            if item["name"] not in wanted
        ],
        "missing_from_optimizer": [
            f"{name}: not in the optimizer at every step" for name in wanted if name not in whole
        ],
        "strangers": ["a tensor that is none of the model's"] * seen["optimizer_strangers"],
    }


def _units(found: Iterable[str], saved: Iterable[str], alike: Iterable[str]) -> dict[str, str]:
    return {
        **{
            name: {"modes_wrong": "modules", "written_elsewhere": "count"}.get(name, "tensors")
            for name in found
        },
        "trainable_share": "1",
        "share_over_declared": "1",
        "without_gradient": "tensors",
        "without_update": "tensors",
        **{name: "count" if name == "pickled_files" else "tensors" for name in saved},
        **{name: "count" if name == "settings_off" else "rows" for name in alike},
    }


def as_asked(run: RunFolder, *, sound: bool) -> dict[str, list[str]]:
    """Settings that are not the recipe's, and probe rows on which the model as it trained, or as it is served, is not what its saved
    tensors say. The latter is asked of a sound artefact alone."""
    answers = (
        {**lived(run), "served_differs": served(run)} if sound else {name: [] for name in ALIKE}
    )
    return {"settings_off": settings_off(run), **answers}


def differing(frozen: list[dict[str, Any]], files: dict[str, str]) -> list[str]:
    """Frozen tensors that are not what lies in the backbones' folders, at the first step; each file tensor must be in the model."""
    known = {files[item["name"]]: item["storage"] for item in frozen if item["name"] in files}
    tied = {storage for storage in known.values()}
    lines = []
    for item in frozen:
        if item["name"] in files:
            if item["digest_first"] != files[item["name"]]:
                lines.append(f"{item['name']}: not the value in the backbone's file")
        elif item["kind"] == "parameter" and item["storage"] not in tied:
            lines.append(f"{item['name']}: in no backbone's file")
    present = {item["name"] for item in frozen}
    return lines + [
        f"{name}: in the backbone's file, not in the model" for name in files if name not in present
    ]


def wrong_modes(seen: dict[str, Any]) -> list[str]:
    """Backbones in evaluation mode, projector and fusion in training mode, and no change between forwards."""
    mixed, training = set(seen["training_flags_mixed"]), seen["started_in_training"]
    held = {item["name"].rpartition(".")[0] for item in seen["tensors"]} | {
        "base",
        "audio_encoder",
    }  # modules with tensors of their own
    ours = [name for name in mixed | held if name.split(".")[0] in ("base", "audio_encoder")]
    lines = [f"{name}: not in training mode" for name in mixed if training and name not in ours]
    awake = sorted(name for name in ours if (name in mixed) != training)
    if awake:
        lines.append(
            f"{awake[0]}: a backbone in training mode; its dropout and running statistics are live"
        )
    return lines + ["modes changed between forwards of the training"] * (
        seen["watched"]["mode_changes"] > 0
    )


def shipped(run: RunFolder) -> dict[str, Any]:
    """Whether the saved adapter is the trained one, byte for byte.

    Metrics:
        artifact_missing, artifact_differs, excess [tensors]
        pickled_files [count]: cannot be loaded without unpickling
    """
    wanted = promised(run)
    own, kept = run.artifact / WEIGHTS, run.artifact / CONFIG
    saved = weights(own) if own.is_file() else {}
    beside = [file.name for file in run.artifact.rglob("*.safetensors") if file != own]
    redeclared = _redeclared(run, declared_in(kept) if kept.is_file() else {})
    return counted(
        {
            "artifact_missing": [
                f"{name}: trained, not saved" for name in wanted if name not in saved
            ],
            "artifact_differs": _altered(run, wanted, saved) + redeclared * bool(saved),
            "excess": [
                f"{name}: saved, but no part of projector or fusion"
                for name in saved
                if name not in wanted
            ]
            + [f"{name}: saved beside the adapter" for name in beside],
            "pickled_files": [
                path.name
                for path in run.artifact.rglob("*")
                if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")
            ],
        },
        {
            "artifact_missing": "tensors",
            "artifact_differs": "tensors",
            "excess": "tensors",
            "pickled_files": "count",
        },
    )


def _altered(run: RunFolder, wanted: Iterable[str], saved: Mapping[str, Any]) -> list[str]:
    _, tensors = inventory(run)
    last = {item["name"]: item["digest_last"] for item in tensors}
    return [
        f"{name}: saved with other bytes than it was trained to"
        for name in wanted
        if name in saved and tensor_digest(saved[name]) != last.get(name)
    ]


def _redeclared(run: RunFolder, told: Seen) -> list[str]:
    """The fields of the saved config that are not the recipe's."""
    declared = {**SafeConfig.from_mapping(run.recipe["method"]["config"]).__dict__}
    declared["layers"] = list(declared["layers"])
    return [
        f"{CONFIG}: {name} is {told.get(name)}, the recipe says {value}"
        for name, value in declared.items()
        if told.get(name) != value
    ]


def declared_in(file: Path) -> dict[str, Any]:
    """The fields of a saved config; one that is no JSON object declares nothing."""
    try:
        told = json.loads(file.read_text("utf-8"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def weights(file: Path) -> dict[str, Any]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise NotObservable(
            f"{file} is no safetensors file ({error}); train the run again"
        ) from error


def flow(run: RunFolder, within: int = 3) -> dict[str, Any]:
    """Whether every trainable tensor receives a gradient and moves: α opens at the first step, all else one step later.

    Metrics:
        without_gradient, without_update [tensors]
        silent_share [1]: the largest share of steps without a gradient
    """
    seen, tensors = inventory(run)
    wanted = promised(run)
    watched = [item for item in parameters(tensors) if item["name"] in wanted]
    gone = [
        f"{name}: not in the model"
        for name in wanted
        if name not in {item["name"] for item in watched}
    ]
    still = [
        f"{i['name']}: first gradient at step {i['first_grad_step']}"
        for i in watched
        if late(i["first_grad_step"], within)
    ]
    unmoved = [
        f"{i['name']}: first update at step {i['first_update_step']}"
        for i in watched
        if late(i["first_update_step"], within)
    ]
    report = counted(
        {"without_gradient": still + gone, "without_update": unmoved + gone},
        "tensors",
        counts={"watched": len(watched)},
    )
    silent = {item["name"]: silent_share(item, seen["steps"]) for item in watched}
    report["values"]["silent_share"], report["unit"]["silent_share"] = (
        [max(silent.values(), default=1.0)],
        "1",
    )
    return report
