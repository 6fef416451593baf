"""Extractive answers on any backbone that gives hidden states: where the answer starts and ends, and whether there is one.

Devlin et al. 2019 (start and end); the answerability head beside it, as in Zhang, Yang & Zhao 2021 (Retro-Reader).
"""

from pathlib import Path
from typing import Any

import torch
from gonogo.methods.tasks.windows import unpacked
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.modeling_outputs import SequenceClassifierOutput

HEAD = "span_head"
OUT_OF_REACH = -1e4
"""Logit of a padded place; its probability is 0 in every precision."""
WEIGHTS = "model.safetensors"


class SpanHead(nn.Module):
    """Two maps per token for start and end; one of the first and the last attended token for answerability.

    An encoder gathers a text in its first token, a decoder in its last: both are given, whichever the backbone is.
    """

    def __init__(self, width: int, spread: float) -> None:
        super().__init__()
        self.places, self.answerable = nn.Linear(width, 2), nn.Linear(2 * width, 1)
        for layer in (self.places, self.answerable):
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden (B, T, D), mask (B, T) → logits (B, 2T + 1): starts, ends, answerable."""
        hidden = hidden.to(self.places.weight.dtype)
        starts, ends = (
            self.places(hidden).masked_fill(mask[..., None] == 0, OUT_OF_REACH).unbind(-1)
        )
        steps = torch.arange(mask.shape[1], device=mask.device)
        rows = torch.arange(mask.shape[0], device=mask.device)
        last, first = (mask * (steps + 1)).argmax(1), (mask * (mask.shape[1] - steps)).argmax(1)
        ends_of_text = torch.cat([hidden[rows, first], hidden[rows, last]], -1)
        return torch.cat([starts, ends, self.answerable(ends_of_text)], -1)


class SpanModel(nn.Module):
    """A backbone and its span head; stored as one folder with the backbone's own config.json."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.config = backbone, backbone.config
        spread = getattr(self.config, "initializer_range", 0.02)
        setattr(self, HEAD, SpanHead(self.config.hidden_size, spread))

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, 2T + 1). `labels` is taken for whoever watches what enters; the loss is `joint_loss`."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        more.pop("return_dict", None)
        answer = self.backbone(input_ids=input_ids, attention_mask=mask, **kinds, **more)
        logits = getattr(self, HEAD)(answer.last_hidden_state, mask)
        return SequenceClassifierOutput(
            logits=logits, hidden_states=answer.hidden_states, attentions=answer.attentions
        )

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.get_input_embeddings()

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        self.backbone.gradient_checkpointing_enable(**options)

    def enable_input_require_grads(self) -> None:
        self.backbone.enable_input_require_grads()

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(str(folder))
        save_file(
            {
                name: tensor.detach().cpu().contiguous().clone()
                for name, tensor in self.state_dict().items()
            },
            folder / WEIGHTS,
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "SpanModel":
        """What `save_pretrained` stored. Raises RuntimeError if tensors are missing or left over."""
        dtype = options.get("dtype", torch.float32)
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        model = cls(AutoModel.from_config(config, dtype=dtype, attn_implementation="sdpa")).to(
            dtype
        )
        model.load_state_dict(load_file(Path(folder) / WEIGHTS))
        return model.eval()

    @classmethod
    def on_base(cls, folder: str | Path, **options: Any) -> "SpanModel":
        """The base's backbone with a head drawn from torch's generator."""
        return cls(AutoModel.from_pretrained(str(folder), **options))


def parts(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 2T + 1) as starts (B, T), ends (B, T), answerable (B,)."""
    width = (logits.shape[1] - 1) // 2
    return logits[:, :width], logits[:, width : 2 * width], logits[:, -1]


def joint_loss(logits: Tensor, labels: Tensor, reduction: str = "sum") -> Tensor:
    """Σ_w y_w · ½ (−ln p_start(s_w) − ln p_end(e_w)) + BCE(σ(a_w), y_w), in fp32 nats; "none": (B,), "mean": over windows.

    logits : (B, 2T + 1); labels : (B,) packed. y_w = 1 where window w holds the answer, with places s_w and e_w. A window
    without an answer teaches the answerability head only.
    """
    starts, ends, answerable = (part.float() for part in parts(logits))
    first, last, held = unpacked(labels)
    if bool(held.any()) and int(torch.maximum(first, last).max()) >= starts.shape[1]:
        raise ValueError(
            f"joint_loss: a label points behind the {starts.shape[1]} tokens of its window; labels are packed by gonogo.methods.tasks.windows"
        )
    cross = nn.functional.cross_entropy
    places = (cross(starts, first, reduction="none") + cross(ends, last, reduction="none")) / 2
    truth = held.to(answerable.dtype)
    losses = torch.where(held, places, torch.zeros_like(places))
    losses = losses + nn.functional.binary_cross_entropy_with_logits(
        answerable, truth, reduction="none"
    )
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]
