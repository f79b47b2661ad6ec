"""A checkpoint that is not exactly what was saved is refused in one line."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from damage import damaged
from fashionreg.runs.checkpoint import read_checkpoint
from samples import LAST


@pytest.fixture
def saved(fitted, workplace):
    """The bytes of a checkpoint as `fit` writes it."""
    return (workplace / LAST).read_bytes()


def same(one, other):
    """Whether nested values with tensors in them are equal."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_what_was_saved_is_read(reading, tmp_path, saved):
    path = tmp_path / "last.ckpt"
    path.write_bytes(saved)
    assert reading(lambda: read_checkpoint(path))["epoch"] == 1


@given(st.data())
def test_a_damaged_checkpoint_is_what_was_saved_or_refused(reading, tmp_path, saved, data):
    good, path = tmp_path / "good.ckpt", tmp_path / "last.ckpt"
    good.write_bytes(saved)
    path.write_bytes(data.draw(damaged(saved)))
    if (read := reading(lambda: read_checkpoint(path), path)) is not None:
        assert same(read, read_checkpoint(good))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(reading, tmp_path, content):
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    assert reading(lambda: read_checkpoint(path), path) is None
