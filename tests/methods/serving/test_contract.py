import os
import signal
import time

import pytest
from gonogo.methods.serving import contract
from gonogo.methods.serving.contract import Answer, Deployment, Request


def test_a_deployment_is_merged_or_holds_adapters_but_never_both(tmp_path):
    with pytest.raises(ValueError, match="start two deployments"):
        Deployment(tmp_path, {"a": tmp_path}, merged=tmp_path)
    assert Deployment(tmp_path, merged=tmp_path).names == ("merged",)
    assert Deployment(tmp_path, {"a": tmp_path, "b": tmp_path}).names == ("base", "a", "b")


@pytest.mark.parametrize("name", ["base", "merged"])
def test_an_adapter_may_not_take_a_name_that_means_something_else(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        Deployment(tmp_path, {name: tmp_path})


def test_an_adapter_that_is_not_served_is_an_error_that_names_it():
    requests = [Request((1,), "a"), Request((1,), "c")]
    with pytest.raises(contract.UnknownAdapter, match=r"'c'.*base, a, b"):
        contract.known(requests, ("base", "a", "b"))
    assert contract.known(requests, ("a", "c")) == ["a", "c"]


def test_memory_is_that_of_the_process_and_of_what_it_started():
    own = contract.memory_of(os.getpid())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.read(read, 1)
        os._exit(0)
    both = contract.memory_of(os.getpid())
    os.write(write, b".")
    os.waitpid(child, 0)
    assert 0 < own.rss <= own.peak
    assert both.peak > 1.2 * own.peak


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2), (0.51, 3), (0.95, 4), (0.01, 1), (1.0, 4)])
def test_a_quantile_is_the_nearest_rank(share, wanted):
    assert contract.quantile([3, 1, 4, 2], share) == wanted


def test_an_answer_keeps_its_times():
    assert Answer((1, 2), 0.5, 0.1).first_token_s < Answer((1, 2), 0.5, 0.1).latency_s


def test_processor_time_is_that_of_the_process_and_of_what_it_started():
    before = contract.processor_s(os.getpid())
    read, write = os.pipe()
    child = os.fork()
    if not child:
        begun = time.process_time()
        while time.process_time() - begun < 0.3:
            pass
        os.write(write, b".")
        os.read(read, 0)
        time.sleep(30)
    os.read(read, 1)
    assert contract.processor_s(os.getpid()) - before >= 0.2
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert contract.processor_s(0) == 0
