"""Words that the whole harness shares: the name that was probably meant, and an amount in its unit."""

from collections.abc import Iterable
from difflib import get_close_matches

NO_UNIT = ("1", "count", "")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, if any comes near."""
    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=0.6)), None)


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "", quote: str = "`") -> str:
    """`did you mean NAME?`, each in quotes; `otherwise` where no name comes near."""
    near = nearest(name, names)
    return f"did you mean {quote}{near}{quote}?" if near else otherwise


def amount(words: str, unit: object, value: object = None) -> str:
    """`2 rows`, `1 row`, `0.032 logits`: a number that is words already, in its unit. A plain number, a share or a count has none."""
    named = "" if unit is None or unit in NO_UNIT else str(unit)
    one = value == 1 and named.isalpha() and named.endswith("s")
    return f"{words} {named[:-1] if one else named}".rstrip()
