"""Every criterion says what to do when it is NO-GO."""

import pytest
from gonogo.harness.criteria.read import load
from gonogo.harness.criteria.remedies import remedies
from gonogo.harness.place import CRITERIA


def test_every_criterion_has_a_remedy_and_no_remedy_is_a_strangers():
    assert set(remedies()) == set(load(CRITERIA))


def test_a_system_keeps_its_own_remedies(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "gates" / name).mkdir(parents=True)
        (tmp_path / "gates" / name / "remedies.toml").write_text(f'"{name}.a" = "Do {name}."\n')
    assert remedies(tmp_path) == {"one.a": "Do one.", "two.a": "Do two."}


@pytest.mark.parametrize("text", ['""', "3"])
def test_a_remedy_without_words_is_refused(tmp_path, text):
    (tmp_path / "gates/one").mkdir(parents=True)
    (tmp_path / "gates/one/remedies.toml").write_text(f'"one.a" = {text}\n')
    with pytest.raises(ValueError, match=r"remedies\.toml: 'one\.a' has no text"):
        remedies(tmp_path)


def test_one_id_in_two_files_is_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "gates" / name).mkdir(parents=True)
        (tmp_path / "gates" / name / "remedies.toml").write_text('"one.a" = "Do it."\n')
    with pytest.raises(ValueError, match="two files"):
        remedies(tmp_path)
