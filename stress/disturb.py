"""Disturb work in many places, two at once, and check what is left and what comes out in the end."""

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from stress.process import run
from stress.promises import BrokenPromiseError, Case, must, must_be_whole, must_hold_nothing_else
from stress.work import Work, all_work

#: Does the work in the prepared folder that is given, or in a copy of it, and disturbs it there. The undisturbed folder
#: and its seconds are given too. Within the context, the folder that it returns is one where a user can go on.
Disturb = Callable[[Work, Path, Path, float, random.Random], AbstractContextManager[Path]]


def disturb_all(
    shares: Mapping[str, float],
    ways: Mapping[str, Disturb],
    cases: int,
    seed: int,
    only: int | None,
    place: Path,
) -> Iterator[Case]:
    """Disturb each kind of work in its share of the cases, in each way equally often.

    Args:
        shares: The share of each kind of work, by its name.
        ways: How work is disturbed, by what is promised then, with `{work}` for the name of the work.
        cases: The number of cases.
        seed: Fixes, with the number of the case, what is random.
        only: The number of the only case to run; None runs all.
        place: An empty folder.
    """
    work = all_work(place / "templates")
    undisturbed: dict[str, tuple[Path, float]] = {}
    for name in shares:
        folder = place / "undisturbed" / name
        work[name].prepare(folder)
        ended = run(work[name].arguments, folder)
        assert ended.code == 0, ended.err
        undisturbed[name] = folder, ended.seconds
    planned = [
        (name, promise)
        for name, share in shares.items()
        for promise in ways
        for _ in range(max(1, round(share * cases / len(ways))))
    ]

    def one(number: int) -> Case:
        name, promise = planned[number]
        folder = place / "cases" / str(number)
        case = Case(promise.format(work=name), again=f"--seed {seed} --case {number}")
        try:
            work[name].prepare(folder)
            chance = random.Random(f"{seed} {number}")
            with ways[promise](work[name], folder, *undisturbed[name], chance) as disturbed:
                _check(work[name], disturbed, undisturbed[name][0])
        except (BrokenPromiseError, OSError) as error:
            return case._replace(broken=str(error))
        shutil.rmtree(folder)
        return case

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(one, range(len(planned)) if only is None else [only])


def _check(work: Work, folder: Path, undisturbed: Path) -> None:
    """Every file is whole; after going on there is no other file, and the result is that of undisturbed work."""
    must_be_whole(folder)
    work.go_on(folder)
    must_be_whole(folder)
    must(work.result(folder) == work.result(undisturbed), "the result differs from that of an undisturbed run")
    must_hold_nothing_else(folder, undisturbed)
