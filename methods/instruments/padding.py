"""The same rows under other padding: alone, with more padding, and padded on the left."""

import inspect

import torch
from gonogo.methods.observing.probe import supervised
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models
from gonogo.methods.tasks.rows import inputs
from torch import Tensor, nn

FILL = {"attention_mask": 0, "token_type_ids": 0, "labels": -100}


def views(
    run: RunFolder, model: nn.Module, batch: dict[str, Tensor], extra: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Logits of the same scored items, in the same order, per way of padding; and what could not be asked."""
    if "pixel_values" in batch:
        return {
            "alone": torch.cat(
                [ask(run, model, alone(batch, row)) for row in range(len(batch["pixel_values"]))]
            )
        }, {"padding: an image has none": 1}
    pad = models.load_tokenizer(run.recipe).pad_token_id or 0
    answer = {
        "alone": torch.cat(
            [ask(run, model, alone(batch, row)) for row in range(len(batch["input_ids"]))]
        ),
        "padded further": ask(run, model, widened(batch, extra, pad, "right")),
    }
    room = (run.recipe["training"].get("length") or 0) - batch["input_ids"].shape[1]
    if room > extra:
        answer["padded to the recipe's length"] = ask(
            run, model, widened(batch, room, pad, "right")
        )
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if reads_first_token(inner) or not accepts_positions(model):
        return answer, {"left padding: the model reads its first token or takes no position_ids": 1}
    left = to_left(batch, pad)
    answer["padded left"] = ask(run, model, left, positions=True)
    answer["padded left, further"] = ask(
        run, model, widened(left, extra, pad, "left"), positions=True
    )
    return answer, {}


@torch.no_grad()
def ask(
    run: RunFolder, model: nn.Module, batch: dict[str, Tensor], positions: bool = False
) -> Tensor:
    model.eval()
    more = {"position_ids": from_mask(batch["attention_mask"])} if positions else {}
    answer = model(**inputs(batch), **more).logits
    return supervised(answer, batch["labels"], run.recipe["task"])[0].float().cpu()


def from_mask(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def alone(batch: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    if "pixel_values" in batch:
        return {name: t[row : row + 1] for name, t in batch.items()}
    length = int(batch["attention_mask"][row].sum())
    return {
        name: t[row : row + 1] if t.dim() == 1 else t[row : row + 1, :length]
        for name, t in batch.items()
    }


def widened(batch: dict[str, Tensor], extra: int, pad: int, side: str) -> dict[str, Tensor]:
    room = (extra, 0) if side == "left" else (0, extra)
    return {
        name: t if t.dim() == 1 else nn.functional.pad(t, room, value=FILL.get(name, pad))
        for name, t in batch.items()
    }


def to_left(batch: dict[str, Tensor], pad: int) -> dict[str, Tensor]:
    """Every row's tokens moved to the right end."""
    width = batch["input_ids"].shape[1]
    shift = width - batch["attention_mask"].sum(1, keepdim=True)
    source = torch.arange(width)[None] - shift
    moved = {
        name: t if t.dim() == 1 else t.gather(1, source.clamp(min=0)) for name, t in batch.items()
    }
    return {
        name: t if t.dim() == 1 else t.masked_fill(source < 0, FILL.get(name, pad))
        for name, t in moved.items()
    }


def reads_first_token(inner: nn.Module) -> bool:
    """Encoders classify from place 0, where left padding would lie; decoders answer from the last token."""
    return not (type(inner).__name__.endswith("ForCausalLM") or hasattr(inner, "score"))


def accepts_positions(model: nn.Module) -> bool:
    """False where the model numbers positions itself (RoBERTa counts on from its padding index; virtual tokens shift all)."""
    if hasattr(model, "prompt_encoder") and len(getattr(model, "prompt_encoder", ())):
        return False
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    tables = [
        module for name, module in inner.named_modules() if name.endswith("position_embeddings")
    ]
    counts_padding = any(getattr(table, "padding_idx", None) is not None for table in tables)
    return "position_ids" in inspect.signature(inner.forward).parameters and not counts_padding
