"""Keys: SHA-256 of everything that determines a result, so that equal work is done once. Never a path, never a time."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gonogo.harness.evidence.locks import exclusive
from gonogo.harness.evidence.measurement import EvidenceError
from gonogo.harness.files import write_atomically

KEY_VERSION = 2
_IMPORTERS = {"import_module", "__import__"}
_RUNNERS = {
    "run_path",
    "run_module",
    "spec_from_file_location",
}  # their target is never followed, literal or not
_WATCHED = _IMPORTERS | _RUNNERS | {"exec"}


def content_key(payload: Any) -> str:
    """SHA-256 of canonical JSON with KEY_VERSION inside; entries named "path" are dropped wherever they occur."""
    return hashlib.sha256(
        canonical({"key_version": KEY_VERSION, "payload": _keyed(payload, "payload")})
    ).hexdigest()


def canonical(plain: Any) -> bytes:
    """The one JSON text of plain data: sorted keys, no spaces, ASCII, floats by repr, NaN refused."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _keyed(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping):
        return {
            _name(key, where): _keyed(item, f"{where}.{key}")
            for key, item in value.items()
            if key != "path"
        }
    if isinstance(value, list | tuple):
        return [_keyed(item, f"{where}[{at}]") for at, item in enumerate(value)]
    do = (
        "give a digest, not a path"
        if isinstance(value, os.PathLike)
        else "turn it into plain data first"
    )
    raise EvidenceError(
        f"key at {where}", repr(value), "finite numbers, text, lists and mappings", do
    )


def _name(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    raise EvidenceError(
        f"key at {where}", f"the name {key!r}", "names that are text", "write it as a string"
    )


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise EvidenceError(
            f"digest of {path}", str(error.strerror), "a readable file", "check the path"
        ) from error


def tree_digest(folder: Path | str) -> str:
    """SHA-256 over the sorted relative names of all files below `folder` and their bytes."""
    root = Path(folder)
    if not root.is_dir():
        raise EvidenceError(f"digest of {root}", "no folder", "a folder", "check the path")
    return hashlib.sha256(
        canonical([[name, file_digest(root / name)] for name in sorted(_names(root))])
    ).hexdigest()


def _names(root: Path) -> Iterator[str]:
    for here, folders, files in os.walk(root):
        for name in folders:
            if (Path(here) / name).is_symlink():
                raise EvidenceError(
                    f"digest of {root}", f"linked folder {name}", "plain folders", "copy it in"
                )
        yield from ((Path(here) / name).relative_to(root).as_posix() for name in files)


def remembered_digest(path: Path | str, cache_path: Path | str) -> str:
    """`file_digest`, remembered by size, times and inode. Good for a plan; before a GO the file is hashed anew."""
    stamp, name, cache = _stamp(path), str(Path(path).resolve()), Path(cache_path)
    entry = _read_cache(cache).get(name)
    if (
        isinstance(entry, dict)
        and entry.get("stamp") == stamp
        and isinstance(entry.get("sha256"), str)
    ):
        return str(entry["sha256"])
    digest = file_digest(path)
    if _stamp(path) == stamp:
        _remember(cache, name, {"stamp": stamp, "sha256": digest})
    return digest


def _stamp(path: Path | str) -> list[int]:
    try:
        seen = os.stat(path)
    except OSError as error:
        raise EvidenceError(
            f"digest of {path}", str(error.strerror), "a readable file", "check the path"
        ) from error
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]


def _read_cache(cache: Path) -> dict[str, Any]:
    try:
        plain = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}  # a memory that is lost or torn only costs hashing again
    return plain if isinstance(plain, dict) else {}


def _remember(cache: Path, name: str, entry: dict[str, Any]) -> None:
    with exclusive(cache.with_name(cache.name + ".lock"), timeout=30):
        entries = {**_read_cache(cache), name: entry}
        write_atomically(cache, canonical(entries), durable=False)


def source_digest(files: Iterable[Path], root: Path, below: Path | None = None) -> str:
    """SHA-256 over names and bytes of the Python sources under `root` that importing `files` can reach; of those in the
    folder `below` only, where one is named.

    Static: `ast` only, nothing is imported. A package's `__init__.py` runs when its module is imported, so it counts.
    """
    root = Path(root).resolve()
    closure = source_closure(files, root)
    kept = [f for f in closure if below is None or f.is_relative_to(Path(below).resolve())]
    return hashlib.sha256(
        canonical([[_relative(f, root), file_digest(f)] for f in kept])
    ).hexdigest()


