"""Commands in processes of their own that need not import anything first: they are forked from one that has."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from fashionreg.cli import command

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fashionreg.studies.run", "fashionreg.studies.plan", "forked"])

#: What a command prints, in the working folder.
OUT, ERR = Path("stdout.txt"), Path("stderr.txt")


def _become(words):
    """Be `fashionreg` with these words, from its standard streams to its exit code."""
    for number, path in ((1, OUT), (2, ERR)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # what is started by `nohup`, or in the background, ignores signals, and its children with it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = ["fashionreg", *words]
    command()


def start(*words):
    """Start `fashionreg` with these words in the working folder."""
    for path in (OUT, ERR):
        path.unlink(missing_ok=True)
    process = CONTEXT.Process(target=_become, args=([str(word) for word in words],))
    process.start()
    return process


def wait_until(happens, process):
    """Wait until `happens()` is true; a process that ends before that has failed."""
    while not happens():
        assert process.is_alive() or happens(), ERR.read_text()
        time.sleep(0.01)


def start_and_wait(*words, until):
    """Start `fashionreg`, and wait until it has printed a line with `until`."""
    process = start(*words)
    wait_until(lambda: OUT.exists() and until in OUT.read_text(), process)
    return process


def end(process):
    """Wait for the end, and return exit code and standard error."""
    process.join(60)
    return process.exitcode, ERR.read_text()
