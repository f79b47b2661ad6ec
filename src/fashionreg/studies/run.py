"""A study's plan into records: what is missing is trained, in one process, one variant after another."""

import json
import shutil
import time
import traceback
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fashionreg.callbacks.progress import StudyProgress
from fashionreg.config import flat
from fashionreg.errors import UserError
from fashionreg.files import refuse_links, remove_orphans, whole_file
from fashionreg.runs.checkpoint import check_resume, read_checkpoint
from fashionreg.runs.record import Record, Seed
from fashionreg.runs.run import Run
from fashionreg.runs.schema import read_json
from fashionreg.studies.results import PLAN_FILE, StudyPlan, Variant, read_plan
from fashionreg.studies.run_files import finished_runs, has_key
from fashionreg.text import counted, in_percent
from fashionreg.training.fit import train

#: Marks the folder of a run as a study's own: the file that holds its `Mark`.
OWN = ".study"


@dataclass(frozen=True)
class Mark:
    """What the folder of a study's run is for.

    Attributes:
        key: `Variant.key`.
        seeds: The seeds that are trained side by side.
    """

    key: str
    seeds: list[Seed]


@dataclass(frozen=True)
class Missing:
    """What of a variant is still to be trained.

    Attributes:
        seeds: The seeds without a finished record.
        checkpoint: The last checkpoint of a run of these very seeds that was cut off.
        epochs: How many epochs it has finished.
    """

    seeds: list[int]
    checkpoint: Path | None = None
    epochs: int = 0


def run_study(plan: StudyPlan, folder: Path) -> dict[str, str]:
    """Train what has no record yet, for every variant and seed of the plan.

    Runs are laid out as those of `fashionreg fit`, `<variant>/version_<n>/`. One that was cut off is resumed from its
    last checkpoint, as a new version; its folder is taken away once all of its seeds have a finished record. What
    belongs to other configurations stays and is not touched.

    Args:
        plan: The study.
        folder: Where its results are or will be.

    Returns:
        For each variant that failed, what went wrong.

    Raises:
        UserError: If the folder belongs to another study, or another process is at work in it, or a variant's folder in
            it is a link.
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
        for variant in plan.variants:
            refuse_links(folder / variant.name, folder)
        remove_orphans(folder, "*/version_*")
        if (folder / PLAN_FILE).exists() and (other := read_plan(folder).name) != plan.name:
            raise UserError(f"{folder}: holds the study {other}; choose another --out for {plan.name}")
        with whole_file(folder / PLAN_FILE) as file:
            file.write(json.dumps(asdict(plan), indent=2).encode() + b"\n")
        todo = [(each, _missing(folder, each, plan.seeds)) for variant in plan.variants for each in variant.on_splits()]
        epochs = [_max_epochs(each) - missing.epochs for each, missing in todo if missing.seeds]
        progress = StudyProgress(plan.name, sum(epochs))
        steps = [_step_of(each) for each, missing in todo if missing.seeds]
        failures = {}
        try:
            for position, (variant, missing) in enumerate(todo, start=1):
                split = f", split {(position - 1) % plan.splits + 1} of {plan.splits}" * (plan.splits > 1)
                where = f"[{position}/{len(todo)}] {variant.name}{split}"
                progress.start(where)
                try:
                    if missing.checkpoint is not None:
                        progress.say(f"{where}: goes on after epoch {missing.epochs} ({missing.checkpoint})")
                    if missing.seeds:
                        alike = steps.count(_step_of(variant))
                        progress.say(f"{where}: {_train(plan, folder, variant, missing, alike, progress)}")
                    else:
                        progress.say(f"{where}: has all {len(plan.seeds)} seeds already")
                except UserError as error:
                    failures[variant.name] = str(error)
                    progress.say(f"{where}: failed: {error}")
                else:
                    _remove_replaced(folder, variant.name)
        finally:
            progress.close()
        return failures


def _missing(folder: Path, variant: Variant, seeds: Sequence[int]) -> Missing:
    """Find the seeds without a finished record, and where their training can go on."""
    finished = finished_runs(folder, variant.name)
    done = _seeds_of(finished.values(), variant.key)
    missing = [seed for seed in seeds if seed not in done]
    found = Missing(missing)
    for path, mark in _cut_off_runs(folder / variant.name, finished):
        if missing and mark == Mark(variant.key, missing):
            checkpoint = path / "checkpoints" / "last.ckpt"
            epochs = _epochs_of(checkpoint, variant, missing)
            found = max(found, Missing(missing, checkpoint, epochs), key=lambda each: each.epochs)
    return found


def _epochs_of(path: Path, variant: Variant, seeds: list[int]) -> int:
    """Return after how many epochs a variant can go on from a checkpoint; 0 if it cannot."""
    try:
        checkpoint = read_checkpoint(path)
        check_resume(checkpoint, str(path), variant.config | {"seeds": seeds}, _max_epochs(variant))
    except UserError:
        return 0
    return int(checkpoint["epoch"]) + 1


def _remove_replaced(folder: Path, variant: str) -> None:
    """Remove the runs that were cut off and all of whose seeds have a finished record of the same key by now."""
    finished = finished_runs(folder, variant)
    for path, mark in list(_cut_off_runs(folder / variant, finished)):
        if _seeds_of(finished.values(), mark.key).issuperset(mark.seeds):
            shutil.rmtree(path)


def _cut_off_runs(parent: Path, finished: Container[Path]) -> Iterator[tuple[Path, Mark]]:
    """Yield the study's own runs that are not finished; a fit of the same name may have its folder here too."""
    for path in sorted(parent.glob("version_*")):
        if path in finished or path.is_symlink() or not (path / OWN).is_file():
            continue
        try:
            yield path, read_json(path / OWN, Mark, "mark")
        except UserError:
            # killed before the mark was whole, or by an earlier version, which left it empty
            yield path, Mark("", [])


