"""The sections of a report on a study: sentences, tables and figures as blocks of a page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from fashionreg.studies import images, plots, tried
from fashionreg.studies.answer import answer, interval_name, matters, of_parts, part
from fashionreg.studies.answer import cells as differences_cells
from fashionreg.studies.answer import table as differences_table
from fashionreg.studies.arrivals import window
from fashionreg.studies.differences import tables
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings, VariantFindings, most_telling
from fashionreg.studies.glossary import terms
from fashionreg.studies.methods import methods
from fashionreg.studies.notes import notes
from fashionreg.studies.page import Answer, Block, Facts, Items, Picture, Section, Table, Text, Warnings
from fashionreg.studies.pictures import Pictures
from fashionreg.studies.settings import setup
from fashionreg.studies.statistics import Estimate, Reaching
from fashionreg.studies.verdict import details
from fashionreg.text import NOTHING, Unit, epochs_or_never, p_cell, p_value, unit_of, unit_of_difference

#: With more variants than this no figure is readable, and a page takes minutes.
MOST_SHOWN = 12


def sections(found: Findings, pictures: Pictures) -> list[Block]:
    """Return the sections on a study: the verdict, what it follows from, and how that was obtained."""
    shown = most_telling(found, MOST_SHOWN)
    pictures.note = left_out([(found, shown)])
    return [
        Section("Verdict", verdict_blocks(found)),
        *([Section("Learning curves", [_curves(found, shown, pictures)])] if found.epochs else []),
        Section("Results", _final(found, shown, pictures)),
        *_differences(found, shown, pictures),
        *_dependence(found),
        *tried.section(found),
        *images.section(found.results, found.over_images),
        *_convergence(found, shown, pictures),
        *_overfitting(found, shown, pictures),
        *_effects(found, pictures),
        *_drift(found, shown, pictures),
        Section("Methods", methods(found)),
        Section("Terms", [Facts(terms(found), terms=True)]),
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
    """Return the answer, what was trained, the differences, the sentences that matter and the warnings."""
    warnings, answered, sentences = [note.text for note in notes(found) if note.warns], answer(found), details(found)
    return [
        *([Answer(answered)] if answered else []),
        Facts(setup(found)),
        *([differences_table(found)] if any(found.compared.values()) else []),
        Items(sentences or ["There is one variant only: nothing to compare."], strong=True),
        *([Warnings(warnings)] if warnings else []),
    ]


def _metric(found: Findings) -> str:
    return found.plan.label(found.plan.metric)


def _primary(found: Findings) -> str:
    return found.plan.label(found.plan.primary)


def _capital(text: str) -> str:
    """Return a text with a capital first letter: the others may be capitals of a name."""
    return text[:1].upper() + text[1:]


def _curves(found: Findings, shown: Findings, pictures: Pictures) -> Picture:
    return pictures.add(
        "curves",
        plots.curves(shown),
        f"Curves of {_metric(found)} by epoch for {len(found.variants)} variants.",
        f"{_capital(_metric(found))} after every epoch. Thick: mean over seeds, with its 95% interval as a band; "
        f"thin: every single seed{of_parts(found)}. The legend gives the means ({title(found.phrase).lower()}).",
    )


def _final(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    plan, unit, primary = found.plan, unit_of(found.plan.primary), found.plan.key(found.plan.primary)
    columns: list[tuple[str, Callable[[VariantFindings], str]]] = []
    if any(primary in variant.final for variant in found.variants):
        columns = [
            (unit.after(_primary(found)), lambda v: _with_spread(v.final.get(primary), plan.primary)),
            ("95% interval", lambda v: _ends(v.final.get(primary), unit)),
        ]
    for key, name in (
        ("test/acc", "test accuracy"),
        ("val/acc", "val accuracy"),
        ("train/acc", "train accuracy"),
        ("gap", "generalization gap"),
        ("test/loss", "test loss"),
        ("test/ece", "test calibration error"),
    ):
        if key != primary and any(key in variant.final for variant in found.variants):
            metric = key.rpartition("/")[2]
            columns.append((f"{name} ({unit_of(metric).name.strip()})", _cell_of(key, metric)))
    if any(variant.best_epoch for variant in found.variants):
        columns.append(("best epoch by val", lambda v: f"{v.best_epoch.mean:.1f}" if v.best_epoch else NOTHING))
        there = unit_of(plan.metric).after(f"{_metric(found)} there")
        columns.append((there, lambda v: _with_spread(v.best, plan.metric)))
    timed = not any(math.isnan(variant.seconds) for variant in found.variants)
    if timed:
        columns.append(("seconds an epoch and seed", lambda v: f"{v.seconds:.3f}"))
    if found.cost(plan.reference) == 1 and len(found.variants) > 1:
        columns.append((f"cost ({plan.reference} is 1)", lambda v: f"{found.cost(v.name):.2f}"))
    rows = [[v.name, str(len(v.seeds)), *(cell(v) for _, cell in columns)] for v in found.variants]
    figure = pictures.add(
        "final",
        plots.final_values(shown),
        f"{_capital(_primary(found))} of every seed for {len(found.variants)} variants.",
        f"{_capital(_primary(found))}, {title(found.phrase).lower()}: every dot is a seed{of_parts(found)}; marks with "
        "lines are means with 95% intervals.",
    )
    return [
        Text(
            f"Mean ± standard deviation over seeds{of_parts(found, ', each')}; the interval is that of the "
            f"mean.{' Times are medians.' * timed}",
            True,
        ),
        Table(title(found.phrase), ["variant", "seeds", *(name for name, _ in columns)], rows),
        *([figure] if any(primary in variant.final for variant in found.variants) else []),
    ]


def _cell_of(key: str, metric: str) -> Callable[[VariantFindings], str]:
    return lambda variant: _with_spread(variant.final.get(key), metric)


def _differences(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if not found.comparisons:
        return []
    by_part = f" and {word} by {word}" if (word := part(found)) else ""
    figure = pictures.add(
        "differences",
        plots.differences(shown),
        f"Differences in {_primary(found)} against {found.plan.reference}.",
        f"Each variant minus {found.plan.reference}, seed by seed{by_part}: mean difference and "
        f"{interval_name(found)}. An interval crosses the line exactly where no difference is shown.",
    )
    needed = "the last columns have the smallest difference that these seeds would show with 80% power, and how many "
    needed += "seeds a small one needs, if the true spread equals the observed one (in brackets: at the ends of the "
    needed += "spread's 95% interval)."
    if part(found) or not matters(found.plan)[1]:
        needed = "the last column has the smallest difference that these seeds would show with 80% power, if the true "
        needed += "spread equals the observed one."
    hint = (
        f"An adjusted p value below {found.level:.3g} is evidence of a difference; a larger one is no evidence that "
        f"there is none: {needed}"
    )
    heading = f"Comparison with {found.plan.reference}"
    return [Section(heading, [Text(hint, True), *tables(found), figure])]


def _dependence(found: Findings) -> list[Block]:
    """Return how the differences depend on what of a learning curve counts."""
    if not any(each for compared in found.alternatives.values() for each in compared.values()):
        return []
    rows = []
    for outcome, each in found.compared.items():
        for name in each:
            row = [f"{name}, {found.plan.label(outcome)}"]
            for compared in found.alternatives.values():
                row += differences_cells(outcome, compared.get(outcome, {}).get(name))
            rows.append(row)
    head = ["variant, outcome"]
    for estimand in found.alternatives:
        words = title(estimand.phrase(found.lengths.values()))
        head += [f"{words} (chosen)" if words == title(found.phrase) else words, "adjusted p"]
    hint = (
        f"Differences ({interval_name(found)}) and adjusted p values, for what was declared and what could have been."
    )
    caption = f"Differences from {found.plan.reference} by what counts"
    # a table of results has one outcome
    caption = (
        f"{caption} (points; loss: nats)"
        if found.results.runs
        else unit_of_difference(found.plan.primary).after(caption)
    )
    return [Section("How the answer depends on what counts", [Text(hint, True), Table(caption, head, rows)])]


def _convergence(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    arrived = found.arrivals
    if arrived is None:
        return []
    unit, reference = unit_of(found.plan.metric), found.plan.reference
    titles = [unit.text(one.target) for one in arrived.epochs[reference]]
    if not math.isnan(found.reference_end):
        titles[-1] += f" (final {reference})"
    rows = []
    for name, reached in arrived.epochs.items():
        tests = arrived.log_rank.get(name, [math.nan] * len(reached))
        seconds: Sequence[Reaching | None] = arrived.seconds.get(name) or [None] * len(reached)
        parts = zip(reached, seconds, arrived.restricted[name], tests, strict=True)
        rows.append([name, *(_reached(*each, arrived.end) for each in parts)])
    figure = pictures.add(
        "targets",
        plots.targets(shown),
        f"Epochs that each variant takes to reach {'a' if found.plan.split else 'some'} {_metric(found)}.",
        "Median over seeds with its 95% interval; an arrow at the right edge stands for seeds that have not reached "
        "the target when training ends. Nothing is known before the end of the first epoch.",
    )
    smooth = window(found.epochs)
    timed = ", and the median wall time of a seed" if arrived.seconds else ""
    smoothing = f", on curves smoothed over {smooth} epochs" if smooth > 1 else ""
    hint = (
        f"Epochs until a seed first reaches a target{smoothing}: median over seeds with its 95% "
        f"interval{timed}. Where half of the seeds or more do not: the mean, where such a seed counts as "
        f"{arrived.end:,} epochs. p: log-rank test against {reference}, adjusted for the number of variants."
    )
    table = Table(f"Epochs to {_metric(found)}", ["variant", *titles], rows)
    return [Section("Convergence", [Text(hint, True), table, figure])]


def _reached(epochs: Reaching, seconds: Reaching | None, restricted: Estimate, p: float, end: int) -> str:
    test = "" if math.isnan(p) else f"; {p_value(p)}"
    if epochs.reached == 0:
        return f"never{test}"
    if math.isinf(epochs.median):
        interval = "" if math.isnan(restricted.low) else f" ({restricted.low:.1f} to {min(restricted.high, end):.1f})"
        return f"{epochs.reached} of {epochs.n} seeds only, mean {restricted.mean:.1f}{interval}{test}"
    text = epochs_or_never(epochs.median)
    if not math.isnan(epochs.low):
        text += f" ({epochs_or_never(epochs.low)} to {epochs_or_never(epochs.high)})"
    text += "" if seconds is None else f", {seconds.median:.2g} s"
    return text + (f"; {epochs.n - epochs.reached} of {epochs.n} never" if epochs.reached < epochs.n else "") + test


def _overfitting(found: Findings, shown: Findings, pictures: Pictures) -> list[Block]:
    if not any("gap" in variant.final for variant in found.variants):
        return []
    figure = pictures.add(
        "overfitting",
        plots.overfitting(shown),
        "Train and test accuracy by epoch, a panel for each variant.",
        "Dashed: training images; solid: test images; thin: single "
        f"seeds{of_parts(found, ', each')}. The distance between them is the generalization gap. "
        + (
            "Training images are evaluated like test images."
            if found.plan.train_evaluated
            else "Training accuracy is the mean over the steps of an epoch, in training mode."
        ),
    )
    return [Section("Overfitting", [figure])]


def _effects(found: Findings, pictures: Pictures) -> list[Block]:
    if not found.effects:
        return []
    unit = unit_of_difference(found.plan.primary)
    rows = [
        [
            " x ".join(effect.factors),
            unit.text(effect.estimate.mean, signed=True),
            unit.ends(*effect.simultaneous, signed=True),
            p_cell(effect.p_holm),
        ]
        for effect in found.effects
    ]
    figure = pictures.add(
        "effects",
        plots.effects(found),
        "Main effects and interactions with intervals.",
        "Effects with 95% simultaneous intervals; squares are interactions.",
    )
    hint = (
        "A main effect is the mean with the option minus the mean without it, over all settings of the others. An "
        "interaction is half the change in the effect of one option when the other is on: zero if effects are additive."
    )
    table = Table(
        f"Effects on {_primary(found)}", ["effect", "size", "95% simultaneous interval", "adjusted p, t test"], rows
    )
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
    """Return mean and standard deviation without the unit, which the head of the column has."""
    return NOTHING if one is None else replace(unit_of(metric), name="").with_spread(one.mean, one.std)


def _ends(one: Estimate | None, unit: Unit) -> str:
    """Return an interval without its unit."""
    return NOTHING if one is None else replace(unit, name="").interval(one.low, one.high)
