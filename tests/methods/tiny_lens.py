"""A tiny base, its data, and LayerLens runs that are trained in this process."""

import json

from gonogo.fixtures.jobs import child
from gonogo.methods.layerlens import method
from gonogo.methods.run import RunFolder

from tests.methods import tiny_runs

SITES = [
    {
        "layer": 0,
        "method": "lora",
        "rank": 2,
        "modules": ["attention.self.query", "attention.self.value"],
    },
    {"layer": 1, "method": "adapter", "width": 4},
]


class Tiny:
    def __init__(self, root):
        self.root, self.base, self.data = (
            root,
            tiny_runs.write_base(root / "base"),
            tiny_runs.write_data(root / "data"),
        )
        self.source("reviews")

    def source(self, name):
        (self.data / "meta.json").write_text(json.dumps({"labels": ["no", "yes"], "source": name}))

    def recipe(self, name="layerlens", kind="lens", sites=SITES, steps=20):
        made = tiny_runs.recipe(self.base, self.data, steps)
        made |= {"kind": kind, "serve": "unmerged", "lens": {"points": 4, "dev_rows": 24}}
        config = (
            {
                "sites": json.loads(json.dumps(sites)),
                "alpha_per_rank": 2.0,
                "modules_to_save": ["classifier"],
            }
            if name == "layerlens"
            else {}
        )
        made["method"] = {"name": name, "config": config}
        made["training"].update(micro_batch=4, accumulation=1)
        return made

    def train(self, folder, recipe):
        place = self.root / folder
        place.mkdir()
        settings = (
            {"looks": "gonogo.methods.layerlens.snapshots"} if recipe["kind"] == "lens" else {}
        )
        child.train({"kind": "train", "folder": str(place), "recipe": recipe, "settings": settings})
        return RunFolder(place)


def idle(own):
    """Wraps as `own` does, and switches every bottleneck adapter off."""

    def wrap(model, given, seed=None):
        made = own(model, given, seed)
        for module in made.modules():
            if isinstance(module, method.Adapter):
                module.enabled = False
        return made

    return wrap


def without_alpha(own):
    """peft's configuration as `own` makes it, its alphas lost."""

    def config(*args):
        made = own(*args)
        made.alpha_pattern, made.lora_alpha = {}, 1
        return made

    return config
