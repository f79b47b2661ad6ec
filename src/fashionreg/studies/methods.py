"""How the numbers of a report were obtained: its last section."""

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fashionreg.config import identity
from fashionreg.runs.record import Record
from fashionreg.studies.answer import listed
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings
from fashionreg.studies.notes import notes
from fashionreg.studies.page import Block, Code, Items, Section, Table, Text
from fashionreg.studies.settings import differs, learning_rate, value_of
from fashionreg.text import counted, named_seeds

#: What the words for measured numbers mean.
DEFINITIONS = (
    "Generalization gap: train accuracy minus test accuracy. Calibration error: expected calibration error in 15 bins "
    "(Naeini et al. 2015). Epochs to a target are interpolated between epochs. Wall time of a seed: that of the run "
    "divided by its number of seeds, evaluation and callbacks included; a median over epochs."
)


def methods(found: Findings) -> list[Block]:
    """Return design, tests, definitions, data, configurations, environment, and the command that reproduces it all."""
    plan, runs = found.plan, found.results.runs
    scope = "on the same images, not other images" if runs else "with everything else as it was"
    facts = [
        _design(found),
        f"Intervals describe other seeds {scope}. For a mean: Student's t. For a "
        "difference: BCa bootstrap, 9,999 resamples, each comparison by itself (with ten seeds it covers 90 to 93% "
        "rather than 95%). The corrected tests decide.",
        "Tests: paired t test; Wilcoxon's signed-rank test as a check; both corrected by Holm's method over "
        f"{counted(len(found.comparisons), 'comparison')}, for each outcome by itself. The primary outcome is "
        f"{plan.label(plan.primary)}. Minimum detectable effect: the difference that the t test "
        "at 5%, divided by the number of comparisons, shows with 80% power.",
        f"What counts for a seed, in every table, test and sentence: {title(found.phrase).lower()}.",
        *([_compared_settings(found), DEFINITIONS] if runs else []),
        *(note.text for note in notes(found)),
    ]
    known = [*_data(found), _configurations(found), *_environment(found)] if runs else []
    return [Items(facts), *known, Section("Reproduce", _reproduce(found))]


def _design(found: Findings) -> str:
    """Say what was compared, and what a seed is."""
    plan = found.plan
    seeds = f"{counted(len(plan.seeds), 'seed')} ({named_seeds(plan.seeds)}) each"
    epochs = f", {counted(found.epochs, 'epoch')}" if found.epochs else ""
    size = f"{counted(len(plan.variants), 'variant')}, {seeds}{epochs}."
    if found.results.runs:
        return (
            f"{size} A seed fixes initial weights, data order and all random numbers of training; variants are "
            "compared seed by seed."
        )
    direction = "More" if plan.more_is_better(plan.primary) else "Less"
    return (
        f"{size} The results were made elsewhere and are taken as they are: how they were made, and what a seed fixes, "
        f"is not known here. Variants are compared seed by seed. {direction} {plan.label(plan.primary)} is better."
    )


def _reproduce(found: Findings) -> list[Block]:
    plan = found.plan
    if found.results.command == "compare":
        return [Code(shlex.join(["fashionreg", "compare", plan.source, *plan.options]))]
    seeds = str(len(plan.seeds)) if plan.seeds == list(range(len(plan.seeds))) else json.dumps(plan.seeds)
    command = ["fashionreg", "study", plan.source, "--seeds", seeds, *plan.options]
    curves = Text("The curves of every run, its images and histograms, in TensorBoard; in the folder of this report:")
    return [Code(shlex.join(command)), curves, Code("tensorboard --logdir .")]


def _compared_settings(found: Findings) -> str:
    """Say which settings were varied: what one strength and one learning rate show may not hold for others."""
    rate, levels = learning_rate(found.plan), list(found.plan.variants[0].levels)
    shared = f"one learning rate ({rate})" if rate else "the learning rates of the table of configurations"
    if levels:
        return f"Varied were {listed(levels)}; everything else has one value. The comparison is that of {shared}."
    return (
        f"One strength of each regularizer and {shared} were compared. With others the differences may be others: "
        "nothing was tuned."
    )


def _data(found: Findings) -> list[Block]:
    known = {json.dumps(asdict(run.data), sort_keys=True): run.data for run in found.results.runs}
    rows = [
        [data.source, split, f"{size:,}", data.fingerprints[split][:16]]
        for data in known.values()
        for split, size in data.sizes.items()
    ]
    return [Section("Data", [Table("Images", ["source", "split", "images", "fingerprint"], rows)])]


def _configurations(found: Findings) -> Block:
    """Return a table of the options that differ; all options are in the config.yaml of each run."""
    configs = {variant.name: identity(variant.config) for variant in found.plan.variants}
    names = list(dict.fromkeys(name for config in configs.values() for name in config))
    differing = [name for name in names if differs([config.get(name) for config in configs.values()])]
    if not differing:
        return Section("Configurations", [Text("There is one configuration; it is in config.yaml of its run.")])
    caption = "Options that differ; the whole configuration of a run is in its config.yaml"
    head, rows = (
        ["option", *configs],
        [[name, *(value_of(c.get(name)) for c in configs.values())] for name in differing],
    )
    if len(configs) > len(differing):
        # many columns are harder to read than many rows
        head, *rows = ([str(cell) for cell in column] for column in zip(head, *rows, strict=True))
        head[0] = "variant"
    return Section("Configurations", [Table(caption, head, rows)])


def _environment(found: Findings) -> list[Block]:
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
    return [Section("Environment", [Table("Software and hardware", ["what", "value"], rows)])]
