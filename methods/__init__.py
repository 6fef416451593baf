"""The methods gonogo can train: real training and measuring, no thresholds, no pytest. Importing this loads no torch."""

METHODS = {
    "lora": "gonogo.methods.adapters.lora",
    "full": "gonogo.methods.adapters.full",
    "bottleneck": "gonogo.methods.adapters.bottleneck",
    "prefix": "gonogo.methods.adapters.prefix",
    "head": "gonogo.methods.adapters.head",
    "adalora": "gonogo.methods.adapters.adalora",
    "layerlens": "gonogo.methods.layerlens.method",
}

OPTIMIZERS = ("adamw", "adam", "sgd")

__all__ = ["METHODS", "OPTIMIZERS"]
