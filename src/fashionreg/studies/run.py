"""A study's plan into records: what is missing is trained, in one process, one variant after another."""

import json
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from fashionreg.callbacks.progress import StudyProgress
from fashionreg.errors import UserError
from fashionreg.files import remove_orphans, whole_file
from fashionreg.studies.results import PLAN_FILE, StudyPlan, Variant, finished_runs, has_key, read_plan
from fashionreg.text import in_percent
from fashionreg.training.fit import train

#: Marks the folder of a run as a study's own.
OWN = ".study"


def run_study(plan: StudyPlan, folder: Path) -> dict[str, str]:
    """Train what has no record yet, for every variant and seed of the plan.

    Runs are laid out as those of `fashionreg fit`, `<variant>/version_<n>/`; one that was cut off leaves no finished
    record and is taken away by the next call. Records of other configurations stay and are not touched.

    Args:
        plan: The study.
        folder: Where its results are or will be.

    Returns:
        For each variant that failed, what went wrong.

    Raises:
        UserError: If the folder belongs to another study, or another process is at work in it.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # `with lock` on top of this would acquire it a second time, and release it once
        held = lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder}: another process runs this study; wait for it, or choose another --out") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    with held:
        remove_orphans(folder, "*/version_*")
        if (folder / PLAN_FILE).exists() and (other := read_plan(folder).name) != plan.name:
            raise UserError(f"{folder}: holds the study {other}; choose another --out for {plan.name}")
        with whole_file(folder / PLAN_FILE) as file:
            file.write(json.dumps(asdict(plan), indent=2).encode() + b"\n")
        missing = {variant.name: _missing_seeds(folder, variant, plan.seeds) for variant in plan.variants}
        epochs = sum(variant.config["trainer"]["max_epochs"] for variant in plan.variants if missing[variant.name])
        progress = StudyProgress(plan.name, epochs)
        failures = {}
        try:
            for position, variant in enumerate(plan.variants, start=1):
                where = f"[{position}/{len(plan.variants)}] {variant.name}"
                if not (seeds := missing[variant.name]):
                    progress.say(f"{where}: has all {len(plan.seeds)} seeds already")
                    continue
                progress.start(where)
                try:
                    progress.say(f"{where}: {_train(plan, folder, variant, seeds, progress)}")
                except UserError as error:
                    failures[variant.name] = str(error)
                    progress.say(f"{where}: failed: {error}")
        finally:
            progress.close()
        return failures


def _missing_seeds(folder: Path, variant: Variant, seeds: Sequence[int]) -> list[int]:
    """The seeds without a finished record; what cut-off runs have left is taken away."""
    finished = finished_runs(folder, variant.name)
    for path in (folder / variant.name).glob("version_*"):
        # a fit of the same name may have its folder here; leave it
        if path not in finished and ((path / OWN).exists() or not any(path.iterdir())):
            shutil.rmtree(path)
    done = {seed for about in finished.values() if has_key(about, variant.key) for seed in about.seeds}
    return [seed for seed in seeds if seed not in done]


def _train(plan: StudyPlan, folder: Path, variant: Variant, seeds: list[int], progress: StudyProgress) -> str:
    """Train the seeds of a variant side by side; returns what came out, in a line.

    Raises:
        UserError: If that is not possible, whatever the reason; the traceback of an unexpected error is in
            `<folder>/<variant>/failed.txt`.
    """
    own = {"name": variant.name, "seeds": seeds, "trainer": {"default_root_dir": str(folder)}}
    started = time.monotonic()
    log = folder / variant.name / "failed.txt"
    about = {"study": plan.name, "key": variant.key}
    try:
        finished = train([variant.config, own], observers=[progress], about=about, marker=OWN)
    except UserError:
        raise
    except Exception as error:
        with whole_file(log) as file:
            file.write(traceback.format_exc().encode())
        raise UserError(f"{type(error).__name__}: {' '.join(str(error).split())} (see {log})") from error
    log.unlink(missing_ok=True)
    accuracy = finished.model.results()["test"]["acc"]
    return f"test accuracy {in_percent(accuracy)} over {len(seeds)} seeds in {time.monotonic() - started:.0f} s"
