"""What stands in `gates/`, read without importing it: every `@gate("id")`, against the criteria."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gonogo.harness.criteria.read import Criteria, CriteriaError
from gonogo.harness.words import nearest


def check_gates(criteria: Criteria, gates: Path, *, complete: bool) -> None:
    """Static: every `@gate("id")` has its criterion and, if `complete`, every criterion its gate. Raises CriteriaError.

    The gate of a criterion that a repository adds lies anywhere in that repository; the collection finds it.
    """
    claimed = [(path, id_) for path in sorted(gates.rglob("*.py")) for id_ in gate_ids(path)]
    problems = []
    for path, id_ in claimed:
        if id_ not in criteria:
            near = nearest(id_, criteria)
            hint = f"; did you mean {near}?" if near else ""
            problems.append(
                f"{path.name}: gate {id_!r} has no entry in {criteria.path.name}; add it or mend the id{hint}"
            )
    ids = [id_ for _, id_ in claimed]
    problems += [
        f"gates: {id_} is judged by two gates; keep one"
        for id_ in sorted({i for i in ids if ids.count(i) > 1})
    ]
    if complete:
        problems += [
            f"{criteria.path.name}: no gate judges {id_}; write it or delete the entry"
            for id_ in criteria
            if id_ not in ids and id_ not in criteria.own
        ]
    if problems:
        raise CriteriaError("\n".join(problems))


@dataclass(frozen=True)
class Gate:
    """A gate as its file has it: the test that judges `id`, its docstring ("" for none), the measures that it calls."""

    id: str
    path: Path
    name: str
    docstring: str
    measures: tuple[str, ...]


def gate_ids(path: Path) -> list[str]:
    """The ids that the file's gates judge. Raises CriteriaError for a file that is no Python, or an id that is no literal."""
    return [_id(path, call) for call in _marks(path)]


def judged_at_end(gates: Path) -> str:
    """The id of the gate that says `at_end=True`: it is judged when the session's power table is whole. "" without one."""
    found = (
        _id(path, call)
        for path in sorted(gates.rglob("*.py"))
        for call in _marks(path)
        if any(key.arg == "at_end" and ast.unparse(key.value) == "True" for key in call.keywords)
    )
    return next(found, "")


def gates_in(path: Path) -> list[Gate]:
    """The gates of a file. Raises CriteriaError as `gate_ids` does."""
    return [
        Gate(_id(path, mark), path, node.name, ast.get_docstring(node) or "", _measures(node))
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and _name(mark.func) == "gate"
    ]


@cache
def _marks(path: Path) -> list[ast.Call]:
    """Every `gate(...)` of a file, read once; of a page only if it names one."""
    if not path.name.startswith("test_") and b"gate(" not in path.read_bytes():
        return []
    calls = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call))
    return [call for call in calls if _name(call.func) == "gate"]


def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        where = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise CriteriaError(
            f"{path.name}{where}: cannot be read as Python ({error}); mend the file"
        ) from None


def _measures(function: ast.FunctionDef) -> tuple[str, ...]:
    """`parity.merge` for `measures.parity.merge(pilot)`."""
    called = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    names = [ast.unparse(one) for one in called if isinstance(one, ast.Attribute)]
    return tuple(n.removeprefix("measures.") for n in names if n.startswith("measures."))


def _name(function: ast.expr) -> str:
    return (
        function.id
        if isinstance(function, ast.Name)
        else function.attr
        if isinstance(function, ast.Attribute)
        else ""
    )


def _id(path: Path, call: ast.Call) -> str:
    """The literal first argument of a gate."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    raise CriteriaError(
        f'{path.name} line {call.lineno}: a gate\'s id must stand there as text, as in @gate("mine.loss.falls")'
    )
