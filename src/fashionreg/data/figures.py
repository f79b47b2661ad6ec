"""Draw grids of images with their classes as matplotlib `Figure`s, without pyplot and its global state."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fashionreg.data.images import LabelledImages


def image_grid(
    data: LabelledImages, rows: int = 4, columns: int = 4, class_names: Sequence[str] | None = None
) -> Figure:
    """Draw the first `rows * columns` images in reading order, each under its class name; other cells stay blank."""
    names = class_names or data.names
    return _grid(data, [names[label] for label in data.labels[: rows * columns].tolist()], rows, columns, 10)


def _grid(
    data: LabelledImages, captions: Sequence[str], rows: int, columns: int, fontsize: float, title: str = ""
) -> Figure:
    """Draw a cell for each caption, in reading order, with the image of the same index below it."""
    # in inches; a layout engine would draw everything twice to find the positions that are known here
    size, gap, top = 1.42, 0.08, 0.3 if title else 0.0
    line = 1.25 * fontsize / 72
    row = size + gap + 0.06 + line * (1 + max((caption.count("\n") for caption in captions), default=0))
    width, height = columns * (size + gap), top + rows * row
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, fontsize=10, y=1 - 0.06 / height, va="top")
    for position in range(rows * columns):
        down, across = divmod(position, columns)
        left, bottom = gap / 2 + across * (size + gap), height - top - (down + 1) * row + gap / 2
        axes = figure.add_axes((left / width, bottom / height, size / width, size / height))
        axes.set_axis_off()
        if position < len(captions):
            image = data.images[position]
            # fixed limits: otherwise matplotlib stretches each image to its darkest and brightest pixel
            axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1 if image.is_floating_point() else 255)
            axes.set_title(captions[position], fontsize=fontsize, pad=4, y=1)
    return figure


def worst_mistakes(
    data: LabelledImages,
    predicted: NDArray[np.int64],
    probability: NDArray[np.float64],
    rows: int = 4,
    columns: int = 4,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Draw misclassified images in reading order, each under its true and its predicted class.

    Args:
        data: M images with their true classes, the most confident mistake first; those beyond `rows * columns` are not
            shown.
        predicted: int `(M,)`, the class predicted for each.
        probability: float `(M,)`, 0 to 1, given to that class.
        rows: Rows of the grid.
        columns: Columns of the grid.
        class_names: Names of the classes, by label; by default those of the data.
    """
    names = class_names or data.names
    captions = [
        f"{names[true]}\n\N{RIGHTWARDS ARROW} {names[wrong]} ({_percent(share)})"
        for true, wrong, share in zip(data.labels.tolist(), predicted.tolist(), probability.tolist(), strict=True)
    ][: rows * columns]
    title = "Most certain mistakes: true class \N{RIGHTWARDS ARROW} predicted class (probability)"
    return _grid(data, captions, rows, columns, 9, title if captions else "No mistakes")


def _percent(share: float) -> str:
    """Format a share in percent; above 99.9% it is not rounded to 100%."""
    return ">99.9%" if share > 0.999 else f"{100 * share:.1f}%"
