"""Tests under the marker `services` need what pip does not bring; they say so instead of failing in the middle."""

import shutil

import pytest

NEEDED = {
    "a browser": ("chromium", "chromium-browser", "google-chrome"),
    "PostgreSQL": ("initdb",),
    "Node": ("npx",),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("services") is None:
        return
    lacking = [what for what, names in NEEDED.items() if not any(map(shutil.which, names))]
    if lacking:
        pytest.fail(f"{', '.join(lacking)} not found; run: bash .ci/services", pytrace=False)
