"""The methods gonogo can train: real training and measuring, no thresholds, no pytest. Importing this loads no torch."""

METHODS = {
    "lora": "methods.lora",
    "full": "methods.full",
    "bottleneck": "methods.bottleneck",
    "prefix": "methods.prefix",
    "head": "methods.head",
    "adalora": "methods.adalora",
    "layerlens": "methods.layerlens.method",
}

OPTIMIZERS = ("adamw", "adam", "sgd")

__all__ = ["METHODS", "OPTIMIZERS"]
