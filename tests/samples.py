"""Small images, and what tests ask of them."""

import unicodedata
from pathlib import Path

import torch

from fashionreg.data.images import LabelledImages


def random_images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), generator=generator, dtype=torch.uint8)
    return LabelledImages(images, torch.randint(0, 10, (count,), generator=generator))


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and (a.images.dtype, a.labels.dtype) == (b.images.dtype, b.labels.dtype) == (torch.uint8, torch.int64)
    )


def message(error):
    """The error's message, which is one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


#: Where the run of the fixture `fitted` keeps its checkpoint.
LAST = "logs/tiny/version_0/checkpoints/last.ckpt"


def files(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()}


def check_line(text):
    """An error is one line that a terminal shows as it is."""
    assert text.strip(), "says nothing"
    assert len(text.splitlines()) == 1, text
    strange = [character for character in text if unicodedata.category(character) == "Cc"]
    assert not strange, f"{text!r} holds {strange}"
