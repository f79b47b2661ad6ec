"""A page as a list of blocks, and its two renderings: one HTML file that needs nothing else, and Markdown.

The HTML is in `page.html.jinja`, which escapes every text. Control characters are shown in both as Python writes them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from fashionreg.studies.vectors import inline

T = TypeVar("T")

#: Estimates in rem, to say of a table whether it is wider than the page: a character, the padding of a cell, the least
#: width of a column, and the text of a page on a wide and on a narrow screen.
EM, PADDING, MIN_COLUMN, WIDE, NARROW = 0.48, 1.2, 4.5, 76, 20

#: Characters after which the name of a column or row is broken.
BROKEN = 18

#: Characters that a word of a name may have without being broken.
LONG = 15


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; may hold sections."""

    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Text:
    """A paragraph; with `hint`, one that explains what is beside it."""

    text: str
    hint: bool = False


@dataclass(frozen=True)
class Answer:
    """The sentence that a reader came for."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names with what they stand for, a line each; with `terms`, explanations of words."""

    pairs: Sequence[tuple[str, str]]
    terms: bool = False


@dataclass(frozen=True)
class Link:
    """A line with the address of another page."""

    text: str
    address: str


@dataclass(frozen=True)
class Warnings:
    """What makes the results doubtful, one sentence each."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Items:
    """A list; with `strong`, in larger space."""

    texts: Sequence[str]
    strong: bool = False


@dataclass(frozen=True)
class Code:
    """A command line."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows.
        head: Name of each column.
        rows: The cells, as many in each row as in the head.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def scrolls(self) -> str:
        """Where the table is wider than the page: `always`, on a `narrow` screen, or empty for nowhere."""
        width = 0.0
        for position, (heading, *cells) in enumerate(zip(self.head, *self.rows, strict=True)):
            # names of columns and rows are broken, other cells are one line each
            name = min(max(map(len, heading.split()), default=0), BROKEN)
            longest = max(map(len, cells), default=0)
            characters = max(name, min(longest, BROKEN) if position == 0 else longest)
            width += max(MIN_COLUMN, EM * characters + PADDING)
        return "always" if width > WIDE else "narrow" if width > NARROW else ""


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        path: Path of its PNG file from the page's folder.
        svg: The same as SVG.
        text: What it shows, for readers who cannot see it.
        caption: The text below it.
    """

    path: str
    svg: bytes
    text: str
    caption: str

    @property
    def inline(self) -> Markup:
        """The figure as a part of a page."""
        return inline(self.svg, Path(self.path).stem)


Block = Section | Text | Answer | Facts | Link | Warnings | Items | Code | Table | Picture


# -- HTML --------------------------------------------------------------------------------------------------------


def to_html(title: str, lead: str, blocks: Sequence[Block]) -> str:
    """Return one HTML file with style and figures inside, without scripts; it loads nothing from elsewhere.

    Args:
        title: Heading of the page.
        lead: A line below it; may be empty.
        blocks: The rest.
    """
    return _template().render(title=title, lead=lead, blocks=blocks) + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"kind": _kind, "breakable": _breakable}
    return environment.get_template("page.html.jinja")


def _shown(value: T) -> T:
    """Escape the control characters of a text (of markup, it stays markup): a terminal would obey them."""
    if not isinstance(value, str):
        return value
    return type(value)(re.sub(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", lambda one: ascii(one[0])[1:-1], value))


def _kind(block: Block) -> str:
    """Return the name of a block's class, by which the template tells blocks apart."""
    return type(block).__name__


def _breakable(name: str) -> Markup:
    """Mark where a line may break within a name: after `=` and `,`, in long names also after dots and underscores."""
    marked = []
    for part in re.split(r"(?<=[=,])", name):
        text, long = str(escape(part)), max(map(len, part.split()), default=0) > LONG
        marked.append(re.sub(r"(?<=[^\W\d])([._])(?=[^\W\d])", r"\1<wbr>", text) if long else text)
    return Markup("<wbr>".join(marked))


# -- Markdown ----------------------------------------------------------------------------------------------------


def to_markdown(title: str, lead: str, blocks: Sequence[Block]) -> str:
    """Return the same page in GitHub-flavoured Markdown; figures are links to their files."""
    parts = [f"# {escaped(title)}", *([escaped(lead)] if lead else []), *(_markdown(block, 2) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block, level: int) -> str:
    match block:
        case Section(title, blocks):
            return "\n\n".join([f"{'#' * level} {escaped(title)}", *(_markdown(part, level + 1) for part in blocks)])
        case Text(text):
            return escaped(text)
        case Answer(text):
            return f"**{escaped(text)}**"
        case Facts(pairs):
            return "\n".join(f"- **{escaped(name)}**: {escaped(text)}" for name, text in pairs)
        case Link(text, address):
            return f"[{escaped(text)}]({address})"
        case Warnings(sentences):
            return "> **Warnings**\n" + "\n".join(f">\n> {escaped(sentence)}" for sentence in sentences)
        case Items(texts):
            return "\n".join(f"- {escaped(text)}" for text in texts)
        case Code(text):
            # a fence longer than any in the text, which could end the block otherwise
            fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
            return f"{fence}\n{_shown(text)}\n{fence}"
        case Table(caption, head, rows):
            ruler = "| --- |" + " ---: |" * (len(head) - 1)
            lines = ["| " + " | ".join(map(escaped, cells)) + " |" for cells in (head, *rows)]
            return f"**{escaped(caption)}**\n\n" + "\n".join([lines[0], ruler, *lines[1:]])
        case Picture(path, _, text, caption):
            return f"![{escaped(text)}]({path})\n\n*{escaped(caption)}*"


def escaped(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    text = re.sub(r"([\\`*|$\[\]~&]|<(?=\S)|(?<!\w)_|_(?!\w))", r"\\\1", _shown(" ".join(text.split())))
    # at the start of a line these make headings, quotes and lists
    return re.sub(r"^(\d*)(>|#(?=#*\s)|[+-](?=\s)|(?<=\d)[.)](?=\s))", r"\1\\\2", text)
