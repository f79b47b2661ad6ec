"""Finished runs of `fashionreg fit`, as the results of a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from fashionreg.errors import UserError, shortened
from fashionreg.runs.record import METRICS, SPLITS, Metric, Record, Split, read_about
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.estimand import Estimand
from fashionreg.studies.results import PLAN_FILE, ChosenRun, StudyPlan, StudyResults, Variant, read_runs
from fashionreg.studies.results_table import NAME, is_name
from fashionreg.text import named_seeds

#: Where `fashionreg fit` leaves runs, each in NAME/version_N.
LOGS = Path("logs")


def find_run(word: str) -> Path:
    """Return the folder of a run.

    Args:
        word: That folder, one with versions of a run, of which the newest is taken, or the name of a run in `LOGS`.

    Raises:
        UserError: If there is none.
    """
    places = [place for place in (Path(word), LOGS / word) if place.is_dir()]
    for place in places:
        if (place / PLAN_FILE).exists():
            raise UserError(f"{place}: is the folder of a study; fashionreg report makes its report")
        if (place / "record.json").exists():
            return place
        numbers = [path.name.removeprefix("version_") for path in place.glob("version_*")]
        if versions := [int(number) for number in numbers if number.isdecimal()]:
            return place / f"version_{max(versions)}"
    if places:
        raise UserError(f"{places[0]}: holds no run of fashionreg fit")
    raise UserError(f"{shortened(word, 300)}: is neither the folder of a run nor the name of one in {LOGS}")


def read_finished(folder: Path) -> Record:
    """Read what `record.json` of a finished run says.

    Raises:
        UserError: If the run is not finished, or its record is damaged.
    """
    if not (folder / "record.json").exists():
        raise UserError(f"{folder}: holds no record of a finished run")
    about = read_about(folder)
    if about.status != "finished":
        raise UserError(f"{folder}: is not the folder of a finished run: its status is {about.status}")
    return about


def results_of_runs(
    words: Sequence[str],
    reference: str | None,
    *,
    split: str | None = None,
    metric: str | None = None,
    relevant: float | None = None,
    estimand: Estimand,
    options: Sequence[str] = (),
) -> StudyResults:
    """Read finished runs as the variants of a study, on the seeds that all of them have.

    A variant is called as its run, or, where two runs have the same name, as its folder.

    Args:
        words: The runs, two or more, each as `find_run` takes it.
        reference: The name of the run that the others are compared with; None for the first.
        split: On which metrics are taken; None for `test`.
        metric: The metric of learning curves, and what is tested; None for `acc`.
        relevant: The smallest difference of it that matters, in points, for a loss in nats; None where nobody said.
        estimand: What of a learning curve counts.
        options: The arguments of the command line, for the report to show.

    Raises:
        UserError: If a run is missing or not finished, the runs have no seeds in common, or one has not measured what
            is compared.
    """
    split, metric = split or "test", metric or "acc"
    for option, value, allowed in (("split", split, SPLITS), ("metric", metric, METRICS)):
        if value not in allowed:
            raise UserError(f"{option}: there is no {value}; runs have {', '.join(allowed)}")
    folders = [find_run(word) for word in words]
    if twice := [folder for position, folder in enumerate(folders) if folder in folders[:position]]:
        raise UserError(f"{twice[0]}: appears twice")
    abouts = {folder: read_finished(folder) for folder in folders}
    if strange := [folder for folder, about in abouts.items() if not is_name(about.name)]:
        raise UserError(f"{strange[0] / 'record.json'}: name: {NAME}, got {shortened(abouts[strange[0]].name)}")
    called = [about.name for about in abouts.values()]
    names = {
        folder: str(folder) if called.count(each) > 1 else each for folder, each in zip(abouts, called, strict=True)
    }
    shared = sorted(set.intersection(*(set(about.seeds) for about in abouts.values())))
    if not shared:
        seeds = "; ".join(f"{names[folder]} has {named_seeds(about.seeds)}" for folder, about in abouts.items())
        raise UserError(f"seeds: the runs have none in common, and pairs are made by seed: {seeds}")
    first = names[folders[0]] if reference is None else reference
    if first not in names.values():
        raise UserError(f"reference: there is no run {first!r}; there are {', '.join(map(repr, names.values()))}")
    others = [name for name in names.values() if name != first]
    try:
        plan = StudyPlan(
            f"{' and '.join(others)} against {first}",
            "",
            [Variant(names[folder], "", {}, about.config) for folder, about in abouts.items()],
            first,
            shared,
            cast(Metric, metric),
            cast(Split, split),
            [],
            str(folders[0]),
            [*map(str, folders[1:]), *options],
            estimand,
            relevant=relevant,
        )
    except SchemaError as error:
        raise UserError(f"{names[folders[0]]} and others: {error}") from None
    results = read_runs(
        plan, [ChosenRun(names[path], path, about, shared) for path, about in abouts.items()], "compare"
    )
    measured = results.table[(results.table.split == split) & (results.table.metric == metric)]
    for folder in folders:
        if not (measured.variant == names[folder]).any():
            raise UserError(f"{folder}: has no {metric} on {split}")
    return results
