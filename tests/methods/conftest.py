"""Tiny runs, bases and rows, made once for all tests here; nobody writes into them."""

import pytest

from tests.methods import small_models
from tests.methods.tiny_runs import clean, folders

__all__ = ["bert", "clean", "data", "folders", "llama"]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return small_models.write_data(tmp_path_factory.mktemp("data") / "rows")


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return small_models.write_bert(tmp_path_factory.mktemp("base") / "bert")


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return small_models.write_llama(tmp_path_factory.mktemp("base") / "llama")
