"""Whatever stands on the command line, it is done, or refused in one line with nothing written over."""

import itertools
import re
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import odd_numbers
from fashionreg.cli import main
from samples import check_line, files

COMMANDS = [["data", "subset"], ["data", "show"], ["data", "fetch"], ["export"], ["report"], ["study"], ["data"], []]
OPTIONS = ["--out", "--size", "--seed", "--split", "--csv", "--synthetic", "--root", "--mirror", "--force", "--help"]
OPTIONS += ["--ckpt_path", "--format", "--keep_batch_norm", "--seeds", "--dry_run", "--version", "--", "-", "--config"]
NAMES = ["tiny.yaml", "new.csv", "new.csv.gz", "new.png", "new.pt", "folder", "folder/new.csv", "tiny.yaml/new.csv"]
NAMES += [
    "",
    ".",
    "x" * 300,
    "y/" * 2500,
    "a\nb.png",
    "a\x1b[31m.csv",
    "train",
    "torch",
    "http://localhost:1",
    "file:/x",
]


def can_be_given(word):
    """Whether a process can be given this word; names of files stay below the working folder."""
    surrogates = any("\ud800" <= letter <= "\udfff" and letter != "\udcff" for letter in word)
    return not surrogates and "\0" not in word and not word.startswith("/") and ".." not in word


letters = st.characters(categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\r\t\x1b\x7f\udcff")
words = st.one_of(st.sampled_from(OPTIONS), st.sampled_from(NAMES), odd_numbers, st.text(letters, max_size=30))
words = words.filter(can_be_given)
parts = words.map(lambda word: [word]) | st.tuples(st.sampled_from(OPTIONS), words).map(list)
lines = st.builds(
    lambda command, rest: [*command, *itertools.chain(*rest)], st.sampled_from(COMMANDS), st.lists(parts, max_size=4)
)


@pytest.fixture
def place(workplace, monkeypatch):
    """A working folder with a file and a folder in it, and no network."""

    def unreachable(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.delenv("FASHIONREG_DATA", raising=False)
    (workplace / "folder").mkdir()


@settings(max_examples=2 * settings.default.max_examples)
@given(lines)
def test_it_is_done_or_refused_in_one_line_and_overwrites_nothing(case, place, capfd, line):
    before = files(".")
    capfd.readouterr()
    with case():
        code = main(line)
    err = capfd.readouterr().err
    assert code in (0, 1, 2)
    if code:
        # the line that a download has begun may come first; a study file's problems follow, each in a line
        said = err.split("\n")[:-1]
        while said[0].startswith("downloading "):
            said.pop(0)
        error, *listed = said
        assert error.startswith("fashionreg: error: ")
        count = re.search(r": (a problem|(\d+) problems), nothing was run:$", error)
        assert len(listed) == (int(count[2] or 1) if count else 0), err
        assert all(line.startswith("  ") for line in listed)
        for line in said:
            check_line(line.strip())
    if code or "--force" not in line:
        now = files(".")
        assert {path: now.get(path) for path in before} == before
