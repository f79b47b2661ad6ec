"""The one exception that means: the person at the keyboard can put this right; and the limits of what is read."""

from pathlib import PurePath

#: Characters of an error's line that are shown; of a longer one (a path may have thousands) the middle is left out.
LONGEST_LINE = 1500

#: Limits of every reader: levels of nesting, the first whole number that 64 bits do not hold, and the largest seed.
MAX_DEPTH = 100
LARGEST_NUMBER = 2**63
MAX_SEED = 2**32 - 1


class UserError(ValueError):
    """Something a user can cause and correct: a bad file, a bad value, missing data, an interrupted run.

    The message is one line that names the file, field, row or value and says what would be right. The command line
    prints it without a traceback and exits with code 1. It is a `ValueError`, so that library users can catch it as
    the standard exception it refines.

    Args:
        *lines: The line, and further ones where several things are wrong at once.
    """

    def __str__(self) -> str:
        """Return the lines, each as `printable` shows it, further ones indented."""
        return "\n  ".join(printable(str(line)) for line in self.args)


def printable(text: str) -> str:
    """Return `text` as one line that a terminal shows and does not obey.

    Control characters, line breaks and bytes that are not UTF-8 are escaped as in a Python string: the name of a file
    may hold any of them. The middle of a line of more than `LONGEST_LINE` characters is left out.
    """
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


def shortened(value: object, limit: int = 60) -> str:
    """Return a value as an error names it: at most `limit` characters; of a longer text the end is left out.

    A list, a mapping and anything that is not plain data are named by their kind: nobody reads their contents.
    """
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        return "a number of more than 64 bits"
    if not isinstance(value, str | bytes | int | float | PurePath | None):
        return f"a {type(value).__name__}"
    text = str(value) if isinstance(value, PurePath) or (isinstance(value, str) and value) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
