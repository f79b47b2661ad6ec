"""A page as a list of blocks, and its two renderings: one HTML file that needs nothing else, and Markdown."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; may hold sections."""

    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Text:
    """A paragraph; with `hint`, one that helps to read what stands beside it."""

    text: str
    hint: bool = False


@dataclass(frozen=True)
class Warnings:
    """What a reader must see before believing the rest, one sentence each."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Items:
    """A list; with `strong`, the sentences that matter most."""

    texts: Sequence[str]
    strong: bool = False


@dataclass(frozen=True)
class Code:
    """Words of a command line."""

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


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        path: Of its PNG file, from the page's folder.
        svg: The same as SVG.
        text: What it shows, in words, for those who do not see it.
        caption: What stands below it.
    """

    path: str
    svg: bytes
    text: str
    caption: str


Block = Section | Text | Warnings | Items | Code | Table | Picture

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --line: #d0d7de; --card: #f6f8fa;
  --link: #0550ae; --warn-ink: #5c3d00; --warn: #fff4d6; --warn-line: #d4a72c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #a0aab5; --paper: #0d1117; --line: #3d444d;
  --card: #161b22; --link: #79b8ff; --warn-ink: #f5dfa6; --warn: #2e2508; --warn-line: #9e7a1c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif;
  overflow-wrap: break-word; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .3rem; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 2.6rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .8rem 0; }
.lead { font-size: 1.15rem; color: var(--soft); margin: 0 0 1rem; }
.hint, figcaption, caption { color: var(--soft); font-size: .92rem; }
.strong li { margin: .5rem 0; }
.warnings { background: var(--warn); color: var(--warn-ink); border: 1px solid var(--warn-line); border-radius: .5rem;
  padding: .6rem 1rem; margin: 1rem 0; }
.warnings p { margin: .2rem 0; }
figure { margin: 1.2rem 0; }
figure img { display: block; width: 100%; max-width: 46rem; height: auto; background: #ffffff; border-radius: .6rem;
  border: 1px solid var(--line); padding: .4rem; }
figcaption { margin-top: .5rem; max-width: 46rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
td { white-space: nowrap; }
thead th { vertical-align: bottom; font-weight: 600; min-width: 5.5rem; max-width: 11rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 6.5rem;
  max-width: 11rem; overflow-wrap: break-word; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem;
  overflow-x: auto; }
@media (max-width: 40rem) { main { padding: .5rem .8rem 3rem; } h1 { font-size: 1.45rem; }
  figure img { padding: .1rem; } }
@media print { .wide { overflow: visible; } figure, tr { break-inside: avoid; } }
"""


# -- HTML --------------------------------------------------------------------------------------------------------


def to_html(title: str, lead: str, blocks: Sequence[Block]) -> str:
    """One file with style and figures inside, without scripts; it asks the network for nothing.

    Args:
        title: Heading of the page.
        lead: A line below it; may be empty.
        blocks: The rest.
    """
    sections = [block.title for block in blocks if isinstance(block, Section)]
    links = "".join(f'<li><a href="#s{n}">{html.escape(text)}</a></li>' for n, text in enumerate(sections, 1))
    lead = f'<p class="lead">{html.escape(lead)}</p>\n' if lead else ""
    body, number = [], 0
    for block in blocks:
        number += isinstance(block, Section)
        body.append(_html(block, 2, f' id="s{number}"'))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # an icon of nothing: browsers ask for /favicon.ico otherwise
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html.escape(title)}</h1>\n{lead}"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n' + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block, level: int, attributes: str = "") -> str:
    match block:
        case Section(title, blocks):
            inner = "\n".join(_html(part, level + 1) for part in blocks)
            return f"<section{attributes}>\n<h{level}>{html.escape(title)}</h{level}>\n{inner}\n</section>"
        case Text(text, hint):
            return f"<p{_of_class('hint', hint)}>{html.escape(text)}</p>"
        case Warnings(sentences):
            inner = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
            return f'<div class="warnings" role="note"><p><strong>Mind this</strong></p>{inner}</div>'
        case Items(texts, strong):
            inner = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
            return f"<ul{_of_class('strong', strong)}>{inner}</ul>"
        case Code(text):
            return f'<pre tabindex="0"><code>{html.escape(text)}</code></pre>'
        case Table():
            return _html_table(block)
        case Picture():
            data = base64.b64encode(block.svg).decode()
            return (
                f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{html.escape(block.text)}">'
                f"<figcaption>{html.escape(block.caption)}</figcaption></figure>"
            )


def _of_class(name: str, applies: bool) -> str:
    return f' class="{name}"' if applies else ""


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_breakable(name)}</th>' for name in table.head)
    rows = ""
    for first, *rest in table.rows:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in rest)
        rows += f'<tr><th scope="row">{_breakable(first)}</th>{cells}</tr>\n'
    # wide tables scroll on their own, and from the keyboard too
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(table.caption)}"><table>\n'
        f"<caption>{html.escape(table.caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    )


def _breakable(name: str) -> str:
    """A name that may be broken after dots and underscores, as dotted option names are long."""
    return re.sub(r"(?<=[^\W\d])([._])(?=[^\W\d])", r"\1<wbr>", html.escape(name))


# -- Markdown ----------------------------------------------------------------------------------------------------


def to_markdown(title: str, lead: str, blocks: Sequence[Block]) -> str:
    """The same page in GitHub-flavoured Markdown; figures are links to their files."""
    parts = [f"# {_md(title)}", *([_md(lead)] if lead else []), *(_markdown(block, 2) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block, level: int) -> str:
    match block:
        case Section(title, blocks):
            return "\n\n".join([f"{'#' * level} {_md(title)}", *(_markdown(part, level + 1) for part in blocks)])
        case Text(text):
            return _md(text)
        case Warnings(sentences):
            return "> **Mind this**\n" + "\n".join(f">\n> {_md(sentence)}" for sentence in sentences)
        case Items(texts):
            return "\n".join(f"- {_md(text)}" for text in texts)
        case Code(text):
            return f"```\n{text}\n```"
        case Table(caption, head, rows):
            ruler = "| --- |" + " ---: |" * (len(head) - 1)
            lines = ["| " + " | ".join(map(_md, cells)) + " |" for cells in (head, *rows)]
            return f"**{_md(caption)}**\n\n" + "\n".join([lines[0], ruler, *lines[1:]])
        case Picture(path, _, text, caption):
            return f"![{_md(text)}]({path})\n\n*{_md(caption)}*"


def _md(text: str) -> str:
    """Text that Markdown shows as it is: on one line, with everything escaped that would mean something."""
    text = re.sub(r"([\\`*|$\[\]~&]|<(?=\S)|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
    # at the start of a line these make headings, quotes and lists
    return re.sub(r"^(\d*)(>|#(?=#*\s)|[+-](?=\s)|(?<=\d)[.)](?=\s))", r"\1\\\2", text)
