"""`gonogo report` finds the page of this repository, and opens it."""

import webbrowser

from gonogo.harness.command import main


def page_in(folder):
    (folder / "reports").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("")
    page = folder / "reports" / "launch-checklist.html"
    page.write_text("<html></html>")
    return page


def test_the_page_is_found_from_a_folder_below_and_opened(tmp_path, monkeypatch, capsys):
    page, opened = page_in(tmp_path), []
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert main(["report"]) == 0
    assert opened == [page.resolve().as_uri()]
    assert capsys.readouterr().out == f"{page.resolve()}\n"


def test_the_path_alone(tmp_path, monkeypatch, capsys):
    page = page_in(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: 1 / 0)
    assert main(["report", "--no-open", str(tmp_path / "reports")]) == 0
    assert str(page) in capsys.readouterr().out


def test_a_machine_without_a_browser_gets_the_path(tmp_path, monkeypatch, capsys):
    page_in(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main(["report", str(tmp_path / "reports")]) == 0
    assert "no browser" in capsys.readouterr().out


def test_without_a_page_the_way_to_one_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert "pytest -m gate_stageA" in capsys.readouterr().err
