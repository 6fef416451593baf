"""docs/criteria.md from criteria.toml: `python -m gonogo.harness.reports.criteria_page` writes it."""

from typing import Final

from gonogo.harness.criteria.read import Criteria, Criterion, Part, load
from gonogo.harness.judging.verdict import bound_text
from gonogo.harness.place import ROOT
from gonogo.harness.reports.words import families, neutral

PAGE: Final = ROOT / "docs" / "criteria.md"
HEAD: Final = """# Criteria

Every criterion of [criteria.toml](../criteria.toml): what is claimed, what is measured against which bound, and why the bound stands where it does.
Made by `python -m gonogo.harness.reports.criteria_page`; edit criteria.toml, not this page.
"""
WHEN: Final = {"A": "before scaling up", "B": "before the full run", "C": "before deployment"}
JOINED: Final = {"any_of": "Any of these", "all_of": "All of these"}


def render(criteria: Criteria) -> str:
    found = [HEAD]
    for stage, when in WHEN.items():
        of_stage = [{"id": each.id} for each in criteria.values() if each.stage == stage]
        if of_stage:
            found.append(
                f"## Stage {stage}: {when} ({len(of_stage)})\n\n`pytest -m gate_stage{stage}`\n"
            )
        for family, rows in families(of_stage).items():
            found.append(f"### {family}\n")
            found += [_criterion(criteria[row["id"]]) for row in rows]
    return "\n".join(found)


def _criterion(criterion: Criterion) -> str:
    joined = f" {JOINED[criterion.rule]}:" if criterion.rule in JOINED else ""
    named = [("all of these hold", criterion.all), ("at least one of these holds", criterion.any)]
    lines = [_part(part) for part in criterion.parts] + [
        f"{words}: {', '.join(f'`{id_}`' for id_ in ids)}" for words, ids in named if ids
    ]
    parts = "\n".join(f"  * {line}" for line in lines)
    return f"* **`{criterion.id}`** ({criterion.severity}): {neutral(criterion.claim)}{joined}\n{parts}\n  * why: {neutral(criterion.why)}\n"


def _part(part: Part) -> str:
    unit = "" if part.unit == "1" else f", in {part.unit}"
    against = (
        f", against `{part.reference}`"
        if part.reference and part.reference not in bound_text(part)
        else ""
    )
    return f"`{part.metric}` {bound_text(part)} ({part.rule}{against}{unit})"


def main() -> None:
    PAGE.write_text(render(load(ROOT / "criteria.toml")), "utf-8")


if __name__ == "__main__":
    main()
