"""Whatever stands on the command line, it is done, or refused in one line with nothing written over."""

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import odd_numbers
from fashionreg.cli import main
from samples import check_line, files

COMMANDS = [["data", "subset"], ["data", "show"], ["data", "fetch"], ["export"], ["report"], ["study"], ["data"], []]
OPTIONS = ["--out", "--size", "--seed", "--split", "--csv", "--synthetic", "--root", "--mirror", "--force", "--help"]
OPTIONS += [
    "--ckpt_path",
    "--format",
    "--keep_batch_norm",
    "--seeds",
    "--dry_run",
    "--version",
    "--",
    "-",
    "--o",
    "--config",
]

letters = st.characters(categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\r\t\x1b\x7f\udcff")
# names of files stay below the working folder; no word holds NUL, which no process can be given
free = st.text(letters, max_size=30).map(lambda word: word.lstrip("/~").replace("..", "."))
names = st.sampled_from(
    ["tiny.yaml", "new.csv", "new.csv.gz", "new.png", "new.pt", "folder", "folder/new.csv", "tiny.yaml/new.csv", "."]
    + [
        "",
        "x" * 300,
        "y/" * 2500,
        "a\nb.png",
        "a\x1b[31m.csv",
        "train",
        "test",
        "torch",
        "http://localhost:1",
        "file:/x",
    ]
)
words = st.one_of(st.sampled_from(OPTIONS), names, odd_numbers.filter(lambda word: "\0" not in word), free)
words = words.filter(
    lambda word: not word.startswith("/") and all(c == "\udcff" or not "\ud800" <= c <= "\udfff" for c in word)
)
parts = words.map(lambda word: [word]) | st.tuples(st.sampled_from(OPTIONS), words).map(list)
lines = st.builds(lambda *parts: sum(parts[1], parts[0]), st.sampled_from(COMMANDS), st.lists(parts, max_size=4))


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
    out, err = capfd.readouterr()
    assert code in (0, 1, 2)
    if code:
        # the line that a download has begun may come first
        *said, error = err.split("\n")[:-1]
        assert error.startswith("fashionreg: error: ")
        assert all(line.startswith("downloading ") for line in said), err
        check_line(error)
    if code or "--force" not in line:
        now = files(".")
        assert {path: now.get(path) for path in before} == before
