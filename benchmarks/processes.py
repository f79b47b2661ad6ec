"""What only a fresh process can show: peak memory and the time that a command takes to start."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONFIGS, Work
from benchmarks.measure import Row, say, summary

#: Ends the process when the first training step is called; the imports are those of the command, in another order.
FIRST_STEP = """
import os, sys
from fashionreg.models.classifier import Classifier
Classifier.training_step = lambda *arguments: os._exit(0)
from fashionreg.cli import main
sys.exit(main() or "there was no training step")
"""

#: Prints the peak resident memory of the process in KiB. Linux has it for each program (VmHWM); `ru_maxrss` would
#: include the memory of the parent process, of which this one is a copy until it starts the program.
PEAK_MEMORY = """
import resource, sys
{statement}
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print("peak", peak)
"""


@contextlib.contextmanager
def _workplace(work: Work) -> Iterator[dict[str, Any]]:
    """Yield arguments of `subprocess.run` for a process in an empty working folder, with data and compiled bytecode."""
    environment = os.environ | {"FASHIONREG_DATA": str(work.root.absolute())}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        yield {"cwd": folder, "env": environment, "check": True, "stdout": subprocess.PIPE, "text": True}


def _fit_arguments(work: Work, seeds: int) -> list[str]:
    arguments = ["fit", "--config", str(CONFIGS / "bn.yaml"), "--seeds", str(seeds), "--trainer.max_epochs", "1"]
    arguments += ["--trainer.accelerator", "cpu"]
    if work.train_size != work.all_images:
        arguments += ["--data.init_args.train_size", str(work.train_size)]
    return arguments


def startup_commands(work: Work) -> dict[str, tuple[str, list[str]]]:
    """Return for each name the command's label in the table and its arguments."""
    script = shutil.which("fashionreg", path=str(Path(sys.executable).parent))
    fashionreg = [script] if script else [sys.executable, "-m", "fashionreg"]
    importing = "import lightning.pytorch.cli, os; os._exit(0)"
    return {
        "pass": ("`python -c pass`", [sys.executable, "-c", "pass"]),
        "help": ("`fashionreg --help`", [*fashionreg, "--help"]),
        "import": ('`python -c "import lightning.pytorch.cli"`', [sys.executable, "-c", importing]),
        "first_step": (
            "`fashionreg fit --config configs/bn.yaml`, to the first training step",
            [sys.executable, "-c", FIRST_STEP, *_fit_arguments(work, 1)],
        ),
    }


def measure_startup(work: Work, repeats: int) -> list[Row]:
    """Start every command in turn, once unmeasured and then `repeats` times.

    Args:
        work: What the fit would do.
        repeats: How often.

    Returns:
        For each command the numbers of the results file: seconds from start to end.
    """
    commands = startup_commands(work)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for repeat in range(1 + repeats):
        for name, (_, arguments) in commands.items():
            with _workplace(work) as place:
                started = time.perf_counter()
                subprocess.run(arguments, **place)
                elapsed = time.perf_counter() - started
            if repeat:  # the first start of all reads the disk and may compile bytecode
                seconds[name].append(elapsed)
                say(f"repeat {repeat}/{repeats}   start of {name:<15}{elapsed:8.3f} s")
    return [{"name": name, "label": commands[name][0]} | summary(seconds[name]) for name in commands]


def peak_memory(work: Work, statement: str, arguments: Sequence[str] = ()) -> float:
    """Return the peak memory in GiB of a fresh process that runs a statement.

    Args:
        work: What a fit in it would do.
        statement: Python code.
        arguments: The process's command line.
    """
    with _workplace(work) as place:
        code = PEAK_MEMORY.format(statement=statement)
        out: str = subprocess.run([sys.executable, "-c", code, *arguments], **place).stdout
    return int(out.splitlines()[-1].removeprefix("peak ")) / 2**20


def measure_memory(work: Work, seeds: Sequence[int] = (1, 10, 50)) -> list[Row]:
    """Measure peak memory of one epoch of `fashionreg fit` on the CPU, and of its imports alone.

    Args:
        work: What the fits are to do.
        seeds: Numbers of replicas.

    Returns:
        For each the numbers of the results file.
    """
    rows: list[Row] = [
        {"name": "imports", "label": "the imports alone", "gib": peak_memory(work, "import fashionreg.training.cli")}
    ]
    statement = "from fashionreg.cli import main; assert main() == 0"
    for number in seeds:
        gib = peak_memory(work, statement, _fit_arguments(work, number))
        rows.append({"name": f"fit-{number}", "label": f"`fashionreg fit`, S = {number}", "gib": gib})
        say(f"peak memory of fit-{number}: {gib:.2f} GiB")
    return rows
