"""One p-value of "all of these, and any of those", from p-values of the parts."""

from collections.abc import Sequence


def composite_p(all_of: Sequence[float], any_of: Sequence[float] = ()) -> float:
    """max(p of all, min(1, k · least p of any)), k the number of `any_of`.

    Intersection-union over what must all hold needs no correction; a union pays for each chance (Bonferroni). Holds its
    level whatever the parts have in common. Raises ValueError for no part, or for what is no probability.
    Source: Berger (1982); Dunn (1961).
    """
    parts = [*all_of, *any_of]
    if not parts:
        raise ValueError("a composite of no part shows nothing")
    if not all(0 <= p <= 1 for p in parts):
        raise ValueError("a p-value lies between 0 and 1")
    union = [min(1.0, len(any_of) * min(any_of))] if any_of else []
    return float(max([*all_of, *union]))
