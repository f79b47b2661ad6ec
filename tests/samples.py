"""Small images, what tests ask of them, and how exact a computed number can be."""

import math
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


#: Terms of the longest sum in a network of this project: the pixels of an image.
PIXELS = 784


def rounding(terms, total, dtype=torch.float32):
    """Return how far two computations of the same sum may lie apart, for any processor and number of threads.

    Processors and libraries add in different orders. Each addition is off by at most eps / 2 of a partial sum, which is
    at most `total`, with a sign that is as good as random: a sum of n terms is off by less than 4 sqrt(n) eps / 2
    total, but for a chance of 2 exp(-4^2 / 2) (Higham and Mary 2019, with their lambda at 4). Two sums double it.

    Args:
        terms: Number of terms of the sum.
        total: Sum of their absolute values, or a bound on it. After a division (a mean, batch norm), divide it too.
        dtype: In which the sum is computed.
    """
    return 4 * math.sqrt(terms) * torch.finfo(dtype).eps * float(total)


def check_line(text):
    """An error is one line that a terminal shows as it is."""
    assert text.strip(), "says nothing"
    assert len(text.splitlines()) == 1, text
    strange = [character for character in text if unicodedata.category(character) == "Cc"]
    assert not strange, f"{text!r} holds {strange}"