def has_dynamic_import(files: Iterable[Path], root: Path) -> list[str]:
    """Places in the import closure where code is chosen at run time, as `file:line: text`: a key cannot cover them."""
    found, root = [], Path(root).resolve()
    for file in source_closure(files, root):
        nodes = list(ast.walk(_parse(file)))
        renamed = _renamed(nodes)
        for call in (node for node in nodes if isinstance(node, ast.Call)):
            name = _called(call, renamed)
            if name in _RUNNERS or (name in _WATCHED and _literal(call) is None):
                found.append(f"{_relative(file, root)}:{call.lineno}: {ast.unparse(call)[:100]}")
    return found


def source_closure(files: Iterable[Path], root: Path) -> list[Path]:
    """The files themselves and everything under `root` that they import, sorted by name."""
    root = Path(root).resolve()
    waiting = [Path(file).resolve() for file in files]
    bases = {root} | {file.parent for file in waiting if not (file.parent / "__init__.py").exists()}
    seen: set[Path] = set()
    asked: set[str] = set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        waiting += _parents(file, root)
        modules = set(_imported(file, root)) - asked
        asked |= modules
        hits = (hit for module in modules for base in bases for hit in _resolve(module, base))
        waiting += [hit for hit in hits if hit.is_relative_to(root)]
    return sorted(seen, key=lambda file: _relative(file, root))


def _relative(file: Path, root: Path) -> str:
    """Name of a file in the root, both resolved."""
    return (
        file.relative_to(root).as_posix() if file.is_relative_to(root) else f"outside/{file.name}"
    )


def _parse(file: Path) -> ast.Module:
    try:
        return _tree(file.read_bytes(), file)
    except OSError as error:
        raise EvidenceError(
            f"source {file}", str(error), "Python that parses", "mend the file"
        ) from error


def _tree(source: bytes, file: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(file))
    except (SyntaxError, ValueError) as error:
        raise EvidenceError(
            f"source {file}", str(error), "Python that parses", "mend the file"
        ) from error


def _parents(file: Path, root: Path) -> list[Path]:
    above = [
        folder / "__init__.py"
        for folder in file.parents
        if folder.is_relative_to(root) and folder != root
    ]
    return [init for init in above if init.is_file()]


def _imported(file: Path, root: Path) -> tuple[str, ...]:
    """Dotted names that the file imports; parsed once per content, since every key walks much the same sources."""
    try:
        return _imports_of(file.read_bytes(), file, root)
    except OSError as error:
        raise EvidenceError(
            f"source {file}", str(error), "Python that parses", "mend the file"
        ) from error


@cache
def _imports_of(source: bytes, file: Path, root: Path) -> tuple[str, ...]:
    calls = any(name.encode() in source for name in _IMPORTERS)
    tree = _tree(source, file)
    return tuple(_names_imported(ast.walk(tree) if calls else _statements(tree), file, root))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements of a file, at every depth; no expression."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            waiting += getattr(node, part, ())


def _names_imported(walk: Iterable[ast.AST], file: Path, root: Path) -> Iterator[str]:
    nodes = [node for node in walk if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]
    renamed = _renamed(nodes)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _absolute(node, file, root)
            yield from (f"{package}.{alias.name}".strip(".") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node, renamed) in _IMPORTERS:
            yield _literal(node) or ""


def _absolute(node: ast.ImportFrom, file: Path, root: Path) -> str:
    if not node.level:
        return node.module or ""
    folder = file.parents[node.level - 1] if node.level <= len(file.parents) else root
    package = ".".join(folder.relative_to(root).parts) if folder.is_relative_to(root) else ""
    return f"{package}.{node.module or ''}".strip(".")


def _resolve(module: str, base: Path) -> Iterator[Path]:
    """Every file that importing a dotted name may run: each package on the way and, for a star, all direct modules.

    The rooms of gonogo lie in the root itself, under whatever name it bears.
    """
    place = base
    for part in filter(None, module.removeprefix("gonogo.").split(".")):
        if part == "*":
            yield from (hit.resolve() for hit in place.glob("*.py") if place != base)
            return
        place = place / part
        hits = (place / "__init__.py", place.with_name(part + ".py"))
        yield from (hit.resolve() for hit in hits if hit.is_file())
        if not place.is_dir():
            return


def _renamed(nodes: Iterable[ast.AST]) -> dict[str, str]:
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom))
    return {
        a.asname: a.name for node in imports for a in node.names if a.asname and a.name in _WATCHED
    }


def _called(call: ast.Call, renamed: Mapping[str, str]) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr if call.func.attr != "exec" else ""  # only the builtin
    return renamed.get(call.func.id, call.func.id) if isinstance(call.func, ast.Name) else ""


def _literal(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    literal = first.value if isinstance(first, ast.Constant) else None
    return literal if isinstance(literal, str) and not literal.startswith(".") else None
