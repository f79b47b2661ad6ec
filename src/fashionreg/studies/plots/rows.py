"""Figures with a row for each variant: final values, differences, factorial effects, and epochs to a target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fashionreg.palette import COLOURS
from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings
from fashionreg.studies.plots.style import WIDTH, Look, axis_label, drawn, hover, looks, scale, whole_numbers, wrapped
from fashionreg.studies.statistics import Decision, Estimate, Interval, Reaching
from fashionreg.text import POINTS, epochs_or_never, p_value, unit_of, unit_of_difference


@drawn
def final_values(found: Findings) -> Figure:
    """Draw the primary outcome: a dot for every seed, the mean and its 95% interval."""
    rows = _final_rows(found)
    figure = Figure(figsize=(WIDTH, 0.9 + rows.height))
    _draw_final(figure.subplots(), found, rows)
    return figure


@drawn
def overview(studies: Sequence[Findings]) -> Figure:
    """Draw the final values of every variant of every study, a panel for each study."""
    rows = [_final_rows(found) for found in studies]
    heights = [each.height for each in rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 1.1 * len(studies)))
    same = len({found.plan.key(found.plan.primary) for found in studies}) == 1
    panels = figure.subplots(len(studies), sharex=same, squeeze=False, height_ratios=heights)
    for axes, found, its_rows in zip(panels.flat, studies, rows, strict=True):
        _draw_final(axes, found, its_rows)
        axes.tick_params(labelbottom=True)
        axes.set_title(wrapped(found.plan.name, 60), loc="left", fontweight="bold")
    return figure


def _final_rows(found: Findings) -> "_Rows":
    return _Rows([variant.name for variant in found.variants], 0.6)


def _draw_final(axes: Axes, found: Findings, rows: "_Rows") -> None:
    primary, look = found.plan.primary, looks(found)
    rows.prepare(axes)
    for variant, y in zip(found.variants, rows.middles, strict=True):
        if primary not in variant.values:
            continue
        style, end, seeds = look[variant.name], variant.final[found.plan.key(primary)], variant.values[primary]
        # multiples of the golden ratio spread any number of dots evenly, the same way every time
        above = 0.08 + 0.13 * (np.arange(len(seeds)) * 0.618 % 1)
        values = seeds.to_numpy() * scale(primary)
        for seed, value, height in zip(seeds.index, values, y - above, strict=True):
            (dot,) = axes.plot(value, height, style.marker, color=style.colour, alpha=0.55, markersize=4.5)
            hover(dot, f"{variant.name}, seed {seed}: {unit_of(primary).text(value / scale(primary))}")
        said = f"{unit_of(primary).text(end.mean)}, 95% interval {unit_of(primary).interval(end.low, end.high)}"
        hover(_draw_interval(axes, end, y + 0.1, style, primary), f"{variant.name}: mean {said}")
        _right_text(axes, y + 0.1, unit_of(primary).text(end.mean))
    axes.set_xlabel(f"{axis_label(found, primary)}, {title(found.phrase).lower()}")


@drawn
def differences(found: Findings) -> Figure:
    """Draw the primary outcome of every variant minus the reference's, with simultaneous intervals."""
    look = looks(found)
    measured = [
        _Measured(name, look[name], _bounded(comparison.difference, comparison.simultaneous), comparison.t_p_holm)
        for name, comparison in found.comparisons.items()
    ]
    # the reference's name may be long
    label = wrapped(f"{found.plan.label(found.plan.primary)} minus that of {found.plan.reference}", 50)
    return _forest(measured, found.plan.primary, label)


#: How the rows of an atlas look, by what was decided of a variant.
DECIDED: dict[Decision, Look] = {
    "better": Look(COLOURS[0], "-", "o"),
    "worse": Look(COLOURS[1], "-", "s"),
    "equivalent": Look(COLOURS[2], "-", "D"),
    "undecided": Look("#808080", "-", "^"),
}


