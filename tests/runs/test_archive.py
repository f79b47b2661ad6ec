"""A checkpoint that would take all memory or time is refused before torch reads it, however small its file is."""

import io
import pickle
import struct
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.runs.archive import ArchiveError, ForeignError, checked_archive
from fashionreg.runs.checkpoint import read_checkpoint, with_checksum
from samples import LAST, files, message

OLD = Path(__file__).parents[1] / "fixtures" / "version_0_1" / LAST
GOOD = torch.load(OLD, weights_only=True)


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def rewritten(content, method=zipfile.ZIP_STORED, more=(), **entries):
    """An archive with other contents of its entries, or other entries; the checksum is right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w", method) as other:
        for name in archive.namelist():
            other.writestr(name, entries.get(name.partition("/")[2].partition(".")[0], archive.read(name)))
        for name, entry in more:
            other.writestr(name, entry)
    return b"".join(with_checksum(target.getvalue()))


def nested(levels, width, innermost, make=dict):
    """A value in which the one below is named `width` times on each of some levels."""
    value = innermost
    for _ in range(levels):
        value = {f"k{k}": value for k in range(width)} if make is dict else make([value] * width)
    return value


def with_state(value):
    """A good checkpoint with something in the state of a callback."""
    return saved(GOOD | {"callbacks": GOOD["callbacks"] | {"Mine": value}})


def with_loop(value):
    return saved(GOOD | {"loops": {"fit_loop": GOOD["loops"]["fit_loop"] | {"zz": value}}})


def made_of(operations):
    """An archive whose pickle is a mapping with one value, made by some operations."""
    return rewritten(saved(GOOD), data=b"\x80\x02}X\x01\x00\x00\x00a" + operations + b"s.")


def storage(key, count, kind=b"FloatStorage"):
    key = b"X" + struct.pack("<I", len(key)) + key
    where = b"X\x03\x00\x00\x00cpu" + b"J" + struct.pack("<i", count)
    return b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\n" + key + where + b"tQ"


def tensor(stored):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + stored + b"K\x00K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    )


LARGE = 3_000_000_000
LONG = b"\x8a\x08" + struct.pack("<q", LARGE)


def circle():
    value = {}
    value["a"] = value
    return value


ATTACKS = {
    "shared references": (lambda: with_loop(nested(4, 200, {"ready": 1})), "it holds more than"),
    "shared lists": (lambda: with_state(nested(40, 2, [1], list)), "it holds more than"),
    "shared tuples as a key": (
        lambda: made_of(b"}K\x01\x85" + 60 * b"q\x00h\x00\x86" + b"K\x01s"),
        "it holds more than",
    ),
    "a key with parts": (lambda: with_state({(1, 2): 1}), "a key that is neither text nor a number"),
    "a value within itself": (lambda: with_state(circle()), "a value within itself"),
    "what grows after it was named": (lambda: made_of(b"(]q\x00]q\x01h\x00ah\x00h\x01at"), "a value within itself"),
    "a thousand levels": (lambda: with_state(nested(300, 1, 1, list)), "nested more than 100 levels"),
    "compressed": (lambda: rewritten(with_state(torch.zeros(10**6)), zipfile.ZIP_DEFLATED), "is compressed"),
    "compressed without a checksum": (
        lambda: rewritten(saved(GOOD), zipfile.ZIP_BZIP2)[:-83] + b"\0\0",
        "",
    ),
    "a large bytearray": (lambda: made_of(b"cbuiltins\nbytearray\n" + LONG + b"\x85R"), "asks to run builtins.byte"),
    "its name in Python 2": (lambda: made_of(b"c__builtin__\nbytearray\n" + LONG + b"\x85R"), "asks to run __builtin"),
    "a large tensor": (lambda: made_of(b"ctorch\nFloatTensor\n" + LONG + b"\x85R"), "asks to run torch.FloatTensor"),
    "an untyped storage": (
        lambda: made_of(b"ctorch.storage\nUntypedStorage\n" + LONG + b"\x85R"),
        "asks to run torch.storage.Untyped",
    ),
    "a storage type that is called": (lambda: made_of(b"ctorch\nFloatStorage\n" + LONG + b"\x85R"), "calls torch."),
    "an ordered mapping of pairs": (lambda: made_of(b"ccollections\nOrderedDict\n]\x85R"), "calls collections.Ord"),
    "a counter of a list": (lambda: made_of(b"ccollections\nCounter\n]\x85R"), "calls collections.Counter"),
    "an attribute": (
        lambda: made_of(b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb"),
        "it sets an attribute",
    ),
    "a tensor larger than its entry": (lambda: made_of(tensor(storage(b"0", 10**9))), "has not the size that it says"),
    "an entry under another name": (lambda: made_of(tensor(storage(b"./0", 1))), "has not the size that it says"),
    "two entries of the same name": (
        lambda: rewritten(saved(GOOD), more=[("archive/DATA/0", b"x")]),
        "two of its entries have the same name",
    ),
    "a newer pickle": (
        lambda: rewritten(saved(GOOD), data=pickle.dumps({"a": Counter()}, protocol=4)),
        "more than tensors and plain data",
    ),
    "no pickle": (lambda: rewritten(saved(GOOD), data=b"hello"), "is not a whole checkpoint"),
    "a pickle without a stack": (lambda: rewritten(saved(GOOD), data=b"\x80\x02s."), "is not a whole checkpoint"),
    "the format before torch 1.6": (lambda: pickle.dumps(GOOD["loops"]), "not a file written by torch.save"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_take_all_memory_or_time_is_refused_before_torch_reads_it(tmp_path, monkeypatch, attack):
    make, fault = ATTACKS[attack]
    path = tmp_path / "x.ckpt"
    path.write_bytes(make())
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    start = time.perf_counter()
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert time.perf_counter() - start < 5
    assert fault in message(error)
    assert message(error).startswith(f"ckpt_path: {path}: ")


@pytest.mark.parametrize("command", [["test"], ["fit", "--trainer.max_epochs", 3], ["export", "--out", "net.pt"]])
@pytest.mark.parametrize("attack", ["shared references", "compressed", "a large bytearray"])
def test_no_command_takes_all_memory_or_time_for_a_small_file(refusal, command, attack):
    Path("evil.ckpt").write_bytes(ATTACKS[attack][0]())
    before = files(".")
    start = time.perf_counter()
    assert refusal(*command, "--ckpt_path", "evil.ckpt")[0] == 1
    assert time.perf_counter() - start < 10
    assert files(".") == before


def test_an_entry_with_more_bytes_than_the_file_is_refused():
    content = saved({"a": torch.zeros(1000)})
    twice = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(twice, "w") as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
        # the same bytes under many names
        [first] = [entry for entry in other.infolist() if entry.filename == "archive/data/0"]
        for k in range(1, 50):
            again = zipfile.ZipInfo(f"archive/data/{k}")
            for part in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(again, part, getattr(first, part))
            other.filelist.append(again)
    with pytest.raises(ArchiveError, match="its entries are larger than the file"):
        checked_archive(twice.getvalue())


def test_the_entries_that_are_checked_are_those_that_torch_reads():
    """An archive in front of another one: programs disagree about which of the two a file is."""
    content = saved({"a": torch.ones(1)}) + rewritten(saved({"a": torch.zeros(1)}))
    try:
        loaded = torch.load(checked_archive(content), weights_only=True)
    except ArchiveError:
        return
    assert loaded["a"].item() == 0


@pytest.mark.parametrize(
    "value",
    [
        [None, True, False, 0, -1, 255, 70_000, 2**40, -(2**200), 0.5, "", "ä" * 300],
        [[], (), {}, [[]], (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"a": {3: [4.5]}, None: 1}],
        [list(range(5000)), {str(k): k for k in range(5000)}],
        [Counter({3: 1, 5: 2}), OrderedDict(a=1, b=OrderedDict())],
        [torch.ones(3, 2), torch.ones(4)[1:3], torch.ones(2, 3).T, torch.ones(()), torch.ones(0)],
        [torch.ones(2).to(dtype) for dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)],
        [torch.ones(2).to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.bool)],
        [[shared := (0.9, 0.99), shared, {"a": shared}]],
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict(),
    ],
    ids=["plain", "nested", "long", "mappings", "tensors", "integers", "floats", "shared", "module"],
)
def test_whatever_a_fit_saves_is_read_as_it_was_saved(value):
    content = saved(value)
    expected = torch.load(io.BytesIO(content), weights_only=True)
    found = torch.load(checked_archive(content), weights_only=True)
    assert repr(found) == repr(expected)
    checked_archive(b"".join(with_checksum(content)))


def test_a_foreign_pickle_is_told_from_a_damaged_one():
    with pytest.raises(ForeignError, match="asks to run __builtin__.set"):
        checked_archive(saved({"a": {1, 2}}))
    with pytest.raises(ArchiveError) as error:
        checked_archive(saved(GOOD)[:-30])
    assert not isinstance(error.value, ForeignError)
