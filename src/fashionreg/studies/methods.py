"""How the numbers of a report were obtained: its last section."""

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fashionreg.config import identity
from fashionreg.runs.record import Record
from fashionreg.studies import images
from fashionreg.studies.answer import listed, matters
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings
from fashionreg.studies.notes import notes
from fashionreg.studies.page import Block, Code, Items, Section, Table, Text
from fashionreg.studies.settings import differs, learning_rate, value_of
from fashionreg.studies.statistics import ALPHA
from fashionreg.studies.tried import tuning_sentence
from fashionreg.text import PERCENT, Unit, counted, named_seeds, unit_of

#: How intervals of several differences are made.
SIMULTANEOUS = " at 95% for all variants at once (Bonferroni; cut at 0 where Holm's later steps show a difference)"

#: Definitions of the measures.
MEASURES = (
    "Generalization gap: train accuracy minus test accuracy. Calibration error: expected calibration error in 15 bins "
    "(Naeini et al. 2015)."
)
TARGETS = (
    "Epochs to a target: the first time that the curve, smoothed over about a twentieth of the epochs, comes to it, "
    "interpolated between epochs."
)
TIMES = (
    "Wall time of a seed: that of the run divided by its number of seeds, evaluation and callbacks included; a median "
    "over epochs."
)

#: What is not known of a table of results; and of results that were chosen for comparison after they were made.
ELSEWHERE = (
    "How the results were made, and what a seed fixes, is not known here. Tests and intervals take the seeds as "
    "independent of one another; folds of a cross-validation are not, and make p values too small and intervals too "
    "narrow (Nadeau and Bengio 2003)."
)
CHOSEN = (
    "How variants, settings and seeds were chosen is not known here: tests and intervals hold only where none was "
    "added, left out or tuned by these results."
)


def methods(found: Findings) -> list[Block]:
    """Return design, tests, definitions, data, configurations, environment, and the command that reproduces it all."""
    plan, runs = found.plan, found.results.runs
    several = any(len(each) > 1 for each in found.compared.values())
    shares = "; for an accuracy or calibration error on the logit scale, within 0 to 100%"
    shares = shares if runs or unit_of(plan.primary) is PERCENT else ""
    counts = f"What counts for a seed, in every table, test and sentence: {title(found.phrase).lower()}."
    facts = [
        _design(found),
        f"{images.scope(found.results)} For a mean: Student's t{shares}{_of_means(found)}. For a difference: Student's "
        f"t{SIMULTANEOUS if several else ', 95%'}; it excludes 0 exactly where the corrected test shows a difference.",
        f"Tests: {_tests(found)} corrected by Holm's method over "
        f"{counted(len(found.comparisons), 'comparison')}, separately for each outcome. The primary outcome is "
        f"{plan.label(plan.primary)}. Minimum detectable effect: the difference that the t test "
        "at 5%, divided by the number of comparisons, shows with 80% power.",
        *_relevance(found),
        *_pairing(found),
        *([counts] if found.epochs else []),
        *([] if found.results.command == "compare" else [_compared_settings(found)]),
        *_definitions(found),
        *(note.text for note in notes(found)),
    ]
    known = [*_data(found), _configurations(found), *_environment(found)] if runs else []
    return [Items(facts), *known, Section("Reproduce", _reproduce(found))]


def _of_means(found: Findings) -> str:
    parts = "splits" if found.results.runs else "folds"
    return "" if found.results.cells is None else f", over seeds, each the mean over its {parts}"


def _tests(found: Findings) -> str:
    """Name the tests; with several results of a seed, say what the standard error knows."""
    if found.results.cells is None:
        return "paired t test; Wilcoxon's signed-rank test as a check; both"
    if found.results.runs:
        return (
            "paired t test with the standard error of a two-way analysis of variance, seeds and splits as crossed "
            "random effects (Searle, Casella and McCulloch 1992; degrees of freedom of Satterthwaite 1946);"
        )
    return (
        "corrected resampled t test (Nadeau and Bengio 2003): standard error sd * sqrt(1 / n + 1 / (k - 1)) for n "
        "results and k folds, n - 1 degrees of freedom;"
    )


