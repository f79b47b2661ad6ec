"""What only a fresh process can show: how long a command takes to start, to compile, and in all; and peak memory."""

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

from benchmarks.fits import cut_lecture7
from benchmarks.measure import Row, say, summary
from benchmarks.work import CONFIGS, Work

#: Ends the process when the first training step is called; the imports are those of the command, in another order.
FIRST_STEP = """
import os, sys
from fashionreg.models.classifier import Classifier
Classifier.training_step = lambda *arguments: os._exit(0)
from fashionreg.cli import main
sys.exit(main() or "there was no training step")
"""

#: Prints what the clock says at the end of an epoch, which is to have a few steps and no evaluation.
END_OF_STEPS = """
import sys, time
from fashionreg.callbacks.run_record import RunRecord
RunRecord.on_train_epoch_end = lambda *arguments: print("clock", time.time(), flush=True)
from fashionreg.cli import main
main()
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
    """Yield arguments of `subprocess.run` for a process in an empty working folder, with data and compiled bytecode.

    Its cache of compiled steps is empty too.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"FASHIONREG_DATA": str(work.root.absolute()), "TORCHINDUCTOR_CACHE_DIR": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        yield {"cwd": folder, "env": environment, "check": True, "stdout": subprocess.PIPE, "text": True}


def _trial(work: Work) -> list[str]:
    """Return the options of a trial with fewer images; none otherwise."""
    return [] if work.first_images is None else ["--data.init_args.train_size", str(work.first_images)]


def _fit_arguments(work: Work, seeds: int, compiled: bool = False) -> list[str]:
    arguments = ["fit", "--config", str(CONFIGS / "bn.yaml"), "--seeds", str(seeds), "--trainer.max_epochs", "1"]
    arguments += ["--trainer.accelerator", "cpu", "--compile", str(compiled).lower()]
    return arguments + _trial(work)


def _fashionreg() -> list[str]:
    script = shutil.which("fashionreg", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "fashionreg"]


def startup_commands(work: Work) -> dict[str, tuple[str, list[str]]]:
    """Return for each name the command's label in the table and its arguments."""
    importing = "import lightning.pytorch.cli, os; os._exit(0)"
    return {
        "pass": ("`python -c pass`", [sys.executable, "-c", "pass"]),
        "help": ("`fashionreg --help`", [*_fashionreg(), "--help"]),
        "import": ('`python -c "import lightning.pytorch.cli"`', [sys.executable, "-c", importing]),
        "first_step": (
            "`fashionreg fit --config configs/bn.yaml --compile false`, to the first training step",
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


def measure_memory(work: Work) -> list[Row]:
    """Measure peak memory of one epoch of `fashionreg fit` on the CPU, and of its imports alone.

    Args:
        work: What the fits are to do.

    Returns:
        For each the numbers of the results file.
    """
    rows: list[Row] = [
        {"name": "imports", "label": "the imports alone", "gib": peak_memory(work, "import fashionreg.training.cli")}
    ]
    statement = "from fashionreg.cli import main; assert main() == 0"
    for seeds, compiled in ((1, False), (10, False), (50, False), (10, True)):
        gib = peak_memory(work, statement, _fit_arguments(work, seeds, compiled))
        name = f"fit-{seeds}-compiled" if compiled else f"fit-{seeds}"
        label = f"`fashionreg fit`, S = {seeds}, {'compiled' if compiled else 'eager'}"
        rows.append({"name": name, "label": label, "gib": gib})
        say(f"peak memory of {name}: {gib:.2f} GiB")
    return rows


def measure_compilation(work: Work) -> list[Row]:
    """Measure how much later the first three steps of a fit end because the second is compiled, once for each.

    Args:
        work: What the fits are to do.

    Returns:
        For each number of replicas: seconds from the start of the process to the end of these steps, eager, compiled
        with an empty cache (cold), and compiled with what that left there (warm).
    """
    rows: list[Row] = []
    for seeds in (1, 10):
        with _workplace(work) as place:
            seconds = {}
            for name in ("eager", "cold", "warm"):
                arguments = [*_fit_arguments(work, seeds, name != "eager"), "--trainer.max_steps", "3"]
                command = [sys.executable, "-c", END_OF_STEPS, *arguments, "--trainer.limit_val_batches", "0"]
                started = time.time()
                lines = subprocess.run(command, **place).stdout.splitlines()
                (ended,) = (float(line.split()[1]) for line in lines if line.startswith("clock "))
                seconds[name] = round(ended - started, 3)
                say(f"first steps of fit-{seeds}, {name}: {seconds[name]:.1f} s after the start")
        rows.append({"name": f"fit-{seeds}", "label": f"`fashionreg fit`, S = {seeds}"} | seconds)
    return rows


def measure_studies(work: Work) -> list[Row]:
    """Run whole studies with ten seeds, eager and as `--compile auto` decides, each once and in a fresh process.

    Args:
        work: What they are to do; a trial's are shorter.

    Returns:
        For each study the wall seconds of the command.
    """
    shorter = {"lecture7": ["--trainer.max_epochs", "2"], "batch_norm": _trial(work)}
    rows: list[Row] = []
    for name, options in shorter.items():
        seconds = {}
        for compiling in ("false", "auto"):
            with _workplace(work) as place:
                cut_lecture7(work, Path(place["cwd"], "data", "fmnist_small.csv"))
                command = [*_fashionreg(), "study", str(CONFIGS / "studies" / f"{name}.yaml"), "--seeds", "10"]
                command += ["--trainer.accelerator", "cpu", "--compile", compiling]
                started = time.perf_counter()
                subprocess.run(command + (options if work.first_images else []), **place)
                seconds[compiling] = round(time.perf_counter() - started, 2)
            say(f"fashionreg study {name}, --compile {compiling}: {seconds[compiling]:.0f} s")
        rows.append({"name": name, "label": f"`fashionreg study configs/studies/{name}.yaml`, S = 10"} | seconds)
    return rows
