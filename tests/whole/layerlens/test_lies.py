"""Stage B and the alerts on hand-made records: none of these lies took a GO away."""

import pytest
from gonogo.fixtures.layerlens import evidence as ev
from gonogo.fixtures.layerlens import plans as pl
from gonogo.harness.evidence import EvidenceError
from gonogo.harness.judging.verdict import Outcome

from tests.fixtures.layerlens import test_evidence as T

honest, of, ten = T.honest, T.of, T.ten


def put(**counts):
    return lambda f: f["counts"].update(counts)


def stored(n):
    return lambda f: f["values"].update(stored_parameters=[n])


def simulated(f):
    f.update(provenance="simulated")


def vetoed(f):
    f["vetoes"].append("nothing trained")


Q, TIME, MEMORY, PAYS, SUSPICIOUS = (
    "layerlens.task.quality",
    "layerlens.task.training_time",
    "layerlens.task.training_memory",
    "layerlens.method.diversity_pays",
    "layerlens.monitor.suspicious",
)
BENCH = {
    "full was trained for 10 steps of 600": (Q, of("c1", "trained(full", put(steps=10))),
    "another seed than was asked for": (Q, of("c1", "trained(layerlens.1", put(seed=11))),
    "scored on dev": (
        Q,
        of(
            "c", "trained", lambda f: f["digests"].update(evaluation_dev=f["digests"]["evaluation"])
        ),
    ),
    "one seed stores more": (Q, of("c1", "trained(layerlens.1", stored(40_000.0))),
    "constant answers": (Q, of("c1", "trained(layerlens.1", put(answers=1))),
    "a larger plan than the single method": (PAYS, of("c", "trained(layerlens", stored(90_000.0))),
    "a dev loss that is no number": (
        PAYS,
        of("c1", "trained(uniform", lambda f: f["values"].update(dev_loss=[float("nan")])),
    ),
    "simulated times": (TIME, of("c1", "trained", simulated)),
    "times of a vetoed run": (TIME, of("c1", "trained(layerlens", vetoed)),
    "a clock that stands": (
        TIME,
        of(
            "c1",
            "trained(layerlens",
            lambda f: f["arrays"].update(
                curve=[[s, 0.0, loss] for s, _, loss in f["arrays"]["curve"]]
            ),
        ),
    ),
    "simulated memory": (MEMORY, of("c1", "trained", simulated)),
    "memory of a vetoed run": (MEMORY, of("c1", "trained(layerlens", vetoed)),
    "simulated curves": (SUSPICIOUS, of("c1", "trained", simulated)),
    "Fisher is the gradient's square": (
        SUSPICIOUS,
        of(
            "c",
            "importance",
            lambda f: f["values"].update(fisher=[g * g for g in f["values"]["gradient"]]),
        ),
    ),
    "a loss that is no number": (
        SUSPICIOUS,
        of("c1", "trained(uniform.1", lambda f: f["values"].update(dev_loss=[float("nan")])),
    ),
}


@pytest.mark.parametrize("what", BENCH)
def test_a_lie_in_the_records(tmp_path, what):
    criterion, lie = BENCH[what]
    assert (
        T.verdict(criterion, T.BENCH[criterion](T.lied(tmp_path, lie=lie))).outcome
        is not Outcome.GO
    )


def test_memory_at_another_micro_batch(tmp_path):
    def change(made):
        made.settings = "[layerlens.arms]\nfull = { micro_batch = 64 }"

    assert T.verdict(MEMORY, ev.training_memory(T.lied(tmp_path, change))).outcome is not Outcome.GO


GROUND = {
    "another rate": put(learning_rate=0.1),
    "a larger adapter": stored(90_000.0),
    "simulated": simulated,
}


@pytest.mark.parametrize("what", GROUND)
def test_unlike_solo_gains(tmp_path, what):
    with pytest.raises(EvidenceError):
        ev.gains(
            T.lied(tmp_path, T.many, of("c0", "trained(solo 4.1", GROUND[what]), cells=1).cells[0]
        )


PLANS = {
    "layerlens.rank.utility_correlation": pl.ranks,
    "layerlens.rank.utilisation": pl.utilisation,
    "layerlens.method.compatibility": pl.compatibility,
    "layerlens.method.diversity": pl.diversity,
}


@pytest.mark.parametrize("criterion", PLANS)
def test_a_simulated_plan(tmp_path, criterion):
    assert (
        T.verdict(
            criterion,
            PLANS[criterion](
                T.lied(tmp_path, lie=of("c0", "plan.plan", simulated), cells=1).cells[0]
            ),
        ).outcome
        is not Outcome.GO
    )


def test_nothing_is_no_diverse_plan(tmp_path):
    def lie(name, found):
        if "importance" in name:
            found["values"]["utility@cv"] = [0.01, 0.02, 0.01, 0.01]
        return T.replanned(
            lambda sites, chosen: (
                [{"layer": n, "method": "none"} for n in range(T.LAYERS)],
                [[s, "none", 0] for s, _, _ in chosen],
            )
        )(name, found)

    assert (
        T.verdict(
            "layerlens.method.diversity", pl.diversity(T.lied(tmp_path, lie=lie, cells=1).cells[0])
        ).outcome
        is not Outcome.GO
    )


def test_adalora_that_never_pruned(tmp_path):
    found = ev.generalise(T.lied(tmp_path, lie=of("c", "trained(adalora", stored(90_000.0))))
    assert "adalora_size" in T.verdict("layerlens.models.generalise", found).reason


# ── clean ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_two_names_of_one_run_are_not_suspicious(tmp_path):
    """A plan that turns out as uniform LoRA is the same training as the uniform arm: the same key, the same curve."""

    def lie(name, found):
        same = T.replanned(
            lambda sites, chosen: (
                [
                    {"layer": n, "method": "lora", "rank": 2, "modules": T.MODULES}
                    for n in range(T.LAYERS)
                ],
                [[s, "lora", 2] for s, _, _ in chosen],
            )
        )
        if "by_module=False" in name:
            found = same(name, found)
        if any(T.is_of(name, "", f"trained({arm}") for arm in ("layerlens", "uniform")):
            seed = int(name.split(".")[-1][0])
            found["arrays"]["curve"] = [
                [s, c, 1.0 + 0.01 * seed - 0.001 * s] for s, c, _ in found["arrays"]["curve"]
            ]
            found["values"]["dev_loss"] = [1.0 + 0.01 * seed]
        return found

    assert (
        T.verdict(SUSPICIOUS, pl.suspicious(T.lied(tmp_path, lie=lie, cells=1))).outcome
        is Outcome.GO
    )


def test_rules_can_fail_on_a_model_without_a_known_place_for_adapters():
    """OPT, GPT-NeoX, ModernBERT: a traceback (StopIteration)."""
    from gonogo.methods.layerlens import method, rules
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    made = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            hidden_size=32,
            num_hidden_layers=3,
            intermediate_size=48,
            num_attention_heads=4,
            vocab_size=50,
        )
    )
    where = method.layout(made)
    for name, make in rules.BREAKING.items():
        assert {rule for rule, found in rules.violations(*make(where)).items() if found} == {name}


@pytest.mark.parametrize("criterion", [*T.BENCH, *T.PLANS])
def test_what_is_true_stays_go(tmp_path_factory, criterion, honest, ten):
    own = {**T.BENCH, **T.PLANS}[criterion]
    lens = ten if criterion.endswith("ground_truth") else honest
    seen = T.verdict(criterion, own(lens if criterion in T.BENCH else lens.cells[0]))
    assert seen.outcome is Outcome.GO, seen.reason
