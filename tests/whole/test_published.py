"""A published study (github.com/benc61116/NLP ANALYSIS_REPORT.md, TinyLlama-1.1B, 3 seeds), judged by our rules.

Only its summaries are public: scores per task, the seeds of one arm on RTE, and latencies on one GPU. What is judged of
them says the same as a reader's recomputation: H1 is not shown over tasks (p 0.117 with all seeds at hand, 0.113 from the
summaries), its reference is broken on RTE, and two adapters cost 36.8 % more than merged, where 30 % were allowed.
"""

import pytest
from gonogo.harness.criteria.read import load
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.harness.place import CRITERIA as CRITERIA_FILE
from scipy import stats

LORA = {"sst2": 94.96, "mrpc": 88.13, "rte": 78.7}
FULL = {"sst2": 86.58, "mrpc": 86.46, "rte": (46.9 + 52.3 + 69.0) / 3}
RTE_FULL_BY_SEED, RTE_MAJORITY = (0.469, 0.523, 0.690), 0.527
MERGED_MS, TWO_ADAPTERS_MS, ONE_ADAPTER_MS = 25.47, 34.86, 35.09
CRITERIA = load(CRITERIA_FILE)


def test_h1_is_not_shown_over_tasks():
    drops = [100 * (FULL[task] - LORA[task]) / FULL[task] for task in LORA]
    found = stats.ttest_1samp(drops, 3.0, alternative="less")
    assert found.pvalue == pytest.approx(0.113, abs=0.001)
    assert found.pvalue > 0.05


def test_a_reference_under_the_majority_class_makes_h1_undecided():
    items = 277

    def arm(shares):
        return [float(n < round(share * items)) for share in shares for n in range(items)]

    layout = {"axes": ["seed", "item"], "shape": [3, items], "clusters": list(range(items))}
    names = ("lora@rte", "full@rte", "baseline@rte")
    values = dict(
        zip(
            names,
            (arm((0.77, 0.787, 0.80)), arm(RTE_FULL_BY_SEED), [RTE_MAJORITY] * 3 * items),
            strict=True,
        )
    )
    told = Measurement.from_mapping(
        {
            "values": values,
            "unit": dict.fromkeys(names, "accuracy"),
            "sampling_unit": "item",
            "layout": dict.fromkeys(names, layout),
        }
    )
    verdict = judge(CRITERIA["lora.h1.performance"], told)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "full@rte" in verdict.reason
    assert verdict.p == 1.0


@pytest.mark.parametrize(
    ("reference", "outcome"), [(MERGED_MS, Outcome.NO_GO), (ONE_ADAPTER_MS, Outcome.GO)]
)
def test_two_adapters_cost_too_much_against_merged_and_nothing_against_one_adapter(
    reference, outcome
):
    """The published report compared with one unmerged adapter: the switch of the comparator decides the verdict."""
    blocks = 60
    wobble = [1 + 0.002 * ((n * 7) % 11 - 5) for n in range(blocks)]
    values = {
        "latency_p50@adapters_2": [TWO_ADAPTERS_MS / 1000 * w for w in wobble],
        "latency_p50@merged": [reference / 1000 * w for w in reversed(wobble)],
        "latency_p50@merged_again": [reference / 1000 * w for w in wobble],
    }
    counted = {
        "wrong_adapter": "answers",
        "other_token_count": "answers",
        "constant_answers": "arms",
        "other_adapters_held": "arms",
        "not_interleaved": "blocks",
    }
    cell = {"blocks": [60.0], "batch": [8.0], "new_tokens": [16.0]}
    told = Measurement.from_mapping(
        {
            "values": {**values, **cell, **{name: [0.0] for name in counted}},
            "sampling_unit": "block",
            "unit": {
                **dict.fromkeys(values, "seconds"),
                "blocks": "blocks",
                "batch": "count",
                "new_tokens": "count",
                **counted,
            },
        }
    )
    verdict = judge(CRITERIA["lora.h3.deployment"], told)
    assert verdict.outcome is outcome
    seen = next(part for part in verdict.parts if part.metric == "latency_p50@adapters_2")
    assert seen.estimate == pytest.approx(TWO_ADAPTERS_MS / reference, rel=0.002)
    assert pytest.approx(1.368, abs=0.001) == TWO_ADAPTERS_MS / MERGED_MS
