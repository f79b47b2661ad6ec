"""The figures of a page as files, and as parts of it."""

from matplotlib.figure import Figure
from tqdm import tqdm

from fashionreg.studies import plots
from fashionreg.studies.page import Picture


class Pictures:
    """The figures of a page, collected while it is made.

    Attributes:
        files: Path from the folder, and content, of each figure's SVG and PNG files.
        prefix: What names of files begin with.
        note: What every caption ends with.
    """

    def __init__(self) -> None:
        self.prefix = ""
        self.note = ""
        self._bar = tqdm(desc="figures", unit="", delay=2, leave=False, disable=None)
        self.files: dict[str, bytes] = {}

    def add(self, name: str, figure: Figure, text: str, caption: str) -> Picture:
        """Render a figure; `text` describes it to readers who cannot see it."""
        svg = plots.render(figure, "svg")
        stem = f"figures/{self.prefix}{name}"
        self.files[f"{stem}.svg"] = svg
        # the layout stands: to find it again takes as long as to draw
        figure.set_layout_engine("none")
        self.files[f"{stem}.png"] = plots.render(figure, "png")
        self._bar.update()
        return Picture(f"{stem}.png", svg, text, caption + self.note)

    def close(self) -> None:
        """Remove the progress bar."""
        self._bar.close()
