"""Looks: the reports of a growing study on which results were compared, kept in its folder.

Whoever adds seeds until a difference is shown shows one too often. How often results were looked at is therefore a
record like the results themselves.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from fashionreg.files import whole_file
from fashionreg.runs.schema import Between, read_json
from fashionreg.studies.statistics import ALPHA, looks_levels

LOOKS_FILE = "looks.json"

#: With fewer seeds nothing is tested, and nobody has looked.
LEAST = 3

MOST = 1_000_000


@dataclass(frozen=True)
class Look:
    """A report on which results were compared.

    Attributes:
        compared: What was compared, see `digest`: a study whose configurations have changed is another one.
        seeds: Number of seeds of the variant that shares the most with the reference.
        maximum: The largest number of seeds that was declared by then; None if none was.
    """

    compared: str
    seeds: Annotated[int, Between(LEAST, MOST)]
    maximum: Annotated[int, Between(LEAST, MOST)] | None = None


@dataclass(frozen=True)
class Looks:
    """What `looks.json` holds, and its schema."""

    looks: list[Look]


@dataclass(frozen=True)
class Looked:
    """The looks at a study up to the present one.

    Attributes:
        seeds: Number of seeds at each look, ascending, the present one last; empty where nothing can be tested.
        maximum: The largest number of seeds, where the same was declared before every look; otherwise None, and the
            looks cannot be corrected for.
        more: Number of seeds at each look that had more than the present one, ascending.
    """

    seeds: list[int]
    maximum: int | None = None
    more: tuple[int, ...] = ()

    def level(self, comparisons: int) -> float:
        """Return the level of tests at the present look; 0.05 where the looks cannot be corrected for."""
        if self.maximum is None or not self.seeds:
            return ALPHA
        return looks_levels(self.seeds, self.maximum, comparisons=max(comparisons, 1))[-1]


#: A single look, at everything that was planned.
ONCE = Looked([])


def digest(keys: Iterable[str]) -> str:
    """Return a name of the variants under comparison, given the key of each."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def looked(past: Sequence[Look], seeds: int, maximum: int | None) -> Looked:
    """Return the looks at a study, the present one with this number of seeds included.

    Args:
        past: Earlier looks at the same comparison; one with more seeds corrects nothing of fewer.
        seeds: Number of seeds now.
        maximum: The largest number, as it is declared now.
    """
    if seeds < LEAST:
        return Looked([])
    before = [look for look in past if look.seeds <= seeds]
    kept = all(look.maximum == maximum for look in before) and maximum is not None and seeds <= maximum
    more = tuple(sorted({look.seeds for look in past if look.seeds > seeds}))
    return Looked(sorted({seeds, *(look.seeds for look in before)}), maximum if kept else None, more)


def read_looks(folder: Path) -> list[Look]:
    """Read the looks that were recorded in a study's folder.

    Raises:
        UserError: With its key, if something in the file is missing, unknown or cannot be.
    """
    path = folder / LOOKS_FILE
    return read_json(path, Looks, "record of looks").looks if path.exists() else []


def record_look(folder: Path, look: Look) -> None:
    """Record a look, unless it was made before: a report that is made again with the same seeds is the same look.

    Raises:
        UserError: If the file is damaged, or cannot be written.
    """
    known = read_looks(folder)
    if any((look.compared, look.seeds) == (each.compared, each.seeds) for each in known):
        return
    with whole_file(folder / LOOKS_FILE, within=folder) as file:
        file.write(json.dumps(asdict(Looks([*known, look])), indent=2).encode() + b"\n")
