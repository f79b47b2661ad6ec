"""Damage as files suffer it, as strategies of hypothesis that start from the bytes of a good file."""

import re

from hypothesis import strategies as st

#: Numbers as no reader should take them without a thought, and text in their place.
ODD = ["", " ", "-0", "+5", "5.0", "1e2", "0x10", "1_000", "\u0663", "\uff15", "\u00b2", "\u22123", "5,0", '"5"', "'5'"]
ODD += ["5 5", "0005", "-1", "2", "256", "1e400", "NaN", "nan", "inf", "-inf", "NA", "null", "True", "1j", "=1+1"]

odd_numbers = st.one_of(
    st.sampled_from([*ODD, 400 * "9"]), st.integers().map(str), st.floats().map(repr), st.text(max_size=8)
)


def _place(draw, content):
    return draw(st.integers(0, max(len(content) - 1, 0)))


def _flip_bit(draw, content):
    place = _place(draw, content)
    return (
        content[:place]
        + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in content[place : place + 1])
        + (content[place + 1 :])
    )


def _cut(draw, content):
    return content[: _place(draw, content)]


def _insert(draw, content):
    place = _place(draw, content)
    return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]


def _delete(draw, content):
    place = _place(draw, content)
    return content[:place] + content[place + draw(st.integers(1, 64)) :]


def _duplicate(draw, content):
    place = _place(draw, content)
    part = content[place : place + draw(st.integers(1, 64))]
    return content[:place] + part + content[place:]


def _zeros(draw, content):
    """What a file system may leave where a block was never written."""
    place, length = _place(draw, content), draw(st.integers(1, 512))
    return content[:place] + bytes(min(length, len(content) - place)) + content[place + length :]


def _append(draw, content):
    return content + draw(st.one_of(st.binary(min_size=1, max_size=64), st.just(content)))


BYTES = (_flip_bit, _cut, _insert, _delete, _duplicate, _zeros, _append)


def _lines(draw, content):
    """One line deleted, doubled, or in the place of another."""
    lines = content.splitlines(keepends=True) or [b""]
    one, other = _place(draw, lines), _place(draw, lines)
    way = draw(st.sampled_from(["delete", "double", "swap"]))
    if way == "swap":
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one : one + 1] = [] if way == "delete" else 2 * [lines[one]]
    return b"".join(lines)


def _cells(draw, content):
    """One value of a table replaced, deleted or doubled."""
    lines = content.split(b"\n")
    row = _place(draw, lines)
    cells = lines[row].split(b",")
    cell = _place(draw, cells)
    way = draw(st.sampled_from(["replace", "delete", "double"]))
    new = {"replace": [draw(odd_numbers).encode()], "delete": [], "double": 2 * [cells[cell]]}[way]
    lines[row] = b",".join([*cells[:cell], *new, *cells[cell + 1 :]])
    return b"\n".join(lines)


def _columns(draw, content):
    """Two columns of a table swapped, in every line or in one."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    one, other = _place(draw, rows[0]), _place(draw, rows[0])
    only = draw(st.one_of(st.none(), st.integers(0, len(rows) - 1)))
    for index, row in enumerate(rows):
        if max(one, other) < len(row) and only in (None, index):
            row[one], row[other] = row[other], row[one]
    return b"\n".join(map(b",".join, rows))


def _line_endings(draw, content):
    return content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\x85", b"\x0b", b" \n", b""])))


def _encoding(draw, content):
    text = content.decode(errors="replace")
    return text.encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "cp037", "utf-7"])), errors="replace")


TABLE = (_cells, _columns, _lines, _line_endings, _encoding, *BYTES)
TEXT = (_lines, _line_endings, _encoding, *BYTES)


@st.composite
def damaged(draw, content, ways=BYTES):
    """`content` after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.sampled_from(ways))(draw, content)
    return content


def numbers_replaced(text):
    """A text (JSON, YAML) in which one of the numbers was replaced by something odd."""
    places = [match.span() for match in re.finditer(r"(?<![\w.])-?\d+(\.\d+)?([eE][+-]?\d+)?(?![\w.])", text)]
    return st.builds(
        lambda place, new: (text[: place[0]] + new + text[place[1] :]).encode(), st.sampled_from(places), odd_numbers
    )
