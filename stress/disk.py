"""A disk that is full before the work is done: a small tmpfs where one can be mounted, and a limit on files' size.

The two fail differently. On a full tmpfs every file that grows fails, the smallest too; under the limit only files that
grow beyond it, while new ones can still be made, as with some quotas. Mounting takes root; elsewhere the limit alone is
tried, and the promises on the page say which was.
"""

import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stress import process
from stress.disturb import disturb_all
from stress.promises import Case, must, must_be_one_line, must_be_whole
from stress.work import Work

OUTCOME = (
    "`{work}` says so in one line and exits with 1 (TensorBoard's curves alone are given up, with one warning), every "
    "file that is there is whole, and once there is space going on ends with the numbers of an undisturbed run."
)
FULL = f"When the disk is full (a small tmpfs), {OUTCOME}"
LIMIT = f"When a file cannot grow further (a limit on the size of files), {OUTCOME}"


def run(cases: int, seed: int, only: int | None, place: Path) -> Iterator[Case]:
    """Run every kind of work with too little space, half of the cases in each way."""
    shares = {"fit": 0.3, "study": 0.2, "report": 0.2, "predict": 0.1, "export": 0.1, "data subset": 0.1}
    ways = {FULL: _on_full_disk} if _can_mount() else {}
    return disturb_all(shares, ways | {LIMIT: _with_limited_files}, cases, seed, only, place)


@contextmanager
def _on_full_disk(work: Work, folder: Path, undisturbed: Path, seconds: float, random: random.Random) -> Iterator[Path]:
    output = sum(_written(undisturbed).values())
    room = sum(_sizes(folder).values()) + int(random.random() * output)
    disk = folder.with_name(f"{folder.name}-disk")
    disk.mkdir()
    must(_mount(disk, f"size={room + 4096}"), f"{disk}: no tmpfs could be mounted")
    try:
        place = disk / "place"
        work.prepare(place)
        must_say_so(process.run(work.arguments, place))
        must_be_whole(place)
        _mount(disk, f"remount,size={room + 10 * output + 2**24}")
        yield place
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()


@contextmanager
def _with_limited_files(
    work: Work, folder: Path, undisturbed: Path, seconds: float, random: random.Random
) -> Iterator[Path]:
    largest = max(_written(undisturbed).values())
    must_say_so(process.run(work.arguments, folder, largest_file=int(random.random() * largest)))
    yield folder


def must_say_so(ended: process.Ended) -> None:
    """The command succeeded, or said in one line why not; before that it may have given up TensorBoard's curves."""
    must(ended.code in (0, 1), f"exit code {ended.code}: {ended.err[-1500:]}")
    lines = ended.err.splitlines(keepends=True)
    curves = [line for line in lines if line.startswith("fashionreg: warning: ") and "no more curves" in line]
    rest = "".join(line for line in lines if line not in curves)
    if ended.code == 1:
        must_be_one_line(rest)
    else:
        must(not rest, f"exit code 0 and standard error: {ended.err[-1500:]}")


def _sizes(folder: Path) -> dict[Path, int]:
    """For each file below `folder`, by its relative path, the bytes that it takes on a disk of 4 KiB blocks."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): -(-path.stat().st_size // 4096) * 4096 for path in files}


def _written(undisturbed: Path) -> dict[Path, int]:
    """The sizes of those files that undisturbed work has made or replaced."""
    # the work starts after `write_configs`, and other files that were prepared are older copies
    started = (undisturbed / "study.yaml").stat().st_mtime_ns
    sizes = _sizes(undisturbed)
    return {path: size for path, size in sizes.items() if (undisturbed / path).stat().st_mtime_ns > started}


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = _mount(Path(folder), "size=4096")
        if mounted:
            subprocess.run(["umount", folder], check=True)
    return mounted


def _mount(folder: Path, options: str) -> bool:
    """Mount a tmpfs; return whether that could be done, which takes root."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
