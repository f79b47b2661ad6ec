"""The sections of a report on a study: sentences, tables and figures as blocks of a page."""

import math
from collections.abc import Callable, Sequence

from fashionreg.studies import plots
from fashionreg.studies.findings import Findings, VariantFindings, most_telling
from fashionreg.studies.methods import methods, setup
from fashionreg.studies.notes import notes
from fashionreg.studies.page import Block, Items, Picture, Section, Table, Text, Warnings
from fashionreg.studies.pictures import Pictures
from fashionreg.studies.statistics import Estimate, Reaching
from fashionreg.studies.verdict import verdict
from fashionreg.text import METRIC_NAMES, NOTHING, counted, epochs_or_never, p_value, unit_of, unit_of_difference

#: With more variants than this no figure is readable, and a page takes minutes.
MOST_SHOWN = 12


def sections(found: Findings, pictures: Pictures) -> list[Block]:
    """Return the sections on a study: the verdict, what it follows from, and how that was obtained."""
    shown = most_telling(found, MOST_SHOWN)
    pictures.note = left_out([(found, shown)])
    return [
        Text(setup(found), True),
        Section("Verdict", verdict_blocks(found)),
        Section("Learning curves", [_curves(found, shown, pictures)]),
        Section("Final results", _final(found, shown, pictures)),
        *_differences(found, shown, pictures),
        *_convergence(found, shown, pictures),
        *_overfitting(found, shown, pictures),
        *_effects(found, pictures),
        *_drift(found, shown, pictures),
        Section("Methods", methods(found)),
    ]


def left_out(studies: Sequence[tuple[Findings, Findings]]) -> str:
    """Say how many variants a figure shows, where it does not show all: for each study, all and those shown."""
    all_of, shown = (sum(len(found.variants) for found in side) for side in zip(*studies, strict=True))
    if shown == all_of:
        return ""
    return (
        f" Shown are {shown} of {all_of} variants: the reference and those with the best final results; the tables "
        "have all."
    )


def verdict_blocks(found: Findings) -> list[Block]:
    """Return the verdict and the warnings on it."""
    warnings = [note.text for note in notes(found) if note.warns]
    return [
        Items(verdict(found) or ["There is one variant only: nothing to compare."], strong=True),
        *([Warnings(warnings)] if warnings else []),
    ]


def _metric(found: Findings) -> str:
    return f"{found.plan.split} {METRIC_NAMES[found.plan.metric]}"


def _curves(found: Findings, shown: Findings, pictures: Pictures) -> Picture:
    return pictures.add(
        "curves",
        plots.curves(shown),
        f"Curves of {_metric(found)} by epoch for {len(found.variants)} variants.",
        f"{_metric(found).capitalize()} after every epoch. Thick: mean over seeds, with its 95% interval as a band; "
        "thin: every single seed. The legend gives the means after the last epoch.",
    )


