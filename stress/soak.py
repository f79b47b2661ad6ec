"""A thousand fits in one process: nothing grows, and nothing is lost."""

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from stress.process import start_server
from stress.promises import BrokenPromiseError, Case, must, must_be_whole
from stress.work import write_configs

#: Fits from one measurement of what the process holds to the next.
EVERY = 5

#: Measurements before the first that counts: caches fill during the first fits, by 2 MB in all.
WARM_UP = 3

#: Strings interned and dropped before the first fit. CPython interns attribute names and parts of paths in one table; a
#: fit adds some hundred, which leave holes when they are dropped, until the table is full and is built anew: after some
#: 680 fits it grew from 1.8 to 3.7 MB, once, since it then has room for three times the living. It gets there at once.
INTERNED = 200_000

#: KiB that a fit may add to the resident memory for good. In 100 fits the memory rose and fell by 0.1 MB after the
#: warm-up, without a trend; a leak of a single parameter tensor of these small networks would add more than the bound.
MEMORY_BOUND = 4

RECORDS = "Of many fits in one process every one leaves its version with the same whole record."
GROWTH = (
    "Many fits in one process leave no file descriptor and no thread open, and add less than "
    f"{MEMORY_BOUND} KiB each to its memory (median of the last tenth of the fits minus that of an early tenth)."
)


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Fit `cases` times in one process, a multiple of `EVERY` and twice the warm-up at least."""
    cases = max(2 * WARM_UP + 2, cases // EVERY) * EVERY
    write_configs(place, epochs=1)
    process = start_server().Process(target=_fit, args=(cases, place.absolute()))
    process.start()
    process.join()
    usage = json.loads((place / "usage.json").read_text()) if (place / "usage.json").exists() else []
    checks: dict[str, Callable[[], None]] = {
        RECORDS: lambda: _records(place, usage),
        GROWTH: lambda: must_not_grow(usage),
    }
    for promise, check in checks.items():
        case = Case(promise, again=f"--size {cases / 1000:g}", cases=usage[-1]["fits"] if usage else 0)
        try:
            must(process.exitcode == 0, f"exit code {process.exitcode} after {case.cases} fits")
            check()
        except (BrokenPromiseError, OSError) as error:
            case = case._replace(broken=str(error))
        yield case


def _fit(cases: int, place: Path) -> None:
    """What the process does: fit, and note after every `EVERY`th fit what the process holds."""
    os.chdir(place)
    from fashionreg.cli import main

    for number in range(INTERNED):
        sys.intern(f"interned {number}")
    usage = []
    with open("output.txt", "w") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        for number in range(1, cases + 1):
            if code := main(["fit", "--config", "config.yaml"]):
                raise SystemExit(code)
            if number % EVERY == 0:
                gc.collect()  # as long as a fit
                usage.append({"fits": number} | _held())
                Path("usage.json").write_text(json.dumps(usage))


def _held() -> dict[str, int]:
    """Resident memory in KiB, open file descriptors and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def _records(place: Path, usage: list[dict[str, int]]) -> None:
    must_be_whole(place / "logs")
    records = {path.parent.name: path.read_bytes() for path in (place / "logs/small").glob("version_*/record.csv")}
    fits = usage[-1]["fits"]
    must(set(records) == {f"version_{number}" for number in range(fits)}, f"{len(records)} records of {fits} fits")
    must(len(set(records.values())) == 1, f"{len(set(records.values()))} different records")


def must_not_grow(usage: list[dict[str, int]]) -> None:
    """What the process holds does not grow from an early tenth of the measurements to the last tenth."""
    tenth = max(1, len(usage) // 10)
    start = max(WARM_UP, tenth)
    early, late = usage[start : start + tenth], usage[-tenth:]
    for what in ("descriptors", "threads"):
        most = [max(each[what] for each in part) for part in (early, late)]
        must(most[1] <= most[0], f"{what}: {most[0]} after {early[-1]['fits']} fits, {most[1]} in the end")
    memory, fits = ([median(each[what] for each in part) for part in (early, late)] for what in ("memory", "fits"))
    each = (memory[1] - memory[0]) / (fits[1] - fits[0])
    must(each < MEMORY_BOUND, f"memory: {each:.0f} KiB more with each fit, {memory[0]:.0f} to {memory[1]:.0f} KiB")
