"""The device locks: one who waits to be alone is not passed by newcomers."""

import threading
import time

import pytest
from gonogo.harness.evidence import locks


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "device_lock_path", lambda: tmp_path / "device.lock")


def test_whoever_waits_to_be_alone_goes_before_newcomers():
    order: list[str] = []
    inside = threading.Event()

    def alone():
        with locks.device_alone():
            order.append("alone")

    def newcomer():
        with locks.device_shared():
            order.append("newcomer")

    with locks.device_shared():
        first = threading.Thread(target=alone)
        first.start()
        time.sleep(0.2)
        second = threading.Thread(target=newcomer)
        second.start()
        time.sleep(0.2)
        assert order == []
    inside.set()
    first.join(5)
    second.join(5)
    assert order == ["alone", "newcomer"]


def test_two_jobs_share_the_device():
    with locks.device_shared(), locks.device_shared():
        pass
