"""What must train and ship in a SAFE run, by the recipe's own numbers; nothing is asked of the adapter's code."""

from __future__ import annotations

from gonogo.methods.run import RunFolder


def promised(run: RunFolder) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor that must train: projector and low-rank fusion, by the recipe's numbers."""
    config = run.recipe["method"]["config"]
    audio, hidden, width, r = (config[name] for name in ("audio_width", "hidden", "width", "r"))
    wanted: dict[str, tuple[int, ...]] = {
        "projector.norm.weight": (audio,),
        "projector.norm.bias": (audio,),
        "projector.linear.weight": (config["tokens"] * width, audio),
        "projector.linear.bias": (config["tokens"] * width,),
    }
    for at in range(len(config["layers"])):
        sides = {
            "query": (hidden, width),
            "key": (width, width),
            "value": (width, width),
            "out": (width, hidden),
        }
        for name, (d_in, d_out) in sides.items():
            wanted |= {f"fusion.{at}.{name}.A": (r, d_in), f"fusion.{at}.{name}.B": (d_out, r)}
        wanted[f"fusion.{at}.alpha"] = ()
    return wanted
