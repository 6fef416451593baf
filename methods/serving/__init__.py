"""Serving engines under one contract (contract.py). Imports no torch until an engine is asked for."""

from typing import Any

ENGINES = ("peft", "llama.cpp", "vllm", "ollama")


def engine(name: str) -> Any:
    """The engine's class.

    Raises:
        ValueError: there is no such engine.
    """
    if name == "peft":
        from gonogo.methods.serving.peft_engine import Peft as found
    elif name == "llama.cpp":
        from gonogo.methods.serving.llama_cpp import LlamaCpp as found
    elif name == "vllm":
        from gonogo.methods.serving.vllm import Vllm as found
    elif name == "ollama":
        from gonogo.methods.serving.ollama import Ollama as found
    else:
        raise ValueError(f"engine {name!r}; known are {', '.join(ENGINES)}")
    return found
