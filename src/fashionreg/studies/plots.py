"""The figures of a report: pure functions from findings to a matplotlib `Figure`, without pyplot.

A variant has the same colour, line and marker in every figure of a study, by its position in the plan.
"""

import functools
import io
import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy import stats

from fashionreg.palette import COLOURS, LINES, MARKERS
from fashionreg.studies.findings import Findings, VariantFindings
from fashionreg.studies.statistics import LEVEL, Estimate, Reaching
from fashionreg.studies.verdict import METRIC_NAMES, in_p, in_units

#: With more points than this, lines of single seeds are drawn as pixels, or an SVG file would be megabytes.
MANY_POINTS = 20_000

#: Width of a figure in inches: with this text size, text is still readable when the page is as narrow as a phone.
WIDTH = 6.6
GREY = "#555555"

SETTINGS: dict[str, Any] = {
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    # names of variants are no formulas
    "text.parse_math": False,
    # text as outlines looks the same everywhere; fixed ids give the same file every time
    "svg.fonttype": "path",
    "svg.hashsalt": "fashionreg",
}

_Arguments = ParamSpec("_Arguments")


def _drawn(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Draw under `SETTINGS` and no one else's."""

    @functools.wraps(draw)
    def wrapped(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return wrapped


def render(figure: Figure, kind: str) -> bytes:
    """A figure as a file, the same bytes every time.

    Args:
        figure: The figure.
        kind: `png` or `svg`.
    """
    file = io.BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]
        # a name in letters that the font lacks is drawn with boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format=kind, dpi=150, facecolor="white", metadata=metadata)
    return file.getvalue()


@dataclass(frozen=True)
class Look:
    """How a variant looks."""

    colour: str
    line: Any
    marker: str


def looks(found: Findings) -> dict[str, Look]:
    """The look of every variant of the plan, with results or without; 56 variants differ in one of the three."""
    return {
        variant.name: Look(COLOURS[i % len(COLOURS)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
        for i, variant in enumerate(found.plan.variants)
    }


# -- curves ------------------------------------------------------------------------------------------------------


@_drawn
def curves(found: Findings) -> Figure:
    """The plan's metric by epoch: every seed, the mean over seeds, and the 95% t interval of the mean."""
    metric, look = found.plan.metric, looks(found)
    figure = Figure(figsize=(WIDTH, 4.1 + 0.24 * math.ceil(len(found.variants) / _legend_columns(found))))
    axes = figure.subplots()
    lines, labels = [], []
    for position, variant in enumerate(found.variants):
        values = _by_epoch(found, variant.name, found.plan.split, metric)
        style = look[variant.name]
        _seed_lines(axes, values, style.colour, found)
        _mean_line(axes, values, style.colour, style.line, band=True)
        _spaced_markers(axes, values.mean(axis=1), style, position / len(found.variants))
        lines.append(_handle(style))
        final = variant.final[f"{found.plan.split}/{metric}"].mean
        labels.append(f"{in_units(final, metric)}  {_wrapped(variant.name, 34)}")
    axes.set(xlabel="epoch", ylabel=_axis_label(found))
    axes.xaxis.set_major_locator(_whole_numbers())
    figure.legend(
        lines,
        labels,
        loc="outside lower center",
        ncols=_legend_columns(found),
        title=f"after {_epochs(found.epochs)}",
        handlelength=3.2,
        columnspacing=1.5,
    )
    return figure


@_drawn
def overfitting(found: Findings) -> Figure:
    """Accuracy on training (dashed) and test images (solid) by epoch, a panel for each variant."""
    variants = [variant for variant in found.variants if "gap" in variant.final]
    columns = min(len(variants), 2)
    rows = math.ceil(len(variants) / columns)
    figure = Figure(figsize=(WIDTH, 0.6 + (3.2 if columns == 1 else 2.6) * rows))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, variant in zip(grid.flat, variants, strict=False):
        _draw_gap(axes, found, variant)
    for axes in grid.flat[len(variants) :]:
        axes.set_axis_off()
    for column in range(columns):  # the lowest panel of each column has the numbers of the epochs
        lowest = grid[(len(variants) - 1 - column) // columns, column]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%)")
    lines = [Line2D([], [], color=GREY, linestyle="--"), Line2D([], [], color=GREY)]
    figure.legend(lines, ["training images", "test images"], loc="outside lower center", ncols=2, handlelength=3)
    return figure


def _draw_gap(axes: Axes, found: Findings, variant: VariantFindings) -> None:
    style = looks(found)[variant.name]
    ends = []
    for split, line in (("train", "--"), ("test", "-")):
        values = _by_epoch(found, variant.name, split, "acc")
        _seed_lines(axes, values, style.colour, found)
        _mean_line(axes, values, style.colour, line, band=False)
        ends.append((values.index[-1], values.iloc[-1].mean()))
    (epoch, high), (_, low) = ends
    axes.plot([epoch, epoch], [low, high], color="black", linewidth=1, marker="_", markersize=7)
    axes.text(
        *(0.97, 0.05),
        f"gap {in_units(variant.final['gap'].mean, 'gap')}",
        transform=axes.transAxes,
        ha="right",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
    axes.set_title(_wrapped(variant.name, 30), loc="left", fontweight="bold")
    axes.xaxis.set_major_locator(_whole_numbers())


def _by_epoch(found: Findings, variant: str, split: str, metric: str) -> pd.DataFrame:
    """A row for each epoch, a column for each seed, in the units of the figures."""
    table = found.results.table
    rows = table[(table.variant == variant) & (table.split == split) & (table.metric == metric)]
    return rows.pivot(index="epoch", columns="seed", values="value") * _factor(metric)


def _seed_lines(axes: Axes, values: pd.DataFrame, colour: str, found: Findings) -> None:
    if values.shape[1] > 1:
        many = values.size * len(found.variants) > MANY_POINTS
        axes.plot(values.index, values, color=colour, linewidth=0.6, alpha=0.3, rasterized=many)


def _mean_line(axes: Axes, values: pd.DataFrame, colour: str, line: str, *, band: bool) -> None:
    mean, n = values.mean(axis=1), values.shape[1]
    alone: dict[str, Any] = {"marker": "o", "markersize": 4} if len(values) == 1 else {}
    axes.plot(values.index, mean, color=colour, linestyle=line, **alone)
    if band and n > 1:
        half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(axis=1) / n**0.5
        axes.fill_between(values.index, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)


def _spaced_markers(axes: Axes, mean: "pd.Series[float]", style: Look, shift: float) -> None:
    """A few markers along a line, not where another variant has its own."""
    count = min(len(mean), 8)
    chosen = np.unique(((np.arange(count) + shift) * len(mean) / count).astype(int))
    axes.plot(mean.index[chosen], mean.iloc[chosen], style.marker, color=style.colour, markersize=6)


def _legend_columns(found: Findings) -> int:
    """Two where names are short."""
    return 2 if len(found.variants) > 1 and max(len(variant.name) for variant in found.variants) <= 20 else 1


# -- values after the last epoch ---------------------------------------------------------------------------------


@_drawn
def final_values(found: Findings) -> Figure:
    """The plan's metric after the last epoch: a dot for every seed, the mean and its 95% interval."""
    rows = _final_rows(found)
    figure = Figure(figsize=(WIDTH, 0.9 + rows.height))
    _draw_final(figure.subplots(), found, rows)
    return figure


@_drawn
def overview(studies: Sequence[Findings]) -> Figure:
    """The final values of every variant of every study, a panel for each study."""
    rows = [_final_rows(found) for found in studies]
    heights = [each.height for each in rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 1.1 * len(studies)))
    same = len({(found.plan.metric, found.plan.split) for found in studies}) == 1
    panels = figure.subplots(len(studies), sharex=same, squeeze=False, height_ratios=heights)
    for axes, found, its_rows in zip(panels.flat, studies, rows, strict=True):
        _draw_final(axes, found, its_rows)
        axes.tick_params(labelbottom=True)
        axes.set_title(_wrapped(found.plan.name, 60), loc="left", fontweight="bold")
    return figure


def _final_rows(found: Findings) -> "_Rows":
    return _Rows([variant.name for variant in found.variants], 0.6)


def _draw_final(axes: Axes, found: Findings, rows: "_Rows") -> None:
    metric, look = found.plan.metric, looks(found)
    rows.prepare(axes)
    for variant, y in zip(found.variants, rows.middles, strict=True):
        style, end = look[variant.name], variant.final[f"{found.plan.split}/{metric}"]
        # multiples of the golden ratio spread any number of dots evenly, the same way every time
        above = 0.08 + 0.13 * (np.arange(len(variant.values)) * 0.618 % 1)
        values = variant.values * _factor(metric)
        axes.plot(values, y - above, style.marker, color=style.colour, alpha=0.55, markersize=4.5, linestyle="")
        _draw_interval(axes, end, y + 0.1, style, metric)
        _right_text(axes, y + 0.1, in_units(end.mean, metric))
    axes.set_xlabel(f"{_axis_label(found)} after {_epochs(found.epochs)}")


@_drawn
def differences(found: Findings) -> Figure:
    """Every variant minus the reference, paired by seed, with BCa intervals."""
    look = looks(found)
    measured = [
        _Measured(name, look[name], comparison.difference, comparison.t_p_holm)
        for name, comparison in found.comparisons.items()
    ]
    # the reference's name may be long
    label = _wrapped(f"{found.plan.split} {METRIC_NAMES[found.plan.metric]} minus that of {found.plan.reference}", 50)
    return _forest(measured, found.plan.metric, label)


@_drawn
def effects(found: Findings) -> Figure:
    """Main effects and interactions of a factorial study, with t intervals."""
    looks_of = {True: Look("#000000", "-", "o"), False: Look("#000000", "-", "s")}
    measured = [
        _Measured(" x ".join(effect.factors), looks_of[len(effect.factors) == 1], effect.estimate, effect.p_holm)
        for effect in found.effects
    ]
    return _forest(measured, found.plan.metric, f"effect on {found.plan.split} {METRIC_NAMES[found.plan.metric]}")


@dataclass(frozen=True)
class _Measured:
    """What a row of a forest plot shows."""

    name: str
    look: Look
    estimate: Estimate
    p: float


def _forest(measured: Sequence[_Measured], metric: str, label: str) -> Figure:
    """A row for each difference: interval, zero line, and the numbers at the right."""
    rows = _Rows([one.name for one in measured], 0.55)
    figure = Figure(figsize=(WIDTH, 1.1 + rows.height))
    axes = figure.subplots()
    rows.prepare(axes)
    axes.axvline(0, color="black", linewidth=1)
    for one, y in zip(measured, rows.middles, strict=True):
        _draw_interval(axes, one.estimate, y, one.look, metric)
        _right_text(axes, y, f"{difference_in_words(one.estimate, metric)}\n{in_p(one.p)}")
    axes.margins(x=0.12)
    axes.set_xlabel(label + (" (nats)" if metric == "loss" else "\n(percentage points)"))
    return figure


def difference_in_words(estimate: Estimate, metric: str) -> str:
    """`+0.31 (+0.12 to +0.50)`, in points or nats."""
    middle, low, high = (
        in_units(value, metric, signed=True, difference=True).removesuffix(" points")
        for value in (estimate.mean, estimate.low, estimate.high)
    )
    return middle if math.isnan(estimate.low) else f"{middle} ({low} to {high})"


def _draw_interval(axes: Axes, estimate: Estimate, y: float, style: Look, metric: str) -> None:
    factor = _factor(metric)
    if not math.isnan(estimate.low):
        axes.plot([estimate.low * factor, estimate.high * factor], [y, y], color=style.colour, linewidth=2.6)
    axes.plot(estimate.mean * factor, y, style.marker, color=style.colour, markeredgecolor="black", markersize=9)


# -- how soon ----------------------------------------------------------------------------------------------------


@_drawn
def targets(found: Findings) -> Figure:
    """How many epochs each variant takes to each target; what is never reached stands at the right edge."""
    rows = _Rows(list(found.reaching_epochs), 0.3, width=26)
    reached = list(zip(*found.reaching_epochs.values(), strict=True))
    figure = Figure(figsize=(WIDTH, 0.6 + (rows.height + 0.5) * len(reached)))
    panels = figure.subplots(len(reached), sharex=True, squeeze=False).flat
    for axes, row in zip(panels, reached, strict=True):
        axes.set_title(f"to {in_units(row[0].target, found.plan.metric)}", loc="left", fontweight="bold")
        rows.prepare(axes)
        for name, one, y in zip(found.reaching_epochs, row, rows.middles, strict=True):
            _draw_reaching(axes, one, y, looks(found)[name], found.epochs)
            _right_text(axes, y, _never(one))
        axes.set_xlim(0, found.epochs * 1.04)
    last = f"{axes.get_title('left')}, where {_wrapped(found.plan.reference, 50)} ends"
    axes.set_title(last, loc="left", fontweight="bold")
    axes.set_xlabel("epochs")
    axes.xaxis.set_major_locator(_whole_numbers())
    return figure


def _draw_reaching(axes: Axes, one: Reaching, y: float, style: Look, last: int) -> None:
    edge = last * 1.04
    if math.isfinite(one.low):
        axes.plot([one.low, min(one.high, edge)], [y, y], color=style.colour, linewidth=2.6)
    if math.isfinite(one.median):
        axes.plot(one.median, y, style.marker, color=style.colour, markeredgecolor="black", markersize=8)
    if one.reached < one.n:
        axes.plot(edge, y, ">", color=style.colour, markersize=8, clip_on=False)


def _never(one: Reaching) -> str:
    return f"never: {one.n - one.reached} of {one.n}" if one.reached < one.n else ""


# -- what all share ----------------------------------------------------------------------------------------------


class _Rows:
    """Rows of a figure, each as high as its name needs; the y axis counts inches from the top.

    Attributes:
        middles: The y of each row.
        height: Of all rows.
    """

    def __init__(self, names: Sequence[str], least: float, width: int = 18) -> None:
        self._names = [_wrapped(name, width) for name in names]
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
    """A text beside a row."""
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)


def _handle(style: Look) -> Line2D:
    return Line2D([], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=6)


def _wrapped(name: str, width: int) -> str:
    return textwrap.fill(name, width)


def _whole_numbers() -> MaxNLocator:
    return MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count > 1)}"


def _factor(metric: str) -> float:
    return 1.0 if metric == "loss" else 100.0


def _axis_label(found: Findings) -> str:
    unit = "nats" if found.plan.metric == "loss" else "%"
    return f"{found.plan.split} {METRIC_NAMES[found.plan.metric]} ({unit})"


# -- the moving target -------------------------------------------------------------------------------------------


@_drawn
def drift(found: Findings) -> Figure:
    """Above, percentiles of a unit's input in the last hidden layer by step; below, the drift of the layers' inputs.

    The lower panel has a logarithmic scale: with and without batch norm are orders of magnitude apart.
    """
    table, look = found.results.drift, looks(found)
    names = [variant.name for variant in found.variants if (table.variant == variant.name).any()]
    layers = sorted(table.layer.unique(), key=lambda layer: int(layer.removeprefix("hidden")))
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, 2.7 * rows + 3.4))
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.7 * rows, 3.4])
    upper, lower = parts
    panels = upper.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        one = table[(table.variant == name) & (table.layer == layers[-1])]
        one = one[one.seed == one.seed.min()].pivot(index="step", columns="statistic", values="value")
        style = look[name]
        axes.fill_between(one.index, one.p15, one.p85, color=style.colour, alpha=0.2, linewidth=0)
        axes.plot(one.index, one[["p15", "p85"]], color=style.colour, linewidth=0.9)
        axes.plot(one.index, one.p50, color=style.colour, linewidth=2)
        axes.set_title(_wrapped(f"{name}, {layers[-1]}", 30))
        axes.set_xlabel("training step")
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    panels[0][0].set_ylabel("input of a unit's ReLU")
    axes = lower.subplots()
    drifts = table[(table.statistic == "mean_drift") & (table.value > 0)]
    means = drifts.groupby(["variant", "layer", "step"]).value.mean()
    for name in names:
        for layer in layers:
            if (name, layer) in means.index:
                line, last = means[name, layer], layer == layers[-1]
                width, label = (2.2, f"{name}, {layer}") if last else (1.0, f"{name}, {layer} (thin)")
                style = look[name]
                axes.plot(line.index, line, color=style.colour, linestyle=style.line, linewidth=width, label=label)
    axes.set(yscale="log", xlabel="training step", ylabel="drift (initial std)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.legend(fontsize=10, ncols=2, loc="outside lower center")
    return figure
