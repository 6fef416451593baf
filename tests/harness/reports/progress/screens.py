"""A terminal of few words: what stands on it after everything that was sent to it."""

import re

SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")


def shown(sent: str, width: int = 200) -> list[str]:
    """The lines of a terminal that wraps at `width`, none that is empty at the end; fails at a sequence that it does not know."""
    lines, row, column, at = [""], 0, 0, 0
    while at < len(sent):
        found = SEQUENCE.match(sent, at)
        assert found, f"unknown sequence {sent[at : at + 12]!r}"
        at = found.end()
        _, number, letter, back, feed, text = found.groups()
        if back:
            column = 0
        elif feed:
            row += 1
        elif text:
            if column >= width:
                row, column = row + 1, 0
            put(lines, row, column, text)
            column += 1
        elif letter == "A":
            row -= int(number or 1)
            assert row >= 0, "went above the first line"
        elif letter == "C":
            column += int(number or 1)
        elif letter == "J":
            lines[row] = lines[row][:column]
            del lines[row + 1 :]
        else:
            assert letter == "m", f"unknown sequence {found.group()!r}"
        while len(lines) <= row:
            lines.append("")
    while lines and not lines[-1]:
        del lines[-1]
    return lines


def put(lines: list[str], row: int, column: int, text: str) -> None:
    while len(lines) <= row:
        lines.append("")
    line = lines[row].ljust(column)
    lines[row] = line[:column] + text + line[column + 1 :]
