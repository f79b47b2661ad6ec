"""Figures: pure functions from data to a matplotlib `Figure`, without pyplot and its global state."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fashionreg.data.images import CLASS_NAMES, LabelledImages


def image_grid(data: LabelledImages, rows: int = 4, columns: int = 4) -> Figure:
    """The first `rows * columns` images in reading order, each under its class name; missing ones stay blank."""
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    for position, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if position < len(data):
            # fixed limits: otherwise every image is stretched to its own darkest and brightest pixel
            axes.imshow(data.images[position].numpy(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(CLASS_NAMES[int(data.labels[position])], fontsize=10)
    return figure


def confusion_matrix(counts: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """A confusion matrix, each row in percent of the images of its true class.

    Args:
        counts: int `(K, K)`: row true class, column predicted class.
        class_names: K names.
    """
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    # a square-root scale: the mistakes, a few percent each, would all be white next to a diagonal of 80
    image = axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    for (row, column), value in np.ndenumerate(percent):
        if counts[row, column]:
            color = "white" if value > 35 else "black"
            label = f"{value:.0f}" if value >= 1 else "<1"
            axes.text(column, row, label, ha="center", va="center", color=color, fontsize=9)
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names, rotation=40, ha="right")
    axes.set_yticks(ticks, class_names)
    axes.set(xlabel="predicted", ylabel="true", title="Percent of the images of each true class")
    figure.colorbar(image, ax=axes, label="percent", ticks=[0, 1, 5, 10, 25, 50, 75, 100], shrink=0.8)
    return figure


#: Okabe and Ito's palette: told apart by readers of every colour vision, and in grey by the line styles beside it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


def learning_curves(records: Mapping[str, pd.DataFrame], split: str = "test") -> Figure:
    """Accuracy by epoch: for each run the mean over seeds, a band of one standard deviation, and every single seed.

    Args:
        records: For each run, by name, its `record.csv`.
        split: The split to show.
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, table) in enumerate(records.items()):
        accuracy = 100 * table.query("metric == 'acc' and split == @split").pivot(
            index="epoch", columns="seed", values="value"
        )
        colour, line = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
        mean, spread = accuracy.mean(axis=1), accuracy.std(axis=1).fillna(0)
        axes.plot(accuracy, color=colour, linewidth=0.6, alpha=0.35)
        axes.fill_between(accuracy.index, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        seeds = f"{accuracy.shape[1]} seeds" if accuracy.shape[1] > 1 else "1 seed"
        label = f"{name}: {mean.iloc[-1]:.1f}% after {accuracy.index[-1]} epochs ({seeds})"
        axes.plot(mean, color=colour, linestyle=line, linewidth=2.2, marker="o", markersize=4, label=label)
    axes.set(xlabel="epoch", ylabel=f"{split} accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
