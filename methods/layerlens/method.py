"""A plan on a model: LoRA through peft, adapters and prefixes in the layers that the plan names, the head trained whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from gonogo.methods.adapters.bottleneck import FORWARD, Adapter, Bottleneck, heads, places
from gonogo.methods.adapters.lora import sort_config
from gonogo.methods.layerlens import prefixes
from gonogo.methods.layerlens.layout import Layer, Layout
from gonogo.methods.layerlens.plan import Given, Plan, parameters
from gonogo.methods.run import check_names
from gonogo.methods.tasks.models import task_type
from gonogo.methods.tensors import load_tensors, save_tensors
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

PROMISES = {"identity_at_init": True, "mergeable": False}
CONFIG, TENSORS, LORA = "layerlens_config.json", "layerlens.safetensors", "lora"
LAYERS = re.compile(r"(?P<name>.*?\.?(?:layers?|h|blocks))\.(?P<at>\d+)\.(?P<rest>.+)")


@dataclass(frozen=True)
class Layerlens:
    """sites: a plan, as `Plan.plain` gives it. alpha_per_rank: LoRA's scaling alpha/r, the same for every rank."""

    sites: tuple[Mapping[str, Any], ...] = ()
    plan: str | None = None
    alpha_per_rank: float = 2.0
    dropout: float = 0.0
    modules_to_save: tuple[str, ...] = ()


def config(given: Mapping[str, Any]) -> Layerlens:
    check_names(given, {entry.name for entry in fields(Layerlens)}, "adapter (layerlens)")
    return Layerlens(
        **{
            **given,
            "sites": tuple(given.get("sites", ())),
            "modules_to_save": tuple(given.get("modules_to_save") or ()),
        }
    )


def promises(given: Mapping[str, Any]) -> dict[str, bool]:
    """A prefix is attended to from the start; LoRA alone can be merged."""
    used = Plan.of(config(given).sites).methods
    return {"identity_at_init": "prefix" not in used, "mergeable": used == ["lora"]}


# ── where in the model ───────────────────────────────────────────────────────────────────────────────────────────────
def layout(model: nn.Module) -> Layout:
    """Layers by number: the longest numbered list of blocks, each with its linear maps.

    Raises ValueError: the model has no numbered layers.
    """
    stacks: dict[str, dict[int, list[tuple[str, nn.Module]]]] = {}
    for name, module in model.named_modules():
        if found := LAYERS.fullmatch(name):
            stacks.setdefault(found["name"], {}).setdefault(int(found["at"]), []).append(
                (found["rest"], module)
            )
    if not stacks:
        raise ValueError(
            f"{type(model).__name__}: no numbered layers; wanted modules named …layer.N…; LayerLens has nothing to choose among"
        )
    stem = max(stacks, key=lambda name: len(stacks[name]))
    after = (
        {name for name in places(model, "pfeiffer") if name.startswith(stem)}
        if any(n.endswith(FORWARD) for n, _ in model.named_modules())
        else set()
    )
    layers = tuple(
        _layer(f"{stem}.{at}", dict(parts), after) for at, parts in sorted(stacks[stem].items())
    )
    head = {
        id(p): p.numel() for name in heads(model) for p in model.get_submodule(name).parameters()
    }
    total = sum(p.numel() for p in model.parameters()) - sum(head.values())
    return Layout(layers, int(model.config.hidden_size), total, sum(head.values()))


def _layer(name: str, parts: Mapping[str, nn.Module], after: set[str]) -> Layer:
    linear = {
        rest: (m.in_features, m.out_features)
        for rest, m in parts.items()
        if isinstance(m, nn.Linear)
    }
    values = [
        (rest, shape[1])
        for rest, shape in linear.items()
        if re.search(r"(^|\.)(value|v_proj|v_lin)$", rest)
    ]
    attention = (values[0][0].rpartition(".")[0], values[0][1]) if values else None
    place = [rest for rest in linear if f"{name}.{rest}" in after]
    return Layer(name, linear, attention, (place[-1], linear[place[-1]][1]) if place else None)


# ── a plan applied ───────────────────────────────────────────────────────────────────────────────────────────────────
def peft_config(
    plan: Plan, where: Layout, chosen: Layerlens, kind: str | None
) -> LoraConfig | None:
    """The plan's LoRA part in peft's words: exact module names, a rank and an alpha for each; None where it has none."""
    ranks = {
        where.full(one.layer, name): one.size for one in plan.only("lora") for name in one.modules
    }
    if not ranks:
        return None
    alphas = {name: chosen.alpha_per_rank * rank for name, rank in ranks.items()}
    whole = {
        name: int(alpha) if float(alpha).is_integer() else alpha for name, alpha in alphas.items()
    }
    escaped = {re.escape(name): rank for name, rank in ranks.items()}
    return LoraConfig(
        r=max(ranks.values()),
        lora_alpha=max(whole.values()),
        target_modules="|".join(escaped),
        rank_pattern={f"^{name}$": rank for name, rank in escaped.items()},
        alpha_pattern={f"^{re.escape(name)}$": alpha for name, alpha in whole.items()},
        lora_dropout=chosen.dropout,
        modules_to_save=list(chosen.modules_to_save) or None,
        task_type=kind,
    )


