"""Paths, arguments and streams that no user means: one line, in time, and nothing written where it should not be."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fashionreg.cli import main
from fashionreg.errors import LONGEST_LINE, UserError, printable
from fashionreg.files import check_output, whole_file
from samples import LAST

LONG = "x" * 5000
CSV = ["--data", "fashionreg.data.datamodules.CSVDataModule", "--data.init_args.path"]
OFFICIAL = ["--data.init_args.mirror", "http://127.0.0.1:9/", "--data.init_args.root"]
OFFICIAL = ["--data", "fashionreg.data.datamodules.FashionMNISTDataModule", *OFFICIAL]
FIT = ["fit", "--config", "tiny.yaml"]


@pytest.fixture
def pipe(workplace):
    os.mkfifo("pipe")
    os.mkfifo("pipe.csv")
    os.mkfifo("pipe.png")
    Path("folder").mkdir()


CHECKPOINTS = {
    "/etc/passwd": "is not a whole checkpoint",
    "folder": "a folder, expected the file of a checkpoint",
    "pipe": "is a pipe, expected a regular file",
    "/dev/zero": "is a device, expected a regular file",
    "empty.ckpt": "the file is empty",
    LONG: "File name too long",
}


@pytest.mark.parametrize("command", [["test", "--ckpt_path"], ["export", "--out", "x.pt", "--ckpt_path"]])
@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path[:12])
def test_what_is_no_checkpoint_is_said_before_it_is_read(command, path, pipe, refusal):
    Path("empty.ckpt").touch()
    assert CHECKPOINTS[path] in refusal(*command, path)[1]


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--config"],
        [*FIT, "--name"],
        [*FIT, *CSV],
        [*FIT, *OFFICIAL],
        [*FIT, "--trainer.default_root_dir"],
        ["study"],
        ["report"],
        ["data", "show", "--synthetic", "--out"],
        ["data", "show", "--out", "x.png", "--csv"],
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_a_path_too_long_for_the_system_is_one_line_shortened(words, refusal):
    _, line = refusal(*words, LONG + (".png" if words[-1] == "--out" else ""))
    assert len(line) < LONGEST_LINE + 100
    assert "too long" in line or "/study.json" in line


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--config", "pipe"],
        [*FIT, *CSV, "pipe.csv"],
        ["study", "pipe"],
        ["data", "show", "--out", "x.png", "--csv", "pipe.csv"],
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_a_pipe_is_refused_and_not_waited_for(words, pipe, refusal):
    assert "is a pipe, expected a regular file" in refusal(*words)[1]


def test_a_pipe_or_an_odd_name_among_images_to_classify_is_one_line(fitted, refusal, pipe):
    for name in ("pipe.csv", "pipe.png"):
        assert "is a pipe" in refusal("predict", "--ckpt_path", LAST, "--images", name)[1]
    Path("a\n\x1b[31m.png").write_text("x")
    _, line = refusal("predict", "--ckpt_path", LAST, "--images", "a\n\x1b[31m.png")
    assert r"a\n\x1b[31m.png: not an image" in line
    assert "is a device" in refusal("predict", "--ckpt_path", LAST, "--images", "x.png", "--out", "/dev/full")[1]


@pytest.mark.parametrize("force", [True, False])
def test_a_device_is_never_replaced_by_a_file(force):
    with pytest.raises(UserError, match="/dev/full: is a device"):
        check_output(Path("/dev/full"), force=force)
    with pytest.raises(UserError, match="/dev/full: is a device"), whole_file(Path("/dev/full")) as file:
        file.write(b"x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "."])
def test_a_run_has_a_name_that_a_terminal_can_show(name, refusal):
    assert "name: must be a folder below logs" in refusal(*FIT, "--name", name)[1]
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("", "is empty after --out"),
        ("--seeds=", "is empty: --seeds="),
        ("a\0b", r"a\x00b: must be UTF-8 without NUL"),
        (os.fsdecode(b"\xff"), r"\udcff: must be UTF-8 without NUL"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "study", "data"])
def test_an_argument_that_nothing_could_hold_is_named(command, argument, fault, refusal):
    code, line = refusal(command, "--out", argument)
    assert (code, fault in line) == (2, True)


def test_a_deleted_working_folder_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["data", "fetch"]) == 1
    assert capsys.readouterr().err.startswith("fashionreg: error: the working folder: No such file")


def test_each_line_of_an_error_is_escaped_once_where_it_is_printed():
    error = UserError("a\nb", "c\x1b[1m\u202e")
    assert str(error) == "a\\nb\n  c\\x1b[1m\\u202e"
    assert printable("größer als 5 µm") == "größer als 5 µm"


@pytest.mark.parametrize(
    ("redirection", "words", "code", "said", "unbuffered"),
    [
        (">/dev/full", ["--help"], 1, "fashionreg: error: standard output: No space left on device\n", ""),
        (">/dev/full", FIT, 1, "fashionreg: error: standard output: No space left on device\n", ""),
        # nothing is left in a buffer to fail again
        (">/dev/full", FIT, 1, "fashionreg: error: standard output: No space left on device\n", "1"),
        (">&- <&-", FIT, 0, "", ""),
    ],
)
def test_output_that_cannot_be_written_is_said_and_a_closed_one_is_not_missed(
    redirection, words, code, said, unbuffered, workplace
):
    command = ["sh", "-c", f'exec "$0" -m fashionreg "$@" {redirection}', sys.executable, *words]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (code, said)
    assert bool(list(Path("logs").rglob("last.ckpt"))) == (code == 0)