def _design(found: Findings) -> str:
    """Say what was compared, what a seed is, and what is not known of results that no study made."""
    plan, runs = found.plan, found.results.runs
    seeds = f"{counted(len(plan.seeds), 'seed')} ({named_seeds(plan.seeds)}) each"
    seeds += f", on {counted(plan.splits, 'split')}" * (plan.splits > 1)
    epochs = f", {counted(found.epochs, 'epoch')}" if found.epochs else ""
    parts = [f"{counted(len(plan.variants), 'variant')}, {seeds}{epochs}."]
    if runs:
        parts.append("A seed fixes initial weights, data order and all random numbers of training.")
    else:
        direction = "Higher" if plan.more_is_better(plan.primary) else "Lower"
        unknown = ELSEWHERE if found.results.cells is None else ELSEWHERE.partition(" Tests")[0]
        parts.append(f"{direction} {plan.label(plan.primary)} is better. {unknown}")
    return " ".join([*parts, *([CHOSEN] if found.results.command == "compare" else [])])


def _definitions(found: Findings) -> list[str]:
    """Return definitions of the measures that the report has."""
    runs = found.results.runs
    parts = [*([MEASURES] if runs else []), *([TARGETS] if found.arrivals or runs else []), *([TIMES] if runs else [])]
    return [" ".join(parts)] if parts else []


def _reproduce(found: Findings) -> list[Block]:
    plan = found.plan
    if found.results.command == "compare":
        return [Code(shlex.join(["fashionreg", "compare", plan.source, *plan.options]))]
    in_a_row = plan.seeds == list(range(len(plan.seeds)))
    seeds = "auto" if plan.auto else str(len(plan.seeds)) if in_a_row else json.dumps(plan.seeds)
    command = ["fashionreg", "study", plan.source, "--seeds", seeds, *plan.options]
    curves = Text("The curves of every run, its images and histograms, in TensorBoard; in the folder of this report:")
    return [Code(shlex.join(command)), curves, Code("tensorboard --logdir .")]


def _relevance(found: Findings) -> list[str]:
    """Say by which rule a difference is called too small to matter, where it is declared what matters."""
    if found.plan.relevant is None:
        return []
    words = matters(found.plan)[1]
    once = len(found.comparisons) == 1 and found.level == ALPHA
    same = " A 90% interval within these bounds says the same." if once else ""
    return [
        f"Differences in {found.plan.label(found.plan.primary)} of less than {words} were declared not to matter. A "
        "variant is equivalent where two one-sided t tests (TOST, Schuirmann 1987), corrected by Holm's method, show "
        f"its difference to be smaller.{same} Otherwise it is better or worse where the corrected t test shows it, or "
        "undecided. The probability of being within is that of a t distribution around the observed difference (flat "
        "priors)."
    ]


def _pairing(found: Findings) -> list[str]:
    """Say what pairing by seed bought: how alike the two results of a seed are, and the length of intervals."""
    pairs = {name: one.pairing for name, one in found.evidence.items() if one.pairing is not None}
    measured = {name: one for name, one in pairs.items() if not math.isnan(one.correlation)}
    if not measured:
        return []
    ordered = sorted(measured, key=lambda name: measured[name].correlation)
    ends = [f"{Unit('').number(measured[name].correlation, signed=True)} ({name})" for name in ordered]
    ratios = sorted(one.width_ratio for one in measured.values())
    said = f"is {ends[0]}" if len(ends) == 1 else f"is from {ends[0]} to {ends[-1]}"
    times = f"{ratios[0]:.2f}" if len(ends) == 1 else f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return [
        "Variants are compared seed by seed, by design. What this gains: the correlation of a seed's result with that "
        f"of the reference {said}; intervals of paired differences are {times} times as long as unpaired ones (Welch)."
    ]


def _compared_settings(found: Findings) -> str:
    """Say which settings were varied: what one strength and one learning rate show may not hold for others."""
    if found.plan.tuned:
        return tuning_sentence(found)
    rate, levels = learning_rate(found.plan), list(found.plan.variants[0].levels)
    shared = f"one learning rate ({rate})" if rate else "the learning rates of the table of configurations"
    if levels:
        return f"Varied were {listed(levels)}; everything else has one value. The comparison was made at {shared}."
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
