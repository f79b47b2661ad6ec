"""Disturbs work in many places, two at once, and looks at what is left and at what comes out in the end."""

import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stress.process import run
from stress.promises import BrokenPromiseError, Case, must, must_be_whole, must_hold_nothing_else
from stress.work import Work, all_work

#: Does the work in a folder, disturbs it there, and returns; the undisturbed folder and its seconds are given.
Disturb = Callable[[Work, Path, Path, float, random.Random], None]


def disturb_all(
    shares: dict[str, float], promise: str, disturb: Disturb, cases: int, seed: int, only: int | None, place: Path
) -> Iterator[Case]:
    """Disturb each work in its share of the cases.

    Args:
        shares: For each work its share.
        promise: What is promised, with `{work}` for its name.
        disturb: How.
        cases: How many cases.
        seed: Of the moments, with the number of the case.
        only: The number of the only case that is wanted.
        place: An empty folder.
    """
    work = all_work(place / "templates")
    undisturbed: dict[str, tuple[Path, float]] = {}
    for name in shares:
        folder = place / "undisturbed" / name
        work[name].prepare(folder)
        ended = run(work[name].words, folder)
        assert ended.code == 0, ended.err
        undisturbed[name] = folder, ended.seconds
    names = [name for name, share in shares.items() for _ in range(max(1, round(share * cases)))]

    def one(number: int) -> Case:
        name = names[number]
        folder = place / "cases" / str(number)
        case = Case(promise.format(work=name), again=f"--seed {seed} --case {number}")
        try:
            work[name].prepare(folder)
            disturb(work[name], folder, *undisturbed[name], random.Random(f"{seed} {number}"))
            check(work[name], folder, undisturbed[name][0])
        except (BrokenPromiseError, OSError) as error:
            return case._replace(broken=str(error))
        shutil.rmtree(folder)
        return case

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(one, range(len(names)) if only is None else [only])


def check(work: Work, folder: Path, undisturbed: Path) -> None:
    """What is there is whole; after going on there is nothing else, and the result is the same."""
    must_be_whole(folder)
    work.go_on(folder)
    must_be_whole(folder)
    must(work.result(folder) == work.result(undisturbed), "the result differs from that of an undisturbed run")
    must_hold_nothing_else(folder, undisturbed)
