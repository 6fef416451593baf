"""The loop steps with the optimizer that the recipe names, and with its settings."""

import pytest
import torch
from gonogo.methods import OPTIMIZERS
from gonogo.methods.training import optimizers
from torch import nn

PLAIN = {"learning_rate": 0.1}


def built(**training):
    return optimizers.build(nn.Linear(2, 2).parameters(), {**PLAIN, **training}, fused=True)


def test_a_recipe_that_says_nothing_gets_adamw_as_torch_has_it():
    group, plain = (
        built().param_groups[0],
        torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=0.1, weight_decay=0.0, fused=True),
    )
    assert type(built()) is torch.optim.AdamW
    assert {k: v for k, v in group.items() if k != "params"} == {
        k: v for k, v in plain.param_groups[0].items() if k != "params"
    }


def test_declared_settings_arrive():
    group = built(optimizer="adam", betas=[0.8, 0.95], epsilon=1e-6, weight_decay=0.1).param_groups[
        0
    ]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.95), 1e-6, 0.1)
    assert built(optimizer="sgd", momentum=0.9).param_groups[0]["momentum"] == 0.9


def test_the_names_are_those_a_subject_may_say():
    assert tuple(optimizers.KINDS) == OPTIMIZERS
    for name in OPTIMIZERS:
        assert type(built(optimizer=name)).__name__.lower() == name


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="'lion'; wanted one of adamw, adam, sgd"):
        built(optimizer="lion")