def _final(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    plan, unit, primary = found.plan, unit_of(found.plan.metric), f"{found.plan.split}/{found.plan.metric}"
    columns: list[tuple[str, Callable[[VariantFindings], str]]] = [
        (_metric(found), lambda v: _with_spread(v.final[primary], plan.metric)),
        ("95% interval", lambda v: unit.interval(v.final[primary].low, v.final[primary].high)),
    ]
    for key, title in (
        ("test/acc", "test accuracy"),
        ("val/acc", "val accuracy"),
        ("train/acc", "train accuracy"),
        ("gap", "generalization gap"),
        ("test/loss", "test loss"),
        ("test/ece", "test calibration error"),
    ):
        if key != primary and any(key in variant.final for variant in found.variants):
            columns.append((title, lambda v, key=key: _with_spread(v.final.get(key), key.rpartition("/")[2])))  # type: ignore[misc]
    if any(variant.best_epoch for variant in found.variants):
        columns.append(("best epoch by val", lambda v: f"{v.best_epoch.mean:.1f}" if v.best_epoch else NOTHING))
        columns.append((f"{_metric(found)} there", lambda v: _with_spread(v.best, plan.metric)))
    columns.append(("seconds an epoch and seed", lambda v: f"{v.seconds:.3f}"))
    rows = [[v.name, str(len(v.seeds)), *(cell(v) for _, cell in columns)] for v in found.variants]
    head = ["variant", "seeds", *(title for title, _ in columns)]
    figure = pictures.add(
        "final",
        plots.final_values(shown),
        f"Final {_metric(found)} of every seed for {len(found.variants)} variants.",
        f"{_metric(found).capitalize()} after {counted(found.epochs, 'epoch')}: every dot is a seed; marks with lines "
        "are means with 95% intervals.",
    )
    return [
        Text("Mean ± standard deviation over seeds; the interval is that of the mean.", True),
        Table(f"After {counted(found.epochs, 'epoch')}", head, rows),
        figure,
    ]


def _differences(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if not found.comparisons:
        return []
    unit = unit_of_difference(found.plan.metric)
    rows = [
        [
            name,
            str(one.n),
            unit.text(one.difference.mean, signed=True),
            unit.interval(one.difference.low, one.difference.high, signed=True),
            p_value(one.t_p_holm),
            p_value(one.wilcoxon_p_holm),
            f"{one.probability_better:.0%}",
            unit.text(one.detectable),
        ]
        for name, one in found.comparisons.items()
    ]
    head = ["variant", "pairs", "difference", "95% interval (BCa)", "t test (Holm)", "Wilcoxon (Holm)"]
    head += ["better in (ties count half)", "minimum detectable effect"]
    figure = pictures.add(
        "differences",
        plots.differences(shown),
        f"Differences in {_metric(found)} against {found.plan.reference}.",
        f"Each variant minus {found.plan.reference}, paired by seed: mean difference and 95% bootstrap interval. "
        "An interval that crosses the line is compatible with no difference. Each interval is for a single comparison; "
        "p values are corrected for the number of comparisons.",
    )
    hint = (
        "Paired by seed with the reference. A p value below 0.05 is evidence of a difference; a larger one is no "
        "evidence that there is none: the last column has the smallest difference that these seeds would show with 80% "
        "power."
    )
    title = f"Comparison with {found.plan.reference}"
    return [Section(title, [Text(hint, True), Table(f"Difference in {_metric(found)}", head, rows), figure])]


def _convergence(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if not found.reaching_epochs:
        return []
    unit, reference = unit_of(found.plan.metric), found.plan.reference
    titles = [unit.text(one.target) for one in found.reaching_epochs[reference]]
    if not math.isnan(found.reference_end):
        titles[-1] += f" (final {reference})"
    rows = []
    for name, reached in found.reaching_epochs.items():
        seconds = found.reaching_seconds[name]
        rows.append([name, *(_reached(one, time) for one, time in zip(reached, seconds, strict=True))])
    figure = pictures.add(
        "targets",
        plots.targets(shown),
        f"Epochs that each variant takes to reach a {_metric(found)}.",
        "Median over seeds with its 95% interval; an arrow at the right edge stands for seeds that never reached the "
        "target. Nothing is known before the end of the first epoch.",
    )
    hint = "Epochs to a target: median over seeds with its 95% interval, and the median wall time of a seed."
    table = Table(f"Epochs to {_metric(found)}", ["variant", *titles], rows)
    return [Section("Convergence", [Text(hint, True), table, figure])]


def _reached(epochs: Reaching, seconds: Reaching) -> str:
    if epochs.reached == 0:
        return "never"
    if math.isinf(epochs.median):
        return f"{epochs.reached} of {epochs.n} seeds only"
    text = epochs_or_never(epochs.median)
    if not math.isnan(epochs.low):
        text += f" ({epochs_or_never(epochs.low)} to {epochs_or_never(epochs.high)})"
    text += f", {seconds.median:.2g} s"
    return text + (f"; {epochs.n - epochs.reached} of {epochs.n} never" if epochs.reached < epochs.n else "")


def _overfitting(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if not any("gap" in variant.final for variant in found.variants):
        return []
    figure = pictures.add(
        "overfitting",
        plots.overfitting(shown),
        "Train and test accuracy by epoch, a panel for each variant.",
        "Dashed: training images; solid: test images; thin: single seeds. The distance between them at the end is the "
        "generalization gap. "
        + (
            "Training images are evaluated like test images."
            if found.train_evaluated
            else "Training accuracy is the mean over the steps of an epoch, in training mode."
        ),
    )
    return [Section("Overfitting", [figure])]


def _effects(found: Findings, pictures: Pictures) -> list[Block]:
    if not found.effects:
        return []
    unit = unit_of_difference(found.plan.metric)
    rows = [
        [
            " x ".join(effect.factors),
            unit.text(effect.estimate.mean, signed=True),
            unit.interval(effect.estimate.low, effect.estimate.high, signed=True),
            p_value(effect.p_holm),
        ]
        for effect in found.effects
    ]
    figure = pictures.add(
        "effects",
        plots.effects(found),
        "Main effects and interactions with intervals.",
        "Effects with 95% intervals; squares are interactions.",
    )
    hint = (
        "A main effect is the mean with the option minus the mean without it, over all settings of the others. An "
        "interaction is half the change in the effect of one option when the other is on: zero if effects are additive."
    )
    table = Table(f"Effects on {_metric(found)}", ["effect", "size", "95% interval", "t test (Holm)"], rows)
    return [Section("Main effects and interactions", [Text(hint, True), table, figure])]


def _drift(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if found.results.drift.empty or found.results.drift.step.nunique() == 1:
        return []
    figure = pictures.add(
        "drift",
        plots.drift(shown),
        "Percentiles of a unit's input over training steps, and the drift of each layer's inputs.",
        "Above: the 15th, 50th and 85th percentile over images of the input of one unit's ReLU in the last hidden "
        "layer, for the first seed, as in figure 1 of Ioffe and Szegedy (2015). Below: how far the mean input of a "
        "unit has moved since the first step, in standard deviations at that step; means over units and seeds.",
    )
    return [Section("Internal covariate shift", [figure])]


def _with_spread(one: Estimate | None, metric: str) -> str:
    return NOTHING if one is None else unit_of(metric).with_spread(one.mean, one.std)
