import gc
import gzip
import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from fashionreg.data import sources
from fashionreg.data.images import LabelledImages
from fashionreg.data.location import data_root
from fashionreg.data.sources import FILES, MissingDataError, fetch_fashion_mnist, read_fashion_mnist
from fashionreg.errors import UserError
from samples import message, random_images, same


def idx(array):
    """`array` in the IDX format."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


TRAIN, TEST = random_images(12), random_images(5, seed=1)
CONTENT = {
    "train-images-idx3-ubyte": idx(TRAIN.images.numpy()),
    "train-labels-idx1-ubyte": idx(TRAIN.labels.numpy()),
    "t10k-images-idx3-ubyte": idx(TEST.images.numpy()),
    "t10k-labels-idx1-ubyte": idx(TEST.labels.numpy()),
}


def raw(root):
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unpacked(root):
    """A root with four small files, as after unpacking."""
    for name, content in CONTENT.items():
        (raw(root) / name).write_bytes(content)
    return root


# ------------------------------------------------------------------------------------------------ fetching


@contextmanager
def serving(folder):
    """The address of a server of `folder`, and the list of requested paths, which grows."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A folder with the four small files, packed; torchvision takes them for the official ones."""
    from torchvision.datasets import FashionMNIST

    folder = tmp_path / "archives"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    md5 = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in folder.iterdir()]
    monkeypatch.setattr(FashionMNIST, "resources", md5)
    return folder


