"""The methods gonogo can train: real training and measuring, no thresholds, no pytest. Importing this loads no torch."""

METHODS = {
    "lora": "gonogo.methods.lora",
    "full": "gonogo.methods.full",
    "bottleneck": "gonogo.methods.bottleneck",
    "prefix": "gonogo.methods.prefix",
    "head": "gonogo.methods.head",
    "adalora": "gonogo.methods.adalora",
    "layerlens": "gonogo.methods.layerlens.method",
}

OPTIMIZERS = ("adamw", "adam", "sgd")

__all__ = ["METHODS", "OPTIMIZERS"]
