"""The rules of the house as functions: each is given the sources, `{path: text}` with paths as in the clone, and answers with what breaks it, a line each."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

ROOMS = ("harness", "methods", "fixtures", "gates")
MAY = {
    "harness": set(),
    "methods": set(),
    "fixtures": {"methods", "harness"},
    "gates": {"fixtures", "methods", "harness"},
}
LINES_OF_A_FUNCTION = 40
MODULES_OF_A_FOLDER = 20
Sources = Mapping[str, str]


def sources(root: Path, folders: Iterable[str] = ROOMS) -> dict[str, str]:
    """Every Python file of these folders."""
    files = (file for folder in folders for file in sorted((root / folder).rglob("*.py")))
    return {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in files}


@cache
def tree(text: str) -> ast.Module:
    return ast.parse(text)


def module(path: str) -> str:
    """`fixtures/runs/make.py` is `fixtures.runs.make`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name without `gonogo.`) of every import, inside functions too; of `from a import b`, `a.b`."""
    for node in ast.walk(tree(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.removeprefix("gonogo.")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = (node.module or "").removeprefix("gonogo").removeprefix(".")
            if node.level:
                above = PurePosixPath(path).parents[node.level - 1].as_posix().replace("/", ".")
                package = f"{above}.{package}".rstrip(".")
            yield from ((node.lineno, f"{package}.{alias.name}".strip(".")) for alias in node.names)


def literals(text: str) -> Iterator[ast.Constant]:
    """Every text in the code that is no docstring."""
    whole = tree(text)
    said = {
        id(body[0].value)
        for node in ast.walk(whole)
        if (body := getattr(node, "body", None))
        and isinstance(body, list)
        and isinstance(body[0], ast.Expr)
    }
    said |= {id(node.value) for node in ast.walk(whole) if isinstance(node, ast.Expr)}
    for node in ast.walk(whole):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node


def inside(path: str, name: str) -> bool:
    """Does the file lie in a folder of this system?"""
    return path.split("/")[1:2] == [name]


# ── arrows ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def wrong_arrows(found: Sources) -> list[str]:
    """Rooms import each other one way."""
    lines = []
    for path, text in found.items():
        room = path.split("/")[0]
        for line, name in imports(path, text):
            other = name.split(".")[0]
            if other in ROOMS and other != room and other not in MAY[room]:
                lines.append(f"{path}:{line}: {room} imports {name}")
    return lines


# ── 1: a system's name stands in its own folders ─────────────────────────────────────────────────────────────────────
def named_systems(found: Sources, systems: Iterable[str], methods: Iterable[str] = ()) -> list[str]:
    """No system's name as an identifier or in an address outside its own folders.

    methods: names that an adapter method bears as well; standing alone, or imported from `adapters` or `expected`, they
    are the method's.
    """
    lines = []
    for path, text in found.items():
        for name in systems:
            if not inside(path, name) and path.split("/")[-1] != f"{name}.py":
                shared = name in methods
                lines += [
                    f"{path}:{line}: {seen}" for line, seen in _naming(path, text, name, shared)
                ]
    return lines


def _naming(path: str, text: str, name: str, shared: bool) -> Iterator[tuple[int, str]]:
    for line, dotted in imports(path, text):
        parts = dotted.split(".")
        if name in parts and not (shared and {"adapters", "expected"} & set(parts)):
            yield line, f"imports {dotted}"
    for node in literals(text):
        words = re.split(r"[./:]", node.value) if re.fullmatch(r"[\w./:*-]+", node.value) else []
        if name in words and not (shared and _of_a_method(words, name)):
            yield node.lineno, repr(node.value)
    if not shared:
        yield from ((line, f"`{name}`") for line, said in identifiers(text) if said == name)


def _of_a_method(words: list[str], name: str) -> bool:
    return words == [name] or bool({"adapters", "expected"} & set(words))


def identifiers(text: str) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that the code names: variables, attributes, arguments, functions, classes."""
    for node in ast.walk(tree(text)):
        for part in ("id", "attr", "arg", "name"):
            said = getattr(node, part, None)
            if isinstance(said, str) and not isinstance(node, ast.alias):
                yield getattr(node, "lineno", 0), said


# ── 2: a criterion's id stands where it is judged ────────────────────────────────────────────────────────────────────
def strange_ids(found: Sources, ids: Iterable[str]) -> list[str]:
    """No id of a criterion in harness, methods and fixtures but in `fixtures/SYSTEM/sabotage/`."""
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, ids))})(?![\w.])")
    return [
        f"{path}:{node.lineno}: {said[1]}"
        for path, text in found.items()
        if not path.startswith("gates/") and path.split("/")[2:3] != ["sabotage"]
        for node in literals(text)
        if (said := pattern.search(node.value))
    ]


