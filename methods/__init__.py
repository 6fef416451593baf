"""The methods gonogo can train: real training and measuring, no thresholds, no pytest. Importing this loads no torch."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
OPTIMIZERS = ("adamw", "adam", "sgd")
METHODS = {
    **{
        file.stem: f"gonogo.methods.adapters.{file.stem}"
        for file in sorted(HERE.glob("adapters/[a-z]*.py"))
    },
    **{
        file.parent.name: f"gonogo.methods.{file.parent.name}.method"
        for file in sorted(HERE.glob("*/method.py"))
    },
}
"""Found by place: a method is methods/adapters/METHOD.py, or methods/SYSTEM/method.py, which bears its system's name."""


def expected_of(method: str) -> str:
    """The module that says what the method must train: methods/expected/METHOD.py or methods/SYSTEM/expected.py.

    Raises KeyError for a method that is not known here.
    """
    package, _, last = METHODS[method].rpartition(".")
    return f"{package}.expected" if last == "method" else f"gonogo.methods.expected.{last}"


__all__ = ["METHODS", "OPTIMIZERS", "expected_of"]
