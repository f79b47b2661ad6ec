"""SIGKILL at any moment of `fit`, `study` and `report`."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stress.disturb import disturb_all
from stress.process import Command
from stress.promises import Case
from stress.work import Work

PROMISE = (
    "After a kill at any moment of `{work}` every file that is there is whole, going on ends with the numbers of an "
    "undisturbed run, and no temporary file is left."
)


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Kill `fit`, `study` and `report`."""
    shares = {"fit": 0.5, "study": 0.3, "report": 0.2}
    return disturb_all(shares, {PROMISE: _kill}, cases, seed, only, place)


@contextmanager
def _kill(work: Work, folder: Path, undisturbed: Path, seconds: float, random: random.Random) -> Iterator[Path]:
    command = Command(work.arguments, folder)
    time.sleep(random.uniform(0, seconds))
    command.kill()
    yield folder
