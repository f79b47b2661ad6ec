"""The form in which every source returns its data."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

#: The ten classes of Fashion-MNIST, by label (https://github.com/zalandoresearch/fashion-mnist#labels).
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels, on the CPU.

    Attributes:
        images: uint8 `(N, 28, 28)`, 0 (background) to 255 (brightest), row by row from the top left.
        labels: int64 `(N,)`, 0 to 9, indices into `CLASS_NAMES`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "LabelledImages":
        """Return the images that `index` (int64 `(M,)` or a slice) selects, in that order."""
        return LabelledImages(self.images[index], self.labels[index])

    def fingerprint(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of all pixels and labels."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        digest.update(self.labels.to(torch.int64).contiguous().numpy().data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class ImagesBySeed:
    """Of M images, the N that each of S seeds has: a part that every seed draws for itself.

    Attributes:
        pool: The M images.
        index: int32 `(S, N)`, 0 to M - 1: which of them each seed has, in its order.
    """

    pool: LabelledImages
    index: Tensor

    def __len__(self) -> int:
        return self.index.shape[1]

    def of(self, replica: int) -> LabelledImages:
        """Return the N images of one seed, by its position 0 to S - 1."""
        return self.pool[self.index[replica].long()]


#: A part of the images: the same for all seeds, or each seed's own.
Part = LabelledImages | ImagesBySeed