# ── 3: systems know nothing of each other ────────────────────────────────────────────────────────────────────────────
def between_systems(found: Sources, systems: Iterable[str]) -> list[str]:
    """`*/A/` imports nothing of `*/B/`."""
    known = set(systems)
    lines = []
    for path, text in found.items():
        own = path.split("/")[1]
        for line, name in imports(path, text):
            room, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if room in ROOMS and own in known and other in known - {own}:
                lines.append(f"{path}:{line}: {own} imports {name}")
    return lines


# ── 4: no circle ─────────────────────────────────────────────────────────────────────────────────────────────────────
def circles(found: Sources) -> list[str]:
    """Modules that import each other in a ring, imports inside functions counted; a ring a line."""
    names = {module(path): path for path in found}
    edges = {
        module(path): {
            hit
            for _, said in imports(path, text)
            for hit in (said, said.rpartition(".")[0])
            if hit in names and hit != module(path)
        }
        for path, text in found.items()
    }
    for name, to in edges.items():
        edges[name] = {one for one in to if not any(other.startswith(f"{one}.") for other in to)}
    return [" → ".join(sorted(ring)) for ring in rings(edges) if len(ring) > 1]


def rings(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts of a graph (Kosaraju): two depth-first walks, the second against the arrows."""
    against: dict[str, set[str]] = defaultdict(set)
    for name, to in edges.items():
        for other in to:
            against[other].add(name)
    order, seen = [], set()
    for name in edges:
        order += _walk(name, edges, seen)
    left, parts = set(), []
    for name in reversed(order):
        if part := set(_walk(name, against, left)):
            parts.append(part)
    return parts


def _walk(start: str, edges: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    """What is reached from `start` and not seen yet, the farthest first."""
    if start in seen:
        return []
    seen.add(start)
    done, stack = [], [(start, iter(sorted(edges.get(start, ()))))]
    while stack:
        name, rest = stack[-1]
        following = next((one for one in rest if one not in seen), None)
        if following is None:
            done.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(sorted(edges.get(following, ())))))
    return done


# ── 5, 6: folders ────────────────────────────────────────────────────────────────────────────────────────────────────
def prefixes(paths: Iterable[str]) -> list[str]:
    """No three files of a folder share a first word before `_`; no file bears its folder's name as a prefix."""
    folders: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, _, file = path.rpartition("/")
        if file != "__init__.py":
            folders[folder].append(file.removesuffix(".py").removeprefix("test_"))
    lines = []
    for folder, files in sorted(folders.items()):
        count = Counter(file.split("_")[0] for file in files)
        lines += [f"{folder}: {n} files begin with {word}" for word, n in count.items() if n > 2]
        own = folder.rpartition("/")[2]
        lines += [f"{folder}/{file}.py" for file in files if file.startswith(f"{own}_")]
    return lines


def crowded(paths: Iterable[str]) -> list[str]:
    """At most 20 modules a folder."""
    count = Counter(path.rpartition("/")[0] for path in paths if not path.endswith("/__init__.py"))
    return [f"{folder}: {n} modules" for folder, n in count.items() if n > MODULES_OF_A_FOLDER]


# ── 7: form ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def unformatted(found: Sources) -> list[str]:
    """No comment that keeps the formatter away."""
    pattern = re.compile(r"#\s*(fmt|yapf)\s*:")
    return [
        f"{path}:{number}"
        for path, text in found.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def long_functions(found: Sources) -> list[str]:
    """Functions of at most 40 lines, their docstring not counted."""
    lines = []
    for path, text in found.items():
        for node in ast.walk(tree(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                first = node.body[0]
                if ast.get_docstring(node, clean=False) is not None:
                    length -= (first.end_lineno or 0) - first.lineno + 1
                if length > LINES_OF_A_FUNCTION:
                    lines.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    return lines


# ── 9: tests mirror ──────────────────────────────────────────────────────────────────────────────────────────────────
def stray_tests(tests: Iterable[str], paths: Iterable[str]) -> list[str]:
    """`tests/x/y/test_z.py` names `x/y/z.py`, or the package `x/y/z/`, or lies in tests/whole/."""
    known = set(paths)
    lines = []
    for test in tests:
        folder, _, file = test.removeprefix("tests/").rpartition("/")
        if not file.startswith("test_") or folder.split("/")[0] == "whole":
            continue
        stem = f"{folder}/{file.removeprefix('test_').removesuffix('.py')}".lstrip("/")
        names = (f"{stem}.py", f"{stem}/__init__.py")
        own = f"{folder}/__init__.py" if stem.endswith(f"/{folder.rpartition('/')[2]}") else ""
        if not {*names, own} & known:
            lines.append(f"{test}: no {stem}.py")
    return lines
