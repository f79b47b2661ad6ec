"""Commands of fashionreg as processes that can be killed, starved and run side by side.

Importing Lightning takes seconds. A server that has imported it forks a process for every command, so that a kill
falls into the command's work and not into its imports.
"""

import itertools
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

#: What every command needs sooner or later.
PRELOADED = ["fashionreg.training.fit", "fashionreg.studies.run", "fashionreg.studies.report", "fashionreg.runs.export"]
PRELOADED += ["fashionreg.runs.prediction", "fashionreg.runs.evaluation", "fashionreg.data.csv_files"]

#: Seconds after which a command counts as hanging.
PATIENCE = 120.0


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: Its exit code; that of a signal is negative.
        out: Its standard output.
        err: Its standard error.
        seconds: From start to end.
    """

    code: int
    out: str
    err: str
    seconds: float


def start_server() -> ForkServerContext:
    """Start the server that forks; it ends with this process."""
    # two processes of one thread each are what two cores can do; torch must not have started threads before a fork
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Command:
    """A command of fashionreg that runs in a process of its own.

    Args:
        arguments: The arguments of `fashionreg`.
        place: Its working folder.
        largest_file: Bytes that a file of this process can have, in place of a full disk.
    """

    #: Where the output of commands goes: beside `place`, since that may be full.
    output = Path("output")
    _numbers = itertools.count()

    def __init__(self, arguments: Sequence[str], place: Path, largest_file: int | None = None) -> None:
        number = next(self._numbers)
        self._texts = [(self.output / f"{number}.{stream}").absolute() for stream in ("out", "err")]
        self.output.mkdir(parents=True, exist_ok=True)
        self._process = start_server().Process(
            target=_run, args=([str(word) for word in arguments], place.absolute(), self._texts, largest_file)
        )
        self._started = time.monotonic()
        self._process.start()

    def kill(self) -> Ended:
        """Send SIGKILL."""
        self._process.kill()
        return self.wait()

    def wait(self) -> Ended:
        """Wait until the command ends; kill it if it hangs."""
        self._process.join(PATIENCE)
        hangs = self._process.is_alive()
        if hangs:
            self._process.kill()
            self._process.join()
        out, err = self._read()
        for path in self._texts:
            path.unlink(missing_ok=True)
        assert self._process.exitcode is not None
        err += f"hung for {PATIENCE} s\n" if hangs else ""
        return Ended(self._process.exitcode, out, err, time.monotonic() - self._started)

    def _read(self) -> list[str]:
        return [path.read_text(errors="replace") if path.exists() else "" for path in self._texts]


def run(arguments: Sequence[str], place: Path, largest_file: int | None = None) -> Ended:
    """Run a command to its end."""
    return Command(arguments, place, largest_file).wait()


def _run(arguments: list[str], place: Path, texts: list[Path], largest_file: int | None) -> None:
    """What the process does."""
    for stream, path in enumerate(texts, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.chdir(place)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    from fashionreg.cli import main

    sys.exit(main(arguments))
