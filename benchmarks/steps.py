"""Where the time of a training step goes: a fit of three epochs, of which the last is profiled."""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile

import fashionreg
from benchmarks.fits import cut_lecture7
from benchmarks.measure import Row, say
from benchmarks.work import CONFIGS, Work
from fashionreg.callbacks.run_record import Recorded

#: What the profiler calls the kinds of work of a step: the first letters of the names of its events.
KINDS = {
    "products": ("aten::bmm", "aten::baddbmm", "aten::mm", "aten::addmm"),
    "kernels": ("graph_",),
    "fetching": ("aten::index_select",),
}

#: The epochs: in the first the step is compiled, the second is timed, the third is profiled.
TIMED, PROFILED = 1, 2


class StepProfile(Recorded):
    """Time the steps of one epoch and profile those of the next; no hook within a step, so that the step is the same.

    It writes `steps.csv`: microseconds a step in all, then those of each kind of `KINDS`.
    """

    table_name = "steps"

    def __init__(self) -> None:
        self._started = self._seconds = 0.0
        self._steps = 0
        self._profile = profile(activities=[ProfilerActivity.CPU])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the timer, or the profiler."""
        self._started = time.perf_counter()
        if trainer.current_epoch == PROFILED:
            self._profile.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop them: evaluation is not part of a step."""
        if trainer.current_epoch == TIMED:
            self._seconds = time.perf_counter() - self._started
            self._steps = int(trainer.num_training_batches)
        elif trainer.current_epoch == PROFILED:
            self._profile.stop()

    def table(self) -> str:
        """Return the microseconds, one a line."""
        events = self._profile.key_averages()
        of_kinds = [
            sum(event.self_cpu_time_total for event in events if event.key.startswith(names))
            for names in KINDS.values()
        ]
        return "".join(f"{value / self._steps}\n" for value in (1e6 * self._seconds, *of_kinds))


def microseconds(work: Work, config: str, seeds: int, *, compiled: bool = True) -> dict[str, float]:
    """Run a fit and return the microseconds of its training step, in all (`whole`) and of each kind of `KINDS`.

    The profiler sees the generated kernels only where they are compiled to be seen, which takes another compilation.

    Args:
        work: What the fit is to do.
        config: The file in `configs`, `bn` or `lecture7`.
        seeds: Number of replicas.
        compiled: For `--compile`.
    """
    with tempfile.TemporaryDirectory() as folder, torch._inductor.config.patch("cpp.enable_kernel_profile", True):
        overrides: dict[str, Any] = {
            "name": "benchmark",
            "compile": compiled,
            "trainer.accelerator": "cpu",
            "trainer.max_epochs": PROFILED + 1,
            "trainer.default_root_dir": folder,
            "trainer.callbacks+": [{"class_path": f"{StepProfile.__module__}.{StepProfile.__qualname__}"}],
        }
        if config == "lecture7":
            overrides["data.init_args.path"] = str(Path(folder, "lecture7.csv"))
            cut_lecture7(work, Path(folder, "lecture7.csv"))
        else:
            overrides["data.init_args.root"] = str(work.root.absolute())
            if work.first_images is not None:
                overrides["data.init_args.train_size"] = work.first_images
        with contextlib.redirect_stdout(io.StringIO()):
            trained = fashionreg.fit(CONFIGS / f"{config}.yaml", seeds, overrides)
        values = map(float, (trained.folder / "steps.csv").read_text().split())
        return {kind: round(value, 1) for kind, value in zip(("whole", *KINDS), values, strict=True)}


def measure_steps(work: Work) -> list[Row]:
    """Measure what a compiled step of the batch norm study's and of lecture 7's network consists of.

    Args:
        work: What the fits are to do.

    Returns:
        For each fit the numbers of the results file.
    """
    rows: list[Row] = []
    for config, seeds, workload in (
        ("bn", 1, "batch norm study"),
        ("bn", 10, "batch norm study"),
        ("lecture7", 10, "lecture 7"),
    ):
        row: Row = {"name": f"{config}-{seeds}", "label": f"{workload}, S = {seeds}"} | microseconds(
            work, config, seeds
        )
        say(f"a step of {row['name']}: {row['whole']:.0f} microseconds")
        rows.append(row)
    return rows