@drawn
def atlas(studies: Mapping[str, Findings]) -> Figure:
    """Draw the primary outcome of every variant minus the reference's, with simultaneous intervals: a panel for a task.

    Args:
        studies: The studies by the names of their tasks. The effects of the first one sort the rows.
    """
    names = list(dict.fromkeys(name for found in studies.values() for name in found.by_effect()))
    rows = _Rows(names, 0.25, width=30)
    figure = Figure(figsize=(max(WIDTH, 2 + 3 * len(studies)), 1.5 + rows.height))
    panels = figure.subplots(1, len(studies), sharey=True, squeeze=False).flat
    for axes, (task, found) in zip(panels, studies.items(), strict=True):
        rows.prepare(axes)
        _draw_decided(axes, found, dict(zip(names, rows.middles, strict=True)))
        axes.set_title(wrapped(task, 30), loc="left", fontweight="bold")
    used = {one.decision for found in studies.values() for one in found.evidence.values()}
    marks = [
        Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor="black", linewidth=2.6, label=decision)
        for decision, look in DECIDED.items()
        if decision in used
    ]
    if marks:
        figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))
    return figure


def _draw_decided(axes: Axes, found: Findings, middles: Mapping[str, float]) -> None:
    """Draw the intervals of a study, each in its row, and a band of the differences that do not matter."""
    primary = found.plan.primary
    axes.axvline(0, color="black", linewidth=1)
    if found.plan.margin is not None:
        size = found.plan.margin * scale(primary)
        axes.axvspan(-size, size, color="black", alpha=0.06, linewidth=0)
    for name, one in found.comparisons.items():
        decision = found.evidence[name].decision
        estimate = _bounded(one.difference, one.simultaneous)
        said = f"{name}: {_difference(estimate, primary)}, adjusted {p_value(one.t_p_holm)}, {decision}"
        # an end at 0 must not reach beyond it, as the usual ends of lines do
        with mpl.rc_context({"lines.solid_capstyle": "butt"}):
            mark = _draw_interval(axes, estimate, middles[name], DECIDED[decision], primary, size=6.5)
        hover(mark, said)
    unit, label = unit_of_difference(primary), f"{found.plan.label(primary)}\nminus that of {found.plan.reference}"
    axes.set_xlabel(f"{label} (points)" if unit is POINTS else unit.after(label))


@drawn
def effects(found: Findings) -> Figure:
    """Draw main effects and interactions of a factorial study, with simultaneous intervals."""
    looks_of = {True: Look("#000000", "-", "o"), False: Look("#000000", "-", "s")}
    measured = [
        _Measured(
            " x ".join(effect.factors),
            looks_of[len(effect.factors) == 1],
            _bounded(effect.estimate, effect.simultaneous),
            effect.p_holm,
        )
        for effect in found.effects
    ]
    return _forest(measured, found.plan.primary, f"effect on {found.plan.label(found.plan.primary)}")


@dataclass(frozen=True)
class _Measured:
    """What a row of a forest plot shows."""

    name: str
    look: Look
    estimate: Estimate
    p: float


def _forest(measured: Sequence[_Measured], metric: str, label: str) -> Figure:
    """Draw a row for each difference: interval, zero line, and the numbers at the right."""
    rows = _Rows([one.name for one in measured], 0.55)
    figure = Figure(figsize=(WIDTH, 1.1 + rows.height))
    axes = figure.subplots()
    rows.prepare(axes)
    axes.axvline(0, color="black", linewidth=1)
    for one, y in zip(measured, rows.middles, strict=True):
        said = f"{one.name}: {_difference(one.estimate, metric)}, adjusted {p_value(one.p)}"
        hover(_draw_interval(axes, one.estimate, y, one.look, metric), said)
        _right_text(axes, y, f"{_difference(one.estimate, metric)}\nadjusted {p_value(one.p)}")
    axes.margins(x=0.12)
    unit = unit_of_difference(metric)
    axes.set_xlabel(f"{label}\n(percentage points)" if unit is POINTS else unit.after(label))
    return figure