@pytest.fixture
def nowhere():
    """An address at which no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.mark.parametrize("slash", ["", "/"])
def test_fetch_downloads_and_unpacks_the_four_files(archives, tmp_path, capfd, slash):
    with serving(archives) as (address, _):
        fetch_fashion_mnist(tmp_path / "root", address.rstrip("/") + slash)
    folder = tmp_path / "root" / "FashionMNIST" / "raw"
    assert {name: (folder / name).read_bytes() for name in FILES} == CONTENT
    assert same(read_fashion_mnist(tmp_path / "root", train=True), TRAIN)
    assert same(read_fashion_mnist(tmp_path / "root", train=False), TEST)
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"downloading Fashion-MNIST (30 MB) from {address} to {folder}\n")


def test_fetch_unpacks_placed_archives_without_network(archives, tmp_path, nowhere, capfd):
    for archive in archives.iterdir():
        archive.rename(raw(tmp_path) / archive.name)
    fetch_fashion_mnist(tmp_path, nowhere)
    assert same(read_fashion_mnist(tmp_path, train=True), TRAIN)
    assert capfd.readouterr() == ("", "")


def test_fetch_makes_again_only_the_file_that_is_not_whole(archives, tmp_path, nowhere):
    unpacked(tmp_path)
    broken, *whole = FILES
    (raw(tmp_path) / broken).write_bytes(CONTENT[broken][:-1])
    (archives / f"{broken}.gz").rename(raw(tmp_path) / f"{broken}.gz")
    for name in whole:
        os.utime(raw(tmp_path) / name, (1, 1))
    fetch_fashion_mnist(tmp_path, nowhere)
    assert (raw(tmp_path) / broken).read_bytes() == CONTENT[broken]
    assert {(raw(tmp_path) / name).stat().st_mtime for name in whole} == {1}


def test_fetch_makes_no_request_when_the_files_exist(tmp_path, nowhere):
    root = unpacked(tmp_path)
    fetch_fashion_mnist(root, nowhere)
    assert sorted(path.name for path in (root / "FashionMNIST").rglob("*")) == sorted(["raw", *FILES])


def test_fetch_replaces_a_damaged_archive(archives, tmp_path):
    damaged = raw(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(b"damaged")
    with serving(archives) as (address, _):
        fetch_fashion_mnist(tmp_path, address)
    assert damaged.read_bytes() == (archives / damaged.name).read_bytes()


def assert_names_the_three_ways_on(text, root, address):
    assert f"Fashion-MNIST is not complete in {raw(root)} " in text
    assert f"could not be downloaded from {address} (" in text
    assert f"place the four files {', '.join(f'{name}.gz' for name in FILES)} in that folder" in text
    assert "name a mirror (--mirror URL, or data.init_args.mirror in a config)" in text
    assert "use the synthetic data (SyntheticDataModule)" in text


def test_fetch_from_an_unreachable_address_names_the_alternatives(archives, tmp_path, nowhere):
    with pytest.raises(MissingDataError) as error:
        fetch_fashion_mnist(tmp_path, nowhere)
    assert_names_the_three_ways_on(message(error), tmp_path, nowhere)
    assert "refused)" in message(error)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # torchvision leaves the refusal's connection open
def test_fetch_from_a_server_without_the_files_names_the_alternatives(archives, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    with serving(tmp_path / "empty") as (address, _), pytest.raises(MissingDataError) as error:
        fetch_fashion_mnist(tmp_path, address)
    assert_names_the_three_ways_on(message(error), tmp_path, address)
    assert "(HTTP Error 404: File not found)" in message(error)
    assert len(capfd.readouterr().err.splitlines()) == 1
    del error
    gc.collect()


def test_fetch_from_a_server_of_damaged_files_names_the_file(archives, tmp_path, capfd):
    good = (archives / "t10k-images-idx3-ubyte.gz").read_bytes()
    (archives / "t10k-images-idx3-ubyte.gz").write_bytes(good[:-1] + b"?")
    with serving(archives) as (address, _):
        with pytest.raises(MissingDataError) as error:
            fetch_fashion_mnist(tmp_path, address)
        assert_names_the_three_ways_on(message(error), tmp_path, address)
        assert "(t10k-images-idx3-ubyte.gz there: not the official MD5 sum)" in message(error)
        assert len(capfd.readouterr().err.splitlines()) == 1
        # the failed attempt leaves nothing that prevents a later one
        (archives / "t10k-images-idx3-ubyte.gz").write_bytes(good)
        fetch_fashion_mnist(tmp_path, address)
    assert same(read_fashion_mnist(tmp_path, train=False), TEST)


def test_fetch_names_a_placed_archive_that_is_damaged_and_cannot_be_replaced(archives, tmp_path, nowhere):
    (raw(tmp_path) / "train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(MissingDataError, match=r"\(train-labels-idx1-ubyte.gz there: not the official MD5 sum\)"):
        fetch_fashion_mnist(tmp_path, nowhere)


def test_fetch_gives_up_on_a_server_that_does_not_answer(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MissingDataError, match=r"\(timed out\)"):
        fetch_fashion_mnist(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("mirror", ["", "ftp://example.org/", "/some/folder", "example.org"])
def test_fetch_refuses_a_mirror_that_is_not_a_web_address(tmp_path, mirror):
    with pytest.raises(UserError, match=re.escape(f"mirror {mirror!r} is not an http:// or https:// address")) as error:
        fetch_fashion_mnist(tmp_path, mirror)
    assert message(error).endswith(f"place the four .gz files in {raw(tmp_path)}")


def test_fetch_into_a_file_names_the_folder_it_needs(tmp_path, nowhere):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error:
        fetch_fashion_mnist(tmp_path / "file", nowhere)
    assert message(error) == (
        f"{tmp_path / 'file' / 'FashionMNIST' / 'raw'}: Fashion-MNIST cannot be stored there: Not a directory; "
        "name a folder that can be written (--root, data.init_args.root or FASHIONREG_DATA)"
    )


@pytest.mark.parametrize("where", [".", "FashionMNIST", "FashionMNIST/raw"])
def test_fetch_into_a_folder_without_permission_says_so(archives, tmp_path, where):
    folder = raw(tmp_path / "root")
    locked = tmp_path / "root" / where
    if where == ".":
        folder.rmdir()
        folder.parent.rmdir()
    locked.chmod(0o555)
    if os.access(locked, os.W_OK):
        pytest.skip("this user, root for one, may write everywhere")
    try:
        with serving(archives) as (address, _), pytest.raises(UserError, match="Permission denied; name a folder"):
            fetch_fashion_mnist(tmp_path / "root", address)
    finally:
        locked.chmod(0o755)


@pytest.mark.realdata
def test_two_processes_that_fetch_at_once_download_once_and_both_read_the_official_data(real_data, tmp_path):
    program = f"""
