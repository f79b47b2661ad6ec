"""The one exception that means: the person at the keyboard can put this right."""

#: Characters of an error's line that are shown; of a longer one (a path may have thousands) the middle is left out.
LONGEST_LINE = 1500


class UserError(ValueError):
    """Something a user can cause and correct: a bad file, a bad value, missing data, an interrupted run.

    The message is one line that names the file, field, row or value and says what would be right. The command line
    prints it without a traceback and exits with code 1. It is a `ValueError`, so that library users can catch it as
    the standard exception it refines.

    Args:
        *lines: The line, and further ones where several things are wrong at once.
    """

    def __str__(self) -> str:
        """Return the lines, further ones indented."""
        return "\n  ".join(map(str, self.args))


def printable(text: str) -> str:
    """Return `text` as one line that a terminal shows and does not obey.

    Control characters, line breaks and bytes that are not UTF-8 are escaped as in a Python string: the name of a file
    may hold any of them. The middle of a line of more than `LONGEST_LINE` characters is left out.
    """
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


def error_text(error: UserError) -> str:
    """Return what is printed of an error: each of its lines with everything in it escaped; see `printable`."""
    return "\n  ".join(printable(str(line)) for line in error.args)
