"""Token ids as text and back, for servers that take and give text only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from gonogo.methods.run import NotObservable
from gonogo.methods.tasks.models import LOCAL
from transformers import AutoTokenizer


class Texts:
    """The tokenizer of a model folder."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), **LOCAL)
        self.of = lru_cache(maxsize=None)(self._of)

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def visible(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The ids that the text of these stands for: special tokens have none."""
        return self.ids(self._decoded(tokens, special=False))

    def _decoded(self, tokens: Sequence[int], special: bool) -> str:
        found: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )
        return found

    def _of(self, prompt: tuple[int, ...]) -> str:
        """The text that stands for exactly these ids.

        Raises:
            NotObservable: there is none.
        """
        text = self._decoded(prompt, special=True)
        if self.ids(text) != prompt:
            raise NotObservable(
                "a prompt is not what its text stands for, and this server takes text: choose prompts that are the tokenizer's own"
            )
        return text