def wrap(model: nn.Module, given: Mapping[str, Any], seed: int | None = None) -> nn.Module:
    """The model with the plan's fresh parts, drawn layer by layer from `seed` or torch's generator; they and the head train.

    Raises ValueError: a site that the model does not have.
    """
    if seed is not None:
        torch.manual_seed(seed)
    chosen = config(given)
    plan, where, kind = Plan.of(chosen.sites), layout(model), task_type(model)
    for one in plan.sites:
        parameters(one, where)  # every site is there, or says so
    model.requires_grad_(False)
    lora = peft_config(plan, where, chosen, kind)
    for one in (*plan.only("adapter"), *plan.only("prefix")):
        _put(model, one, where)
    model = get_peft_model(model, lora) if lora else model
    for name in (
        heads(model, chosen.modules_to_save) if lora is None and kind != "CAUSAL_LM" else ()
    ):
        model.get_submodule(name).requires_grad_(True)
    for module in model.modules():
        if isinstance(module, Adapter):
            module.down.requires_grad_(True), module.up.requires_grad_(True)
        elif isinstance(module, prefixes.Prefix):
            module.requires_grad_(True)
    model.layerlens = chosen
    return model.eval()


def _put(model: nn.Module, one: Given, where: Layout) -> None:
    if one.method == "prefix":
        name, width = where.attention(one.layer)
        prefixes.give(model, f"{where.at(one.layer).name}.{name}", one.size, width)
        return
    parent, _, child = where.full(one.layer, where.adapter(one.layer)[0]).rpartition(".")
    layer = model.get_submodule(f"{parent}.{child}")
    setattr(
        model.get_submodule(parent),
        child,
        Adapter(layer, Bottleneck(one.size)).to(layer.weight.device),
    )


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The model without its plan: LoRA, adapters and prefixes off; the head stays."""

    def enable(on: bool) -> None:
        prefixes.enable(model, on)
        for module in model.modules():
            if isinstance(module, Adapter):
                module.enabled = on

    enable(False)
    try:
        if isinstance(model, PeftModel):
            with model.disable_adapter():
                yield
        else:
            yield
    finally:
        enable(True)


def save(model: nn.Module, folder: str | Path) -> None:
    """peft's own files for the LoRA part (a plan of LoRA alone is a peft adapter that anyone can load), the rest beside them."""
    folder = Path(folder)
    if isinstance(model, PeftModel):
        model.save_pretrained(str(folder / LORA if _others(model) else folder))
        sort_config((folder / LORA if _others(model) else folder) / "adapter_config.json")
    if not isinstance(model, PeftModel) or _others(model):
        kept = {
            name
            for name, p in model.named_parameters()
            if p.requires_grad and (not isinstance(model, PeftModel) or name in _others(model))
        }
        frozen = [p for name, p in model.named_parameters() if p.requires_grad and name not in kept]
        for parameter in frozen:
            parameter.requires_grad_(False)
        save_tensors(model, folder / TENSORS)
        for parameter in frozen:
            parameter.requires_grad_(True)
    chosen = model.layerlens
    (folder / CONFIG).write_text(
        json.dumps(
            {
                **vars(chosen),
                "sites": list(chosen.sites),
                "modules_to_save": list(chosen.modules_to_save),
            },
            indent=1,
        )
        + "\n",
        "utf-8",
    )


def _others(model: nn.Module) -> set[str]:
    """Trainable parameters of adapters and prefixes."""
    inside = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (Adapter, prefixes.Prefix))
    ]
    return {
        name
        for name, p in model.named_parameters()
        if p.requires_grad and any(name.startswith(one + ".") for one in inside)
    }


def load(model: nn.Module, folder: str | Path) -> nn.Module:
    """Raises ValueError when a stored tensor has no place in the model."""
    folder = Path(folder)
    model = wrap(model, json.loads((folder / CONFIG).read_text("utf-8")))
    if isinstance(model, PeftModel):
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        stored = folder / LORA if (folder / LORA).is_dir() else folder
        told = set_peft_model_state_dict(model, load_file(stored / "adapter_model.safetensors"))
        if told.unexpected_keys:
            raise ValueError(
                f"{stored}: {told.unexpected_keys[0]} has no place in the model; the artefact is of another plan"
            )
    if (folder / TENSORS).is_file():
        load_tensors(model, folder / TENSORS)
    return model.eval()
