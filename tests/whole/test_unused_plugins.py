"""A session of gates alone does not pay for plugins that nothing in it uses."""

from tests.whole.small_session import build, run

TOLD = """

def pytest_unconfigure(config):
    import sys

    told = ("hypothesis" in sys.modules, config.pluginmanager.has_plugin("hypothesispytest"))
    print("hypothesis imported and listed:", *told)
"""


def told(folder, use=""):
    conftest = folder / "conftest.py"
    conftest.write_text(use + conftest.read_text("utf-8") + TOLD, "utf-8")
    return run(folder).stdout


def test_the_summary_of_hypothesis_imports_it_only_where_a_test_did(tmp_path):
    assert "listed: False False" in told(build(tmp_path / "gates", {"a.one": "GO"}))
    used = told(build(tmp_path / "used", {"a.one": "GO"}), "import hypothesis\n")
    assert "listed: True True" in used
