"""Tiny models with rows of different lengths, and every score of the layer importance by brute force: one row at a time."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from gonogo.methods.tasks.span import SpanModel, joint_loss
from gonogo.methods.tasks.windows import packed
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.pytorch_utils import Conv1D

VOCABULARY = 40
WIDE = {
    "initializer_range": 0.2,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@dataclass
class Subject:
    """model, rows (each a batch of one, without padding), the sites to score, the task, and how exact the model itself is."""

    model: nn.Module
    rows: list[dict[str, torch.Tensor]]
    sites: list[str]
    task: str = ""
    exact: float = 1e-10


def bert() -> Subject:
    config = BertConfig(vocab_size=VOCABULARY, num_labels=3, max_position_embeddings=32, **WIDE)
    return Subject(seeded(BertForSequenceClassification, config), texts(7, "class"), [])


def llama() -> Subject:
    """Its norms compute in fp32 whatever the model's precision."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        num_key_value_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        **WIDE,
    )
    return Subject(seeded(LlamaForCausalLM, config), texts(5, "causal"), [], exact=2e-6)


def gpt2() -> Subject:
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    return Subject(seeded(GPT2LMHeadModel, config), texts(5, "causal"), [])


def vit() -> Subject:
    config = ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **WIDE)
    draw = torch.Generator().manual_seed(0)
    rows = [
        {
            "pixel_values": torch.randn(1, 1, 8, 8, generator=draw, dtype=torch.float64),
            "labels": torch.tensor([n % 3]),
        }
        for n in range(6)
    ]
    return Subject(seeded(ViTForImageClassification, config), rows, [])


def spans() -> Subject:
    """Its loss computes in fp32."""
    torch.manual_seed(1)
    config = BertConfig(vocab_size=VOCABULARY, max_position_embeddings=32, **WIDE)
    model = SpanModel(BertModel(config, add_pooling_layer=False)).double()
    return Subject(
        model,
        texts(5, "span"),
        [name for name in linears(model) if "span_head" not in name],
        "span",
        exact=2e-5,
    )


MODELS = {made.__name__: made for made in (bert, llama, gpt2, vit, spans)}


def subject(name: str) -> Subject:
    """In fp64 and in train mode, every linear map a site."""
    made = MODELS[name]()
    made.sites = made.sites or linears(made.model)
    made.model.train()
    return made


def seeded(kind: type, config: object) -> nn.Module:
    torch.manual_seed(1)
    model = kind(config).double()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=float(parameter.abs().sum() > 0), std=0.1)
    return model


def linears(model: nn.Module) -> list[str]:
    return [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)
    ]


def texts(count: int, kind: str) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(3)
    found = []
    for n in range(count):
        length = 4 + (5 * n) % 7
        ids = torch.randint(1, VOCABULARY, (1, length), generator=draw)
        if kind == "causal":
            labels = ids.clone()
            labels[:, : 1 + n % 3] = -100
        else:
            labels = torch.tensor(
                [n % 3] if kind == "class" else [0 if n == 2 else int(packed(1, 1 + n % 3))]
            )
        found.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    return found


def joined(rows: list[dict[str, torch.Tensor]], extra: int = 0) -> dict[str, torch.Tensor]:
    """The rows as one batch, padded on the right to the longest and `extra` beyond."""
    fills = {"input_ids": 7, "attention_mask": 0, "labels": -100}
    batch = {}
    for name in rows[0]:
        parts = [row[name] for row in rows]
        if parts[0].dim() == 2:
            width = max(part.shape[1] for part in parts) + extra
            parts = [
                nn.functional.pad(part, (0, width - part.shape[1]), value=fills[name])
                for part in parts
            ]
        batch[name] = torch.cat(parts)
    return batch


def batched(rows: list[dict[str, torch.Tensor]], size: int) -> list[dict[str, torch.Tensor]]:
    return [joined(rows[start : start + size]) for start in range(0, len(rows), size)]


def row_loss(logits: torch.Tensor, labels: torch.Tensor, task: str = "") -> torch.Tensor:
    """ℓ of a batch of one, letter by letter."""
    if task == "span":
        return joint_loss(logits, labels)
    if labels.dim() == 1:
        return -logits[0].log_softmax(-1)[labels[0]]
    pairs = [(t, int(label)) for t, label in enumerate(labels[0, 1:]) if label != -100]
    return -sum(logits[0, t].log_softmax(-1)[label] for t, label in pairs)


def gradients(made: Subject, labels: list[torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """site → (n, o, d): ∇_W ℓ_i by autograd, one row after the other."""
    model = made.model.eval()
    modules = {name: model.get_submodule(name) for name in made.sites}
    found: dict[str, list[torch.Tensor]] = {name: [] for name in made.sites}
    for n, row in enumerate(made.rows):
        inputs = {name: tensor for name, tensor in row.items() if name != "labels"}
        loss = row_loss(
            model(**inputs).logits, row["labels"] if labels is None else labels[n], made.task
        )
        own = torch.autograd.grad(loss, [module.weight for module in modules.values()])
        for (name, module), gradient in zip(modules.items(), own, strict=True):
            found[name].append(gradient.T if isinstance(module, Conv1D) else gradient)
    return {name: torch.stack(each) for name, each in found.items()}


def energies(made: Subject) -> dict[str, torch.Tensor]:
    """site → (n,): mean over the row's tokens of ‖W a‖²; of an output layer over the scored ones."""
    scored = [
        row["labels"][0, 1:] != -100 if row["labels"].dim() == 2 else None for row in made.rows
    ]
    found: dict[str, list[float]] = {name: [] for name in made.sites}
    handles = []
    for name in made.sites:
        module = made.model.get_submodule(name)

        def note(module: nn.Module, inputs: tuple, _output: object, name: str = name) -> None:
            matrix = module.weight.T if isinstance(module, Conv1D) else module.weight
            each = (inputs[0] @ matrix.T).square().sum(-1)
            found[name].append(
                float(
                    (
                        each[:, :-1][:, scored[len(found[name])]] if name == "lm_head" else each
                    ).mean()
                )
            )

        handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        for row in made.rows:
            made.model.eval()(**{name: tensor for name, tensor in row.items() if name != "labels"})
    for handle in handles:
        handle.remove()
    return {name: torch.tensor(each, dtype=torch.float64) for name, each in found.items()}


class Softmax(nn.Module):
    """logits = W x, nothing else: every score has a closed form."""

    def __init__(self, d: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.head = nn.Linear(d, classes, bias=False, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(x))


class Branches(nn.Module):
    """logits = Σ_l g_l V_l W_l x_l: branch l reads its own slice of the input, and speaks through its gate g_l."""

    def __init__(self, gates: list[float], d: int = 6, classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.gates, self.d = gates, d
        self.layers = nn.ModuleList(nn.Linear(d, 5, bias=False, dtype=torch.float64) for _ in gates)
        self.heads = nn.ModuleList(
            nn.Linear(5, classes, bias=False, dtype=torch.float64) for _ in gates
        )
        with torch.no_grad():
            for one in [*self.layers, *self.heads]:
                one.weight.copy_((self.layers if one.in_features == d else self.heads)[0].weight)

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        parts = x.split(self.d, -1)
        return SimpleNamespace(
            logits=sum(
                g * v(w(p))
                for g, v, w, p in zip(self.gates, self.heads, self.layers, parts, strict=True)
            )
        )
