"""`gonogo` itself: its verbs, its exit status, what it says of a call that cannot work."""

import subprocess
import sys
import tomllib

import gonogo
import pytest
from gonogo.harness.command import VERBS, main
from gonogo.harness.place import ROOT


def test_the_command_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert declared == {"gonogo": "gonogo.harness.command:main"}


def test_without_a_verb_the_verbs_are_listed(capsys):
    assert main([]) == 2
    told = capsys.readouterr().out
    assert all(verb in told for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_what_it_is_for(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out) > 100


def test_an_unknown_verb_is_status_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["dcotor"])
    assert ended.value.code == 2
    assert "doctor" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == gonogo.__version__


def test_init_says_that_it_is_not_built_and_what_to_write_instead(capsys):
    assert main(["init", "--", "python", "train.py", "--steps", "5"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("gonogo init: not built yet")
    assert "[tool.gonogo]" in told


def test_a_campaign_gets_the_arguments_as_they_are(monkeypatch):
    given = []
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, check: given.append(command) or subprocess.CompletedProcess(command, 7),
    )
    assert main(["campaign", "mine.toml", "--out", "x.json"]) == 7
    module = ["-m", "gonogo.fixtures.campaign", "mine.toml", "--out", "x.json"]
    assert given == [[sys.executable, *module]]


LIGHT = "import sys; {more}; from gonogo.harness.command import main; main({verb}); sys.exit('torch' in sys.modules)"


def loads_torch(verb, more="pass"):
    code = LIGHT.format(verb=verb, more=more)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    return done.returncode != 0


def test_no_verb_loads_torch():
    (first, *_) = tomllib.loads((ROOT / "criteria.toml").read_text("utf-8"))["criteria"]
    assert not loads_torch(["explain", first])
    assert not loads_torch(["doctor"])


def test_the_check_for_torch_sees_it():
    assert loads_torch(["init"], "import torch")
