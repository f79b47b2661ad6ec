"""What is promised, and one case of it that was tried."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from fashionreg.errors import UserError


class Case(NamedTuple):
    """A case, or several of a kind.

    Attributes:
        promise: What was promised, in one sentence.
        broken: What happened instead; None if the promise was kept.
        again: How to see it again.
        cases: How many cases this is.
    """

    promise: str
    broken: str | None = None
    again: str = ""
    cases: int = 1


@dataclass(frozen=True)
class Part:
    """A part of the program.

    Attributes:
        what: What it tries, in one sentence.
        cases: The number of cases of size 1.
        run: A function of the number of cases, a seed, the only case that is wanted (None is all), and an empty folder.
    """

    what: str
    cases: int
    run: Callable[[int, int, int | None, Path], Iterator[Case]]


class BrokenPromiseError(Exception):
    """A promise was broken; the message says how."""


def must(condition: bool, message: object) -> None:
    """Raise `BrokenPromiseError` unless `condition`."""
    if not condition:
        raise BrokenPromiseError(" ".join(str(message).split()))


def must_be_one_line(text: str) -> None:
    """The command said in one line what is wrong."""
    lines = text.splitlines()
    must(len(lines) == 1 and lines[0].startswith("fashionreg: error: "), f"standard error: {text[-1500:]!r}")


def must_be_whole(folder: Path) -> None:
    """Every file below `folder` that has its final name is whole; temporary ones begin with a dot or end in .tmp."""
    from fashionreg.runs.checkpoint import read_checkpoint

    readers: dict[str, Callable[[Path], object]] = {
        ".csv": _read_table,
        ".json": lambda path: json.loads(path.read_text()),
        ".yaml": lambda path: yaml.safe_load(path.read_text()).items(),
        ".ckpt": read_checkpoint,
        ".html": lambda path: _must_end(path, "</html>"),
        ".svg": lambda path: _must_end(path, "</svg>"),
    }
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in readers and not path.name.startswith("."):
            try:
                readers[path.suffix](path)
            except (UserError, ValueError, KeyError, AttributeError, OSError) as error:
                raise BrokenPromiseError(f"{path.relative_to(folder)}: is not whole: {error}") from error


def _read_table(path: Path) -> None:
    header, *rows = csv.reader(io.StringIO(path.read_text()))
    must(bool(rows) and all(len(row) == len(header) for row in rows), f"{path.name}: is not whole")
    must(path.read_text().endswith("\n"), f"{path.name}: its last line does not end")


def _must_end(path: Path, end: str) -> None:
    must(path.read_text().rstrip().endswith(end), f"{path.name}: does not end with {end}")


def kinds(folder: Path) -> set[str]:
    """The names of the files below `folder`, without the numbers that differ from one run to the next."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    names = {re.sub(r"events\.out\.tfevents\..*", "events", name) for name in names}
    return {re.sub(r"(version|test)_\d+", r"\1_N", name) for name in names}


def must_hold_nothing_else(folder: Path, undisturbed: Path) -> None:
    """There are no files of kinds that an undisturbed run does not leave."""
    strange = kinds(folder) - kinds(undisturbed)
    must(not strange, f"left over: {', '.join(sorted(strange))}")


def newest_record(folder: Path) -> bytes:
    """`record.csv` of the newest version in `folder`."""
    records = sorted(
        folder.glob("version_*/record.csv"), key=lambda path: int(path.parent.name.removeprefix("version_"))
    )
    must(bool(records), f"{folder}: holds no record")
    return records[-1].read_bytes()