def _seeds_of(records: Iterable[Record], key: str) -> set[int]:
    """The seeds of the records that have this key."""
    return {seed for about in records if has_key(about, key) for seed in about.seeds}


def _max_epochs(variant: Variant) -> int:
    epochs: int = variant.config["trainer"]["max_epochs"]
    return epochs


def _step_of(variant: Variant) -> str:
    """Return what tells the training step of a variant from that of another: all options, whatever their rates are.

    A rate or a strength is a tensor in a compiled step, and 0 may be none at all.
    """
    options = {name: bool(value) if isinstance(value, float) else value for name, value in flat(variant.config).items()}
    # the same step on other images
    options.pop("data.init_args.split_seed", None)
    return json.dumps(options, sort_keys=True)


def _train(
    plan: StudyPlan, folder: Path, variant: Variant, missing: Missing, alike: int, progress: StudyProgress
) -> str:
    """Train the seeds of a variant side by side; returns what came out, in a line.

    Args:
        plan: The study.
        folder: Where its results are.
        variant: One of its variants.
        missing: What of it is to be trained.
        alike: How many variants have the same training step.
        progress: Is told of every epoch.

    Raises:
        UserError: If that is not possible, whatever the reason; the traceback of an unexpected error is in
            `<folder>/<variant>/failed.txt`.
    """
    own = {"name": variant.name, "seeds": missing.seeds, "trainer": {"default_root_dir": str(folder)}}
    started = time.monotonic()
    log = folder / variant.name / "failed.txt"
    about = {"study": plan.name, "key": variant.key}
    marker = OWN, json.dumps(asdict(Mark(variant.key, missing.seeds)))
    try:
        finished = train(
            [variant.config, own],
            observers=[progress],
            about=about,
            marker=marker,
            resume=missing.checkpoint,
            alike=alike,
        )
    except UserError:
        raise
    except Exception as error:
        with whole_file(log, within=folder) as file:
            file.write(traceback.format_exc().encode())
        raise UserError(f"{type(error).__name__}: {' '.join(str(error).split())} (see {log})") from error
    log.unlink(missing_ok=True)
    numbers = Run(finished.folder).history
    split = "val" if plan.split == "val" else "test"
    last = numbers[(numbers.epoch == numbers.epoch.max()) & (numbers.split == split) & (numbers.metric == "acc")]
    seconds = time.monotonic() - started
    return f"{split} accuracy {in_percent(last.value)} over {counted(len(missing.seeds), 'seed')} in {seconds:.0f} s"
