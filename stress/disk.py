"""A disk that is full before the work is done: a small tmpfs, or a limit on the size of files."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from stress import process
from stress.disturb import check, disturb_all
from stress.promises import Case, must, must_be_one_line, must_be_whole
from stress.work import Work

PROMISE = (
    "When the disk is full, `{work}` says so in one line and exits with 1, every file that is there is whole, and once "
    "there is space going on ends with the numbers of an undisturbed run."
)


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Run every kind of work on a disk that has room for a part of it."""
    shares = {"fit": 0.3, "study": 0.2, "report": 0.2, "predict": 0.1, "export": 0.1, "data subset": 0.1}
    return disturb_all(shares, PROMISE, _fill, cases, seed, only, place)


def _fill(work: Work, folder: Path, undisturbed: Path, seconds: float, random: random.Random) -> None:
    sizes = {path.relative_to(undisturbed): path.stat().st_size for path in undisturbed.rglob("*") if path.is_file()}
    before = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    output = sum(_blocks(size) for path, size in sizes.items() if path not in before)
    room = sum(map(_blocks, before.values())) + int(random.random() * output)
    disk = folder.with_name(f"{folder.name}-disk")
    disk.mkdir()
    if not _mount(disk, f"size={room + 4096}"):
        largest = max(size for path, size in sizes.items() if path not in before)
        _must_say_so(process.run(work.words, folder, largest_file=int(random.random() * largest)))
        return
    try:
        place = disk / "place"
        work.prepare(place)
        _must_say_so(process.run(work.words, place))
        must_be_whole(place)
        _mount(disk, f"remount,size={room + 10 * output + 2**24}")
        check(work, place, undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()


def _must_say_so(ended: process.Ended) -> None:
    must(ended.code in (0, 1), f"exit code {ended.code}: {ended.err[-1500:]}")
    if ended.code == 1:
        must_be_one_line(ended.err)
    else:
        must(not ended.err, f"exit code 0 and standard error: {ended.err[-1500:]}")


def _blocks(size: int) -> int:
    """Bytes that a file takes on a disk of 4 KiB blocks."""
    return -(-size // 4096) * 4096


def _mount(folder: Path, options: str) -> bool:
    """Whether a tmpfs could be mounted: that takes root."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