def _bounded(estimate: Estimate, interval: Interval) -> Estimate:
    """Return an estimate with another interval."""
    return replace(estimate, low=interval.low, high=interval.high)


def _difference(estimate: Estimate, metric: str) -> str:
    """Return `+0.31 (+0.12 to +0.50)`, in points or nats."""
    return unit_of_difference(metric).with_interval(estimate.mean, estimate.low, estimate.high)


def _draw_interval(axes: Axes, estimate: Estimate, y: float, style: Look, metric: str, size: float = 9) -> Artist:
    """Draw an interval and its mean; return the mark of the mean."""
    factor = scale(metric)
    if not math.isnan(estimate.low):
        axes.plot([estimate.low * factor, estimate.high * factor], [y, y], color=style.colour, linewidth=2.6)
    options: dict[str, Any] = {"color": style.colour, "markeredgecolor": "black", "markersize": size}
    (mark,) = axes.plot(estimate.mean * factor, y, style.marker, **options)
    return mark


@drawn
def targets(found: Findings) -> Figure:
    """Draw how many epochs each variant takes to each target; an arrow at the right edge means never."""
    rows = _Rows(list(found.reaching_epochs), 0.3, width=26)
    reached = list(zip(*found.reaching_epochs.values(), strict=True))
    figure = Figure(figsize=(WIDTH, 0.6 + (rows.height + 0.5) * len(reached)))
    panels = figure.subplots(len(reached), sharex=True, squeeze=False).flat
    titles = [f"to {unit_of(found.plan.metric).text(row[0].target)}" for row in reached]
    if not math.isnan(found.reference_end):
        titles[-1] += f", where {wrapped(found.plan.reference, 50)} ends"
    for axes, row, text in zip(panels, reached, titles, strict=True):
        axes.set_title(text, loc="left", fontweight="bold")
        rows.prepare(axes)
        for name, one, y in zip(found.reaching_epochs, row, rows.middles, strict=True):
            _draw_reaching(axes, name, one, y, looks(found)[name], found.epochs)
            _right_text(axes, y, _never(one))
        axes.set_xlim(0, found.epochs * 1.04)
    axes.set_xlabel("epochs")
    axes.xaxis.set_major_locator(whole_numbers())
    return figure


def _draw_reaching(axes: Axes, name: str, one: Reaching, y: float, style: Look, last: int) -> None:
    edge = last * 1.04
    if math.isfinite(one.low):
        axes.plot([one.low, min(one.high, edge)], [y, y], color=style.colour, linewidth=2.6)
    if math.isfinite(one.median):
        options: dict[str, Any] = {"color": style.colour, "markeredgecolor": "black", "markersize": 8}
        (mark,) = axes.plot(one.median, y, style.marker, **options)
        interval = "" if math.isnan(one.low) else f" ({epochs_or_never(one.low)} to {epochs_or_never(one.high)})"
        hover(mark, f"{name}: {epochs_or_never(one.median)} epochs{interval}")
    if one.reached < one.n:
        axes.plot(edge, y, ">", color=style.colour, markersize=8, clip_on=False)


def _never(one: Reaching) -> str:
    return f"never: {one.n - one.reached} of {one.n}" if one.reached < one.n else ""


class _Rows:
    """Rows of a figure, each as high as its name needs; the y axis counts inches from the top.

    Attributes:
        middles: The y of each row.
        height: Of all rows.
    """

    def __init__(self, names: Sequence[str], least: float, width: int = 18) -> None:
        self._names = [wrapped(name, width) for name in names]
        heights = np.array([max(least, 0.1 + 0.19 * (name.count("\n") + 1)) for name in self._names])
        self.height = float(heights.sum())
        self.middles = (heights.cumsum() - heights / 2).tolist()

    def prepare(self, axes: Axes) -> None:
        """Write the names beside their rows."""
        axes.set_yticks(self.middles, self._names)
        axes.set_ylim(self.height, 0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")


def _right_text(axes: Axes, y: float, text: str) -> None:
    """Write a text beside a row."""
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)
