"""The end of a report: how its numbers were come by."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fashionreg.config import flat
from fashionreg.runs.record import Record
from fashionreg.studies.findings import Findings
from fashionreg.studies.page import Block, Code, Items, Section, Table, Text
from fashionreg.studies.verdict import NOTHING, notes, seeds_in_words

#: Options that say where a run was, not what it computed; the methods do not list them as differences.
PLACES = ("name", "trainer.default_root_dir", "seeds", "threads")


def methods(found: Findings) -> list[Block]:
    """Design, tests, definitions, data, configurations, circumstances, and the command that makes it again."""
    plan, comparisons = found.plan, len(found.comparisons)
    facts = [
        f"{len(plan.variants)} variants, {seeds_in_words(plan.seeds)} each, {found.epochs} epochs. A seed fixes "
        "initial weights, data order and dropout masks; variants are compared seed by seed.",
        "Intervals are about other seeds on the same images, not about other images. Of a mean: Student's t. Of a "
        "difference: BCa bootstrap, 9,999 resamples, for each comparison on its own (with ten seeds it covers 90 to "
        "93% rather than 95%). The corrected tests decide.",
        f"Tests: paired t test; Wilcoxon's signed-rank test as a check; both corrected by Holm's method over "
        f"{comparisons} comparison{'s' * (comparisons != 1)}. The effect shown with 80% "
        "probability is that of the t test at 5% divided by their number.",
        "Generalization gap: train accuracy minus test accuracy after the last epoch. Calibration error: expected "
        "calibration error in 15 bins (Naeini et al. 2015). Epochs to a target are interpolated between epochs. Wall "
        "time a seed is that of the run divided by its seeds, evaluation and callbacks included.",
        *notes(found),
    ]
    blocks: list[Block] = [Items(facts), *_data(found), _configurations(found), *_circumstances(found)]
    seeds = str(len(plan.seeds)) if plan.seeds == list(range(len(plan.seeds))) else json.dumps(plan.seeds)
    command = ["fashionreg", "study", plan.source, "--seeds", seeds, *plan.options]
    return [*blocks, Section("Again", [Code(shlex.join(command))])]


def _data(found: Findings) -> list[Block]:
    known = {json.dumps(asdict(run.data), sort_keys=True): run.data for run in found.results.runs}
    rows = [
        [data.source, split, f"{size:,}", data.fingerprints[split][:16]]
        for data in known.values()
        for split, size in data.sizes.items()
    ]
    return [Section("Data", [Table("Images", ["source", "split", "images", "fingerprint"], rows)])]


def _configurations(found: Findings) -> Block:
    """What differs between variants; what is the same is in each run's config.yaml."""
    configs = {variant.name: flat(variant.config) for variant in found.plan.variants}
    names = list(dict.fromkeys(name for config in configs.values() for name in config if name not in PLACES))
    differing = [name for name in names if len({json.dumps(config.get(name)) for config in configs.values()}) > 1]
    rows = [[name, *(_value(config.get(name)) for config in configs.values())] for name in differing]
    if not rows:
        return Section("Configurations", [Text("There is one configuration; it is in config.yaml of its run.")])
    caption = "Options that differ; the whole configuration of a run is in its config.yaml"
    return Section("Configurations", [Table(caption, ["option", *configs], rows)])


def _value(value: Any) -> str:
    return NOTHING if value is None else value.rpartition(".")[2] if isinstance(value, str) else json.dumps(value)


def _circumstances(found: Findings) -> list[Block]:
    runs = found.results.runs

    def all_of(pick: Callable[[Record], Any]) -> str:
        return "; ".join(dict.fromkeys(str(pick(run)) for run in runs))

    seconds = sum(sum(run.epoch_seconds) for run in runs)
    rows = [
        ["versions", all_of(lambda run: ", ".join(f"{name} {number}" for name, number in run.versions.items()))],
        ["git commit", all_of(lambda run: run.git_commit or "unknown")],
        ["machine", all_of(lambda run: " ".join(str(part) for part in run.machine.values()))],
        ["device", all_of(lambda run: run.device)],
        ["CPU threads", all_of(lambda run: run.threads or "unknown")],
        ["wall time of all epochs", f"{seconds:.0f} s"],
    ]
    return [Section("Where", [Table("Circumstances", ["what", "value"], rows)])]
