"""What all figures share: settings, the look of a variant, and rendering to the same bytes every time."""

import functools
import io
import re
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fashionreg.palette import COLOURS, LINES, MARKERS
from fashionreg.studies.findings import Findings
from fashionreg.studies.vectors import HOVER, with_titles
from fashionreg.text import unit_of

#: Width of a figure in inches: with this text size, text is still readable when the page is as narrow as a phone.
WIDTH = 6.6

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


def drawn(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Draw under `SETTINGS`, whatever else is set in this process."""

    @functools.wraps(draw)
    def wrapped(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return wrapped


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file, the same bytes every time.

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
    return with_titles(file.getvalue()) if kind == "svg" else file.getvalue()


def hover(artist: Artist, text: str) -> None:
    """Show a text where the pointer is on an artist: in SVG, in a browser."""
    artist.set_gid(f"{HOVER}{text}")


@dataclass(frozen=True)
class Look:
    """How a variant looks."""

    colour: str
    line: Any
    marker: str


def looks(found: Findings) -> dict[str, Look]:
    """Return the look of every variant of the plan, with results or without; 56 variants differ in one of the three."""
    return {
        variant.name: Look(COLOURS[i % len(COLOURS)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)])
        for i, variant in enumerate(found.plan.variants)
    }


def wrapped(name: str, width: int) -> str:
    """Break a name into lines of at most `width` characters, where it can be after a space, `=` or `,`."""
    lines = [""]
    for part in re.split(r"(?<=[=,\s])(?=\S)", name):
        if len(lines[-1] + part.rstrip()) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(textwrap.fill(line, width) for line in lines if line)


def whole_numbers() -> MaxNLocator:
    """Return a locator that puts ticks at whole numbers only."""
    return MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def scale(metric: str) -> float:
    """Return what a value is multiplied by for an axis: accuracy is in percent, loss in nats."""
    return unit_of(metric).factor


def axis_label(found: Findings, outcome: str) -> str:
    """Return an outcome of the plan with its unit."""
    return unit_of(outcome).after(found.plan.label(outcome))
