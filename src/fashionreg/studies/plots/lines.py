"""Figures over epochs and steps: learning curves, train against test accuracy, and internal covariate shift."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from fashionreg.studies.estimand import title
from fashionreg.studies.findings import Findings, VariantFindings, finite_estimate
from fashionreg.studies.plots.style import WIDTH, Look, axis_label, drawn, hover, looks, scale, whole_numbers, wrapped
from fashionreg.text import POINTS, unit_of

#: With more points than this, lines of single seeds are drawn as pixels, or an SVG file would be megabytes.
MANY_POINTS = 20_000

#: How many values of a line are shown under the pointer at most.
MOST_VALUES = 40

#: Of what stands for all variants: readable on white and on black.
GREY = "#808080"


@drawn
def curves(found: Findings) -> Figure:
    """Draw the plan's metric by epoch: every seed, the mean over seeds, and its 95% interval, that of the table."""
    metric, look = found.plan.metric, looks(found)
    figure = Figure(figsize=(WIDTH, 4.1 + 0.24 * math.ceil(len(found.variants) / _legend_columns(found))))
    axes = figure.subplots()
    lines, labels = [], []
    for position, variant in enumerate(found.variants):
        values = _by_epoch(found, variant.name, found.plan.split, metric)
        style = look[variant.name]
        _seed_lines(axes, values, style.colour, found)
        _mean_line(axes, values, style.colour, style.line)
        _band(axes, values, style.colour, metric)
        _shown_values(axes, values.mean(axis=1, skipna=False), variant.name, style, metric)
        _spaced_markers(axes, values.mean(axis=1, skipna=False), style, position / len(found.variants))
        lines.append(_handle(style))
        final = variant.final[found.plan.key(metric)].mean
        labels.append(f"{unit_of(metric).text(final)}  {wrapped(variant.name, 34)}")
    axes.set(xlabel="epoch", ylabel=axis_label(found, metric))
    axes.xaxis.set_major_locator(whole_numbers())
    figure.legend(
        lines,
        labels,
        loc="outside lower center",
        ncols=_legend_columns(found),
        title=title(found.phrase),
        handlelength=3.2,
        columnspacing=1.5,
    )
    return figure


@drawn
def overfitting(found: Findings) -> Figure:
    """Draw accuracy on training (dashed) and test images (solid) by epoch, a panel for each variant."""
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
        _mean_line(axes, values, style.colour, line)
        _shown_values(axes, values.mean(axis=1, skipna=False), f"{variant.name}, {split} images", style, "acc")
        ends.append((values.index[-1], values.iloc[-1].mean()))
    (epoch, high), (_, low) = ends
    axes.plot([epoch, epoch], [low, high], color="black", linewidth=1, marker="_", markersize=7)
    axes.text(
        *(0.97, 0.05),
        f"gap {POINTS.text(variant.final['gap'].mean)}",
        transform=axes.transAxes,
        ha="right",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
    axes.set_title(wrapped(variant.name, 30), loc="left", fontweight="bold")
    axes.xaxis.set_major_locator(whole_numbers())


def _by_epoch(found: Findings, variant: str, split: str, metric: str) -> pd.DataFrame:
    """Return a row for each epoch, a column for each seed, in the units of the figures; NaN where a seed diverged."""
    table = found.results.table
    rows = table[(table.variant == variant) & (table.split == split) & (table.metric == metric)]
    values = rows.pivot(index="epoch", columns="seed", values="value")
    return values.where(np.isfinite(values)) * scale(metric)


def _seed_lines(axes: Axes, values: pd.DataFrame, colour: str, found: Findings) -> None:
    if values.shape[1] > 1:
        many = values.size * len(found.variants) > MANY_POINTS
        axes.plot(values.index, values, color=colour, linewidth=0.6, alpha=0.3, rasterized=many)


def _mean_line(axes: Axes, values: pd.DataFrame, colour: str, line: str) -> None:
    # a gap where a seed diverged: the mean of the others would look like an improvement
    mean = values.mean(axis=1, skipna=False)
    alone: dict[str, Any] = {"marker": "o", "markersize": 4} if len(values) == 1 else {}
    axes.plot(values.index, mean, color=colour, linestyle=line, **alone)


def _band(axes: Axes, values: pd.DataFrame, colour: str, metric: str) -> None:
    """Draw the interval of the mean of each epoch, with a gap where a seed diverged; none for a single seed."""
    if values.shape[1] > 1:
        means = [finite_estimate(row / scale(metric), metric) for _, row in values.iterrows()]
        low, high = (np.array([getattr(one, end) for one in means]) * scale(metric) for end in ("low", "high"))
        axes.fill_between(values.index, low, high, color=colour, alpha=0.2, linewidth=0)


def _shown_values(axes: Axes, mean: "pd.Series[float]", name: str, style: Look, metric: str) -> None:
    """Draw points that are not seen, and show their values under the pointer."""
    for position in np.unique(np.linspace(0, len(mean) - 1, min(len(mean), MOST_VALUES)).round().astype(int)):
        epoch, value = mean.index[position], mean.iloc[position]
        (point,) = axes.plot(epoch, value, "o", color=style.colour, alpha=0, markersize=8)
        hover(point, f"{name}, epoch {epoch}: {unit_of(metric).text(value / scale(metric))}")


def _spaced_markers(axes: Axes, mean: "pd.Series[float]", style: Look, shift: float) -> None:
    """Draw a few markers along a line, not where those of another variant are."""
    count = min(len(mean), 8)
    chosen = np.unique(((np.arange(count) + shift) * len(mean) / count).astype(int))
    axes.plot(mean.index[chosen], mean.iloc[chosen], style.marker, color=style.colour, markersize=6)


def _legend_columns(found: Findings) -> int:
    """Return the number of columns: two where names are short."""
    return 2 if len(found.variants) > 1 and max(len(variant.name) for variant in found.variants) <= 20 else 1


def _handle(style: Look) -> Line2D:
    return Line2D([], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=6)


@drawn
def drift(found: Findings) -> Figure:
    """Draw percentiles of the input of a unit in the last hidden layer by step, and below the drift of layer inputs.

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
        axes.set_title(wrapped(f"{name}, {layers[-1]}", 30))
        axes.set_xlabel("training step")
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    panels[0][0].set_ylabel("input of a unit's ReLU")
    axes = lower.subplots()
    drifts = table[(table.statistic == "mean_drift") & (table.value > 0)]
    means = drifts.groupby(["variant", "layer", "step"]).value.mean()
    means = means[np.isfinite(means)]
    for name in names:
        for layer in layers:
            if (name, layer) in means.index:
                line, last = means[name, layer], layer == layers[-1]
                width, label = (2.2, f"{name}, {layer}") if last else (1.0, f"{name}, {layer} (thin)")
                style = look[name]
                axes.plot(line.index, line, color=style.colour, linestyle=style.line, linewidth=width, label=label)
    axes.set(yscale="log", xlabel="training step", ylabel="drift (initial std)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(means):
        lower.legend(fontsize=10, ncols=2, loc="outside lower center")
    return figure
