"""The rooms lie at the top level of a clone and are gonogo.ROOM once installed; a wheel also carries what lies beside them."""

import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ("harness", "methods", "fixtures", "gates")
FOUND = [
    name
    for name in find_namespace_packages(include=[f"{room}*" for room in ROOMS])
    if name.partition(".")[0] in ROOMS
]
INSIDE = [name for name in FOUND if name != "harness.package"]


BESIDE = ("criteria.toml", "constraints.txt")


class WithFiles(build_py):
    """The files that lie beside the rooms, as in the clone."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            place = Path(self.build_lib) / "gonogo"
            place.mkdir(parents=True, exist_ok=True)
            for name in BESIDE:
                shutil.copyfile(name, place / name)


setup(
    packages=["gonogo", *(f"gonogo.{name}" for name in INSIDE)],
    package_dir={"gonogo": "harness/package"} | {f"gonogo.{room}": room for room in ROOMS},
    cmdclass={"build_py": WithFiles},
)