from fashionreg.data.sources import *
import sys
fetch_fashion_mnist({str(tmp_path)!r}, sys.argv[1])
print(*[read_fashion_mnist({str(tmp_path)!r}, train).fingerprint() for train in (True, False)])
"""
    with serving(raw(real_data)) as (address, asked):
        both = [
            subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)
        ]
        ends = [process.communicate() for process in both]
    assert [out.decode().split() for out, _ in ends] == [list(sources.OFFICIAL_FINGERPRINTS.values())] * 2
    assert sorted(err.decode() for _, err in ends) == [
        "",
        f"downloading Fashion-MNIST (30 MB) from {address} to {raw(tmp_path)}\n",
    ]
    assert sorted(set(asked)) == sorted(f"/{name}.gz" for name in FILES)
    assert len(asked) == 8  # torchvision asks twice for each file: once to follow redirects


def test_fetching_what_is_there_imports_none_of_the_slow_libraries(tmp_path):
    program = f"""
import sys
from fashionreg.data import sources
sources.fetch_fashion_mnist({str(unpacked(tmp_path))!r})
print([name for name in ("torchvision", "pandas", "sklearn", "lightning") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


@pytest.mark.parametrize(
    ("argument", "variable", "root"),
    [("there", "elsewhere", "there"), (None, "elsewhere", "elsewhere"), (None, "", "data"), (None, None, "data")],
)
def test_root_is_the_argument_else_the_variable_else_data(monkeypatch, argument, variable, root):
    monkeypatch.delenv("FASHIONREG_DATA", raising=False)
    if variable is not None:
        monkeypatch.setenv("FASHIONREG_DATA", variable)
    assert str(data_root(argument)) == root


# -------------------------------------------------------------------------------------------- reading IDX files


@pytest.mark.realdata
@pytest.mark.parametrize("train", [True, False])
def test_official_data_reads_as_torchvision_reads_it(real_data, train):
    from torchvision.datasets import FashionMNIST

    data, expected = read_fashion_mnist(real_data, train), FashionMNIST(real_data, train)
    assert same(data, LabelledImages(expected.data, expected.targets))
    assert len(data) == (60_000 if train else 10_000)
    assert data.fingerprint() == sources.OFFICIAL_FINGERPRINTS["train" if train else "test"]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("train-images-idx3-ubyte", None, "{path} is missing. `fashionreg data fetch` brings it"),
        ("train-labels-idx1-ubyte", b"", "{path} is not an IDX file of bytes with 1 axes"),
        (
            "train-labels-idx1-ubyte",
            CONTENT["t10k-images-idx3-ubyte"],
            "{path} is not an IDX file of bytes with 1 axes",
        ),
        ("train-images-idx3-ubyte", b"\0\0\x0d\3" + bytes(12), "{path} is not an IDX file of bytes with 3 axes"),
        (
            "train-images-idx3-ubyte",
            CONTENT["train-images-idx3-ubyte"][:-1],
            "{path} has 9423 bytes, but its header states (12, 28, 28) values, hence 9424 bytes",
        ),
        (
            "train-labels-idx1-ubyte",
            CONTENT["train-labels-idx1-ubyte"] + b"\0",
            "{path} has 21 bytes, but its header states (12,) values, hence 20 bytes",
        ),
        (
            "train-images-idx3-ubyte",
            idx(np.zeros((12, 28, 27))),
            "{folder}: the train files hold images of shape (12, 28, 27) and 12 labels, expected (N, 28, 28)",
        ),
        (
            "train-labels-idx1-ubyte",
            CONTENT["t10k-labels-idx1-ubyte"],
            "{folder}: the train files hold images of shape (12, 28, 28) and 5 labels, expected (N, 28, 28) and N >= 1",
        ),
        (
            "train-labels-idx1-ubyte",
            idx(np.array([0, 1, 2, 10, 4, 5, 6, 7, 8, 9, 0, 11])),
            "{path}: label 3 (counted from 0) is 10, expected 0 to 9",
        ),
    ],
    ids=["missing", "empty", "axes", "type", "truncated", "too long", "not 28x28", "counts differ", "label range"],
)
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path, name, content, fault):
    path = raw(unpacked(tmp_path)) / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_fashion_mnist(tmp_path, train=True)
    assert message(error).startswith(fault.format(path=path, folder=path.parent))
    assert isinstance(error.value, MissingDataError) == (content is None)
    assert same(read_fashion_mnist(tmp_path, train=False), TEST)
