import argparse
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fashionreg.data import commands, sources
from fashionreg.data.csv_files import read_csv, write_csv
from fashionreg.data.garments import draw_garments
from fashionreg.errors import UserError


def run(*args):
    parser = argparse.ArgumentParser(prog="fashionreg")
    commands.add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["data", *map(str, args)])
    return arguments.run(arguments)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small stand-in for the official data, where the commands look for it; nothing can be downloaded."""
    folder = tmp_path / "root" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, split, size in (("train", "train", 200), ("t10k", "test", 100)):
        data = draw_garments(size, seed=size)
        for name, array in (("images-idx3", data.images.numpy()), ("labels-idx1", data.labels.numpy())):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{prefix}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
        monkeypatch.setitem(sources.OFFICIAL_FINGERPRINTS, split, data.fingerprint())
    monkeypatch.setenv("FASHIONREG_DATA", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "root"


def test_help_waits_for_none_of_the_slow_libraries():
    program = """
import argparse, sys
from fashionreg.data.commands import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers())
parser.format_help()
print([name for name in ("torch", "numpy", "pandas", "matplotlib", "torchvision", "sklearn") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("fetch", ["--root", "--mirror", "$FASHIONREG_DATA"]),
        ("subset", ["--size", "6000", "--seed", "--out", "data/fmnist_small.csv", "--split", "--force", "--root"]),
        ("show", ["--out", "--csv", "--synthetic", "--split", "--seed", "--force", "--root", "--mirror"]),
    ],
)
def test_help_names_options_defaults_and_examples(capsys, command, options):
    with pytest.raises(SystemExit) as end:
        run(command, "--help")
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(option in out for option in [*options, "examples:", f"fashionreg data {command}"])


@pytest.mark.parametrize("args", [[], ["burn"], ["subset", "--size", "many"], ["show", "--csv", "a", "--synthetic"]])
def test_wrong_usage_exits_with_code_2(capsys, args):
    with pytest.raises(SystemExit) as end:
        run(*args)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_fetch_says_where_the_verified_data_is(root, capsys):
    assert run("fetch") == 0
    assert capsys.readouterr() == (
        f"Fashion-MNIST is in {root}/FashionMNIST/raw, verified: 200 train and 100 test images\n",
        "",
    )


def test_fetch_takes_the_root_that_is_named(root, capsys, monkeypatch):
    monkeypatch.setenv("FASHIONREG_DATA", "elsewhere")
    assert run("fetch", "--root", root) == 0
    assert f"Fashion-MNIST is in {root}/" in capsys.readouterr().out


def test_fetch_names_data_that_is_not_the_official(root):
    path = root / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"raw: the test images are not the official ones .* remove the unpacked files"):
        run("fetch")


@pytest.mark.realdata
def test_fetch_verifies_the_official_data(real_data, capsys):
    assert run("fetch", "--root", real_data) == 0
    assert capsys.readouterr().out.endswith("verified: 60000 train and 10000 test images\n")


@pytest.mark.parametrize("command", ["fetch", "subset", "show"])
def test_missing_data_that_cannot_be_downloaded_is_an_error(tmp_path, monkeypatch, command):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sources.MissingDataError, match="use the synthetic data"):
        run(command, "--root", tmp_path, "--mirror", "http://127.0.0.1:9/")


def test_subset_is_stratified_and_reported_in_one_line(root, tmp_path, capsys):
    assert run("subset", "--size", 50, "--out", "new/small.csv") == 0
    data = read_csv(tmp_path / "new" / "small.csv")
    full = sources.read_fashion_mnist(root, train=True)
    assert len(data) == 50
    counts = data.labels.bincount(minlength=10)
    np.testing.assert_allclose(counts, full.labels.bincount(minlength=10) / 4, atol=1)
    each = counts.min() if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    assert capsys.readouterr() == (
        f"new/small.csv: 50 train images, {each} of each class, fingerprint {data.fingerprint()}\n",
        "",
    )


def test_subset_is_fixed_by_seed_and_split(root):
    for name, *options in [("a",), ("b",), ("seed", "--seed", 1), ("split", "--split", "test")]:
        run("subset", "--size", 40, "--out", f"{name}.csv", *options)
    prints = {name: read_csv(f"{name}.csv").fingerprint() for name in ("a", "b", "seed", "split")}
    assert prints["a"] == prints["b"]
    assert len(set(prints.values())) == 3


def test_subset_of_an_impossible_size_writes_nothing(root, tmp_path):
    with pytest.raises(UserError, match="cannot draw 500 of 200 images"):
        run("subset", "--size", 500, "--out", "out/small.csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.realdata
def test_subset_of_the_official_data_has_600_images_of_each_class(real_data, tmp_path, capsys):
    run("subset", "--root", real_data, "--out", tmp_path / "small.csv")
    assert "6000 train images, 600 of each class" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "out"), [("subset", "small.csv"), ("show", "grid.png")])
def test_an_existing_file_is_replaced_with_force_only(root, tmp_path, command, out):
    (tmp_path / out).write_text("before")
    size = ["--size", 20] if command == "subset" else []
    with pytest.raises(UserError) as error:
        run(command, *size, "--out", out)
    assert str(error.value) == f"{out}: exists; choose another --out, or replace it with --force"
    assert (tmp_path / out).read_text() == "before"
    assert run(command, *size, "--out", out, "--force") == 0
    assert (tmp_path / out).read_bytes() != b"before"


@pytest.mark.parametrize("command", ["subset", "show"])
def test_a_folder_is_never_replaced(root, tmp_path, command):
    with pytest.raises(UserError, match=f"{tmp_path}: is a folder, expected the name of a file"):
        run(command, "--out", tmp_path, "--force")


@pytest.mark.parametrize("source", ["official", "csv", "synthetic"])
def test_show_draws_a_square_grid_of_any_source(root, tmp_path, capsys, source):
    write_csv(draw_garments(16, seed=5), tmp_path / "some.csv")
    options = {"official": ["--split", "test"], "csv": ["--csv", "some.csv"], "synthetic": ["--synthetic", "--seed", 2]}
    assert run("show", "--out", "new/grid.png", *options[source]) == 0
    assert capsys.readouterr() == ("new/grid.png: the first images, with their class names\n", "")
    with Image.open(tmp_path / "new" / "grid.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 500


@pytest.mark.parametrize(("name", "start"), [("g.pdf", b"%PDF"), ("g.SVG", b"<?xml"), ("g.jpg", b"\xff\xd8")])
def test_show_writes_the_format_that_the_suffix_says(root, tmp_path, name, start):
    run("show", "--synthetic", "--out", name)
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["grid", "grid.txt", "grid.png.zip"])
def test_show_names_the_formats_when_the_suffix_says_none(root, tmp_path, name):
    with pytest.raises(UserError) as error:
        run("show", "--out", name)
    assert str(error.value) == (
        f"--out {name}: unknown image format, expected one of .png, .jpg, .jpeg, .webp, .pdf, .svg"
    )
    assert not (tmp_path / name).exists()


def test_show_names_a_csv_file_that_is_missing(root, tmp_path):
    with pytest.raises(UserError, match=r"some.csv: no such file"):
        run("show", "--csv", "some.csv")
    assert not (tmp_path / "grid.png").exists()
