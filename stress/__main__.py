"""`python -m stress`: break what can be broken, count what was broken, write `docs/reliability.md`."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from stress import concurrency, disk, kills, readers, reliability, soak
from stress.process import Command
from stress.promises import Case, Part

PARTS = {
    "readers": Part("readers: damaged and strange files", 10_000, readers.run),
    "kills": Part("kills: SIGKILL at random moments", 100, kills.run),
    "disk": Part("disk: full before the work is done", 60, disk.run),
    "concurrency": Part("concurrency: many processes at once", 3, concurrency.run),
    "soak": Part("soak: many fits in one process", 1_000, soak.run),
}


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    names = ", ".join(f"{name} ({part.cases:,})" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(prog="python -m stress", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all by default: {names}")
    parser.add_argument("--size", type=float, default=1.0, help="share of the cases, for a trial (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random (default: 0)")
    parser.add_argument("--case", type=int, help="of kills, disk and concurrency the only case that is run")
    parser.add_argument("--resume", action="store_true", help="leave out what this commit has done already")
    parser.add_argument(
        "--out", type=Path, help="folder for reliability.md and .json; by default docs, and none for a trial"
    )
    options = parser.parse_args(args)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.size <= 0:
        parser.error("--size must be above 0")
    if options.out is None and options.size >= 1 and options.case is None:
        options.out = reliability.DOCS
    return options


def main(args: Sequence[str] | None = None) -> int:
    """Run the parts.

    Args:
        args: The options; those of the process by default.

    Returns:
        The exit code: 1 if a promise was broken.
    """
    options = parse(args)
    commit = reliability.commit()
    results = reliability.read(options.out) if options.out else {}
    settings = {"commit": commit, "size": options.size, "seed": options.seed}
    broken = 0
    for name in options.parts or PARTS:
        if options.resume and name in results and settings.items() <= results[name].items():
            print(f"{name}: done already", flush=True)
        else:
            results[name] = settings | run_part(name, options)
            if options.out:
                # in the order of the program, whatever was run first
                results = {name: results[name] for name in PARTS if name in results}
                reliability.write(results, options.out)
        broken += sum(row["broken"] for row in results[name]["promises"])
    print(f"{broken} cases are broken" if broken else "no promise was broken")
    return int(broken > 0)


def run_part(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Run one part; say what was broken and how to see it again."""
    part = PARTS[name]
    started = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix=f"stress-{name}-"))
    Command.output = place / "output"
    cases: list[Case] = []
    for case in part.run(max(1, round(part.cases * options.size)), options.seed, options.case, place):
        cases.append(case)
        if case.broken is not None:
            again = case.again if case.again.startswith("STRESS") else f"python -m stress {name} {case.again}"
            print(f"{name}: BROKEN: {case.promise}\n  {case.broken}\n  again: {again}", flush=True)
    seconds = time.monotonic() - started
    rows = reliability.count(cases)
    if all(row["broken"] == 0 for row in rows):
        shutil.rmtree(place)
    else:
        print(f"{name}: what is left of broken cases: {place}")
    total, broken = (sum(row[column] for row in rows) for column in ("cases", "broken"))
    print(f"{name}: {total:,} cases, {broken} broken, {seconds:.0f} s", flush=True)
    facts = {"seconds": round(seconds, 1), "date": date.today().isoformat(), "machine": reliability.machine()}
    return {"what": part.what} | facts | {"promises": rows}


if __name__ == "__main__":
    sys.exit(main())
