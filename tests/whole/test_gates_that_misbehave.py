"""Gates that swallow, repeat, forget or break: none ends at status 0, and none in a traceback of the harness."""

import pytest
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.evidence import Measurement
from gonogo.harness.judging.verdict import Outcome, judge

from tests.whole.small_session import build, run

SWALLOWED = "\n    try:\n        judge(seen(3.0))\n    except BaseException:\n        {then}"
BODIES = {
    "forgets": ("pass", 10),
    "swallows": (SWALLOWED.format(then="pass"), 1),
    "tries again": (SWALLOWED.format(then="judge(seen(0.1))"), 1),
    "breaks afterwards": (SWALLOWED.format(then="raise RuntimeError('x') from None"), 1),
    "gives up": ("pytest.fail('enough')", 10),
    "expects to fail": ("pytest.xfail('known')", 10),
    "spoils the store": (
        "[p.write_bytes(b'zz' * 9000) for p in __import__('pathlib').Path('reports').glob('*.db*')]; judge(seen(0.1))",
        10,
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_lone_gate_that_misbehaves_is_never_status_0(tmp_path, what):
    body, status = BODIES[what]
    done = run(build(tmp_path / "t", {"a.lone": what}, {what: body}))
    assert done.returncode == status, done.stdout
    assert f"LAUNCH: {'NO-GO' if status == 1 else 'UNDECIDED'}" in done.stdout
    assert "INTERNALERROR" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mark", "status"),
    [("skip", 10), ("xfail(run=False)", 10), ("xfail", 1), ("parametrize('v', [1, 2])", 1)],
)
def test_a_mark_of_pytest_lets_no_gate_pass(tmp_path, mark, status):
    folder = build(tmp_path / "t", {"a.lone": "marked"}, {"marked": "judge(seen(3.0))"})
    path = folder / "gates" / "test_small.py"
    text = path.read_text().replace('@gate("', f'@pytest.mark.{mark}\n@gate("')
    path.write_text(text.replace("(judge):", "(judge, v):") if "parametrize" in mark else text)
    assert run(folder).returncode == status


def test_under_xdist_a_skipped_gate_is_not_forgotten(tmp_path):
    folder = build(tmp_path / "t", {"a.one": "GO", "a.two": "GO"})
    path = folder / "gates" / "test_small.py"
    path.write_text(
        path.read_text().replace(
            '@gate("core.small.two")', '@pytest.mark.skip\n@gate("core.small.two")'
        )
    )
    assert run(folder, "-n", "2").returncode == 10


@pytest.mark.parametrize(
    "text",
    [
        "def test(:\n",
        "@gate(ID)\ndef test_b(judge): ...\n",
        "@pytest.mark.gate\ndef test_b(judge): ...\n",
    ],
)
def test_a_gate_file_that_cannot_be_understood_is_a_message(tmp_path, text):
    folder = build(tmp_path / "t", {"a.one": "GO"})
    (folder / "gates" / "test_b.py").write_text(
        f"import pytest\nfrom gonogo.harness.gate import gate\nID = 'core.small.two'\n{text}"
    )
    done = run(folder)
    assert done.returncode == 4
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_a_broken_value_stops_the_go_of_any_of():
    parts = tuple(Part(name, "1", "at_most", 1.0, "at_most") for name in "xy")
    criterion = Criterion("core.small.x", "c", "A", "normal", "w", "any_of", parts)
    plain = {"values": {"x": [float("nan")], "y": [0.1]}, "unit": {"x": "1", "y": "1"}}
    assert judge(criterion, Measurement.from_mapping(plain)).outcome is Outcome.UNDECIDED
