"""What was tried and what was broken: kept as JSON part by part, and written as a page."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stress.promises import Case

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"

INTRODUCTION = """\
# Reliability

What holds when files are damaged, processes are killed, disks are full and commands run at once: each promise, in how
many cases it was tried, and in how many it was broken. This page is written by `make stress`, which says how to see a
broken case again and ends with exit code 1 if there is one. `python -m stress --help` tells how to run a part of it.
"""


def commit() -> str:
    """The commit of the checkout, with `-dirty` if it has changes besides this module's results."""

    def git(*rest: str) -> str:
        return subprocess.run(["git", "-C", str(CHECKOUT), *rest], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/reliability.*")
        return git("rev-parse", "--short=12", "HEAD").strip() + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Processor, cores and memory."""
    from benchmarks.measure import processor  # torch: seconds, after --help

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def count(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """For each promise in turn the number of cases and of those in which it was broken."""
    rows: dict[str, dict[str, Any]] = {}
    for case in cases:
        row = rows.setdefault(case.promise, {"promise": case.promise, "cases": 0, "broken": 0})
        row["cases"] += case.cases
        row["broken"] += case.broken is not None
    return list(rows.values())


def read(folder: Path) -> dict[str, Any]:
    """The results by part, as `write` has written them; empty if it has not."""
    path = folder / "reliability.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return results


def write(results: dict[str, Any], folder: Path) -> None:
    """Write `reliability.json` and `reliability.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reliability.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "reliability.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """The page: a table of promises, and when and where each part was tried."""
    from benchmarks.report import markdown

    rows = [
        (row["promise"], f"{row['cases']:,}", f"**{row['broken']}**" if row["broken"] else "0")
        for part in results.values()
        for row in part["promises"]
    ]
    parts = [
        (part["what"], f"{part['seconds']:.0f}", part["date"], part["machine"], part["commit"])
        for part in results.values()
    ]
    tables = [
        markdown(("promise", "cases", "broken"), rows),
        markdown(("part", "seconds", "date", "machine", "commit"), parts),
    ]
    return "\n".join([INTRODUCTION, *(f"{table}\n" for table in tables)])
