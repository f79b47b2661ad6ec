"""Figures of what networks get right and wrong: pure functions to a matplotlib `Figure`, without pyplot."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fashionreg.palette import COLOURS


def confusion_matrix(counts: NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix, each row in percent of the images of its true class.

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


def class_accuracy(accuracy: NDArray[np.float64], class_names: Sequence[str]) -> Figure:
    """Draw the accuracy of each class: a bar for the mean over seeds and, with several seeds, a dot for every one.

    Args:
        accuracy: float `(S, K)`, 0 to 1: the share of the images of a class that each seed's network gets right; NaN
            where a class has no images.
        class_names: K names.
    """
    seeds, classes = accuracy.shape
    percent = 100 * accuracy
    mean = percent.mean(axis=0)
    figure = Figure(figsize=(7, 0.42 * classes + 1.1), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(classes)
    axes.barh(positions, np.nan_to_num(mean), height=0.65, color=COLOURS[5])
    if seeds > 1:
        # spread over the height of the bar, since equal accuracies would lie on one another
        offsets = np.linspace(-0.22, 0.22, seeds)[:, None] + positions
        axes.scatter(percent, offsets, s=12, color=COLOURS[0], linewidths=0, alpha=0.8, zorder=3)
    # past the best seed's dot, so that the number does not hide it
    for position, end, value in zip(positions, np.nan_to_num(percent).max(axis=0), mean, strict=True):
        label = "no images" if np.isnan(value) else f"{value:.1f}"
        axes.annotate(label, (end, position), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(positions, class_names)
    axes.invert_yaxis()
    what = f"mean of {seeds} seeds, a dot for each" if seeds > 1 else "1 seed"
    axes.set(xlim=(0, 109), xlabel="accuracy (%)", title=f"Accuracy by class ({what})")
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def reliability_diagram(
    counts: NDArray[np.int64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> Figure:
    """Draw how far confidence can be trusted (Guo et al. 2017): accuracy by confidence, and number of answers.

    The title gives the expected calibration error: the mean over answers of the distance between mean confidence and
    accuracy in the answer's bin.

    Args:
        counts: int `(M,)`, answers in each of M bins of equal width between confidence 0 and 1; not all 0.
        confidence: float `(M,)`, 0 to 1, the mean confidence in each bin; not looked at where there is no answer.
        accuracy: float `(M,)`, 0 to 1, the share of right answers in each bin; likewise.
    """
    edges = np.linspace(0, 100, len(counts) + 1)
    filled = counts > 0
    weights, sure, right = counts[filled], 100 * confidence[filled], 100 * accuracy[filled]
    error = np.average(np.abs(right - sure), weights=weights)
    figure = Figure(figsize=(5.5, 6.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bars = {"align": "edge", "width": 100 / len(counts), "edgecolor": "white", "linewidth": 1}
    above.bar(edges[:-1][filled], right, color=COLOURS[5], label="accuracy", **bars)
    above.plot([0, 100], [0, 100], color=COLOURS[6], linestyle="--", linewidth=1, label="perfectly calibrated")
    above.vlines(sure, np.minimum(sure, right), np.maximum(sure, right), color=COLOURS[1], linewidth=2, label="error")
    above.plot(sure, right, "o", color=COLOURS[0], markersize=4, label="at mean confidence")
    above.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy (%)", title=f"Expected calibration error: {error:.2f}%")
    # outside: an underconfident network fills the upper left corner, an overconfident one the lower right
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=4, columnspacing=1.2)
    below.bar(edges[:-1], 100 * counts / counts.sum(), color=COLOURS[0], **bars)
    below.set(xlabel="confidence (%)", ylabel=f"% of {counts.sum():,}\nanswers")
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
