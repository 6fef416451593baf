"""The launch checklist of the public SAFE plan: its six lines, all of them."""

from gonogo.fixtures.safe import evidence as evidence
from gonogo.fixtures.safe import variants as safe_variants
from gonogo.harness.gate import gate


@gate("safe.launch.all_green", needs=["pilot", "rehearsal", "straight", "resumed"])
def test_all_six_lines_of_the_launch_checklist_are_green(
    pilot, rehearsal, straight, resumed, measures, bench, judge_composite, asked
):
    def dev():
        return evidence.answers(measures, pilot, "dev")

    def heuristic():
        return evidence.heuristic(dev(), asked["allowance"])[0]

    judge_composite(
        {
            "safe.parity.gate_off": lambda: measures.safe.answers.parity(pilot),
            "safe.pilot.audio_gain": lambda: evidence.gain(evidence.answers(measures, pilot)),
            "safe.pilot.vl_retention": lambda: evidence.doubted(
                evidence.retention(evidence.answers(measures, pilot, "vqa"), heuristic()), dev()
            ),
            "safe.pilot.latency": lambda: measures.safe.cost.latency(pilot),
            "safe.efficiency.memory": lambda: measures.safe.memory.memory(pilot),
            "safe.efficiency.throughput": lambda: measures.safe.cost.throughput(pilot),
            "safe.curriculum.rehearsal": lambda: measures.safe.curriculum.rehearsal(rehearsal),
            "safe.curriculum.resume": lambda: measures.safe.repro.resume(straight, resumed),
            "safe.metrics.captioning": lambda: measures.safe.metrics.captioning(pilot),
            "safe.lomo.audio_dependence": lambda: measures.safe.answers.muted(pilot),
            "safe.irrelevance.false_consultation": lambda: evidence.doubted(
                evidence.gated(evidence.answers(measures, pilot), heuristic(), {}), dev()
            ),
            "safe.variance.audio": lambda: safe_variants.audio_variance(bench()),
            "safe.variance.retention": lambda: safe_variants.retention_variance(bench()),
        }
    )
