"""Whatever is in the files of Fashion-MNIST, exactly their bytes are read, or they are refused in one line."""

import struct

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from damage import damaged
from fashionreg.data.sources import raw_folder, read_fashion_mnist


def write(root, seed, count):
    """Valid files of `count` images; returns pixels and labels."""
    generator = np.random.default_rng(seed)
    pixels, labels = generator.bytes(count * 784), bytes(generator.integers(0, 10, count, dtype=np.uint8))
    folder = raw_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    images_file, labels_file = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    images_file.write_bytes(struct.pack(">IIII", 0x803, count, 28, 28) + pixels)
    labels_file.write_bytes(struct.pack(">II", 0x801, count) + labels)
    return images_file, labels_file, pixels, labels


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_what_was_written_is_read_exactly(reading, tmp_path, seed, count):
    *_, pixels, labels = write(tmp_path, seed, count)
    data = reading(lambda: read_fashion_mnist(tmp_path, train=True))
    assert data.images.numpy().tobytes() == pixels
    assert data.labels.tolist() == list(labels)


@given(st.data(), st.integers(0, 2**32), st.integers(1, 5), st.booleans())
def test_damaged_files_are_read_as_they_stand_or_refused(reading, tmp_path, data, seed, count, which):
    images_file, labels_file, *_ = write(tmp_path, seed, count)
    path = images_file if which else labels_file
    path.write_bytes(data.draw(damaged(path.read_bytes()) | st.binary(max_size=32)))
    read = reading(lambda: read_fashion_mnist(tmp_path, train=True), path, raw_folder(tmp_path))
    if read is not None:
        assert (read.images.dtype, read.labels.dtype) == (torch.uint8, torch.int64)
        assert read.images.shape == (len(read), 28, 28)
        assert len(read) == int.from_bytes(images_file.read_bytes()[4:8])
        assert read.images.numpy().tobytes() == images_file.read_bytes()[16:]
        assert read.labels.tolist() == list(labels_file.read_bytes()[8:])
        assert read.labels.max() <= 9
