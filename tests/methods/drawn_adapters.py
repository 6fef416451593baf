"""Runs that were not trained: random adapters on a small base, large enough that each answers otherwise."""

import json

import torch
from gonogo.methods.adapters import lora
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models

from tests.methods import small_models


def adapters(folder, base, data, count, config):
    """`count` runs with recipe and artefact, in `folder`."""
    found = []
    for number in range(count):
        recipe = small_models.recipe(base, data, config=config)
        run = folder / f"run{number}"
        run.mkdir()
        (run / "recipe.json").write_text(json.dumps(recipe))
        model = lora.wrap(
            models.load_base(recipe, head_seed=1), recipe["method"]["config"], seed=number
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                torch.nn.init.normal_(parameter, std=0.5)
        lora.save(model, run / "artifact")
        found.append(RunFolder(run))
    return found
