"""gonogo: a launch gate for fine-tuning. The rooms are gonogo.harness, gonogo.methods, gonogo.fixtures, gonogo.gates."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when somebody asks: every pytest session imports this file, few want to know."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gonogo")
    except PackageNotFoundError:  # a clone that nobody installed
        return "0"
