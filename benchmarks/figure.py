"""How the cost of training grows."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.measure import Row
from fashionreg.palette import COLOURS, LINES


def scaling(rows: Sequence[Row]) -> Figure:
    """Plot seconds an epoch and seed against number of seeds, width of the network and size of the data.

    The first is shown eager and compiled, the others compiled.

    Args:
        rows: Those of the results file; the rows marked `point` are shown.
    """
    points = [row for row in rows if row["point"]]
    compiled = [row for row in points if row["compiled"]]
    full = max(row["images"] for row in points)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    by_seeds, by_width, by_images = figure.subplots(1, 3, sharey=True)

    usual_size = [row for row in points if row["width"] == 64 and row["images"] == full]
    ways = {"eager": False, "compiled": True}
    lines = {name: [row for row in usual_size if row["compiled"] is way] for name, way in ways.items()}
    _panel(by_seeds, "seeds", "seeds S", lines)
    for axes, key, label, fixed, usual in (
        (by_width, "width", "width of the first hidden layer", "images", full),
        (by_images, "images", "training images", "width", 64),
    ):
        chosen = [row for row in compiled if row[fixed] == usual]
        lines = {f"S = {seeds}, compiled": [row for row in chosen if row["seeds"] == seeds] for seeds in (1, 10)}
        _panel(axes, key, label, lines)
    by_seeds.set_ylabel("seconds an epoch and seed")
    return figure


def _panel(axes: Axes, key: str, label: str, lines: dict[str, list[Row]]) -> None:
    """Plot lines of medians with bars from the smallest to the largest measurement."""
    axes.set(xlabel=label, xscale="log", yscale="log")
    for number, (name, unsorted) in enumerate(lines.items()):
        rows = sorted(unsorted, key=lambda row: row[key])
        middle = [row["per_seed"] for row in rows]
        below = [(row["median"] - row["min"]) / row["seeds"] for row in rows]
        above = [(row["max"] - row["median"]) / row["seeds"] for row in rows]
        axes.errorbar(
            [row[key] for row in rows],
            middle,
            [below, above],
            color=COLOURS[number],
            linestyle=LINES[number],
            marker="o",
            capsize=3,
            label=name,
        )
    axes.set_xticks(sorted({row[key] for rows in lines.values() for row in rows}))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
