"""gonogo: a launch gate for fine-tuning. The rooms are gonogo.harness, gonogo.methods, gonogo.fixtures, gonogo.gates."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gonogo")
except PackageNotFoundError:  # a clone that nobody installed
    __version__ = "0"
