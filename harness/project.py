"""What a repository says about gonogo: the table `[tool.gonogo]` of the pyproject.toml in its root folder."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from gonogo.harness.words import nearest

KEYS = ("subject", "criteria")


class ProjectError(Exception):
    """A pyproject.toml that cannot be followed; says where, what was seen, what was wanted."""


@dataclass(frozen=True)
class Project:
    """`subject`: a file, or the name of a shipped subject. `criteria`: a file. Files are named from `home`."""

    home: Path
    subject: str | None = None
    criteria: Path | None = None


def read(home: Path) -> Project:
    """The settings of the repository whose root is `home`; a file that is not there says nothing.

    Raises ProjectError for a file that is no TOML, an unknown key, and a value that is no text.
    """
    path = home / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return Project(home)
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: cannot be read ({error}); mend the file") from None
    tool = document.get("tool", {})
    table = tool.get("gonogo", {}) if isinstance(tool, dict) else {}
    if problems := list(_problems(table)):
        raise ProjectError("\n".join(f"{path}: [tool.gonogo] {problem}" for problem in problems))
    criteria = table.get("criteria")
    return Project(home, table.get("subject"), home / criteria if criteria else None)


def _problems(table: object) -> list[str]:
    if not isinstance(table, dict):
        return [f"is {table!r}, wanted a table with {' and '.join(KEYS)}"]
    found = []
    for key, value in table.items():
        if key not in KEYS:
            near = nearest(key, KEYS)
            hint = f"did you mean `{near}`?" if near else f"known are {', '.join(KEYS)}"
            found.append(f"has unknown key `{key}`; {hint}")
        elif not isinstance(value, str) or not value.strip():
            found.append(f'`{key}` is {value!r}, wanted text, such as {key} = "my_{key}.toml"')
    return found
