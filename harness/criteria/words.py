"""What stands in a TOML file, and what is wrong with its form, in words for whoever wrote it."""

import json
import re


def toml_words(error: Exception) -> str:
    """tomllib's message in words for whoever wrote the table."""
    twice = re.match(r"Cannot declare \('criteria', '(.*)'\) twice \(at line (\d+)", str(error))
    if twice:
        return f'line {twice[2]}: [criteria."{twice[1]}"] stands there for the second time; an id is used once'
    again = re.match(r"Cannot overwrite a value \(at line (\d+)", str(error))
    if again:
        return f"line {again[1]}: a key stands there for the second time; keep one of the two"
    if isinstance(error, RecursionError):
        return "is nested too deeply to be read; a criterion is a flat table"
    return f"is not valid TOML: {error}"


def shown(value: object) -> str:
    """A TOML value in the words of TOML, short."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    try:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    except ValueError:
        return "a number too long to print"
    return text if len(text) <= 60 else text[:57] + "..."
