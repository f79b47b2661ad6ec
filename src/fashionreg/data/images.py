"""The form in which every source returns its data, and the classes of Fashion-MNIST."""

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

#: Mean brightness (0 to 255) of the images of each class, over the 60,000 training images, and its standard deviation
#: from image to image.
_BRIGHTNESS = (83.03, 56.84, 96.06, 66.02, 98.26, 34.87, 84.61, 42.76, 90.16, 76.83)
_SPREAD = (28.93, 14.50, 32.70, 21.39, 26.36, 15.78, 33.06, 12.76, 28.81, 18.27)
#: The fewest images of each class by which Fashion-MNIST is recognized.
RECOGNIZED_FROM = 10
#: What the sum of ten squared z scores stays below: a chi-squared value of 10 degrees of freedom, passed with p = 3e-7.
_CHI_SQUARED = 50.0


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels, on the CPU.

    Attributes:
        images: Pixels, uint8 `(N, height, width)`, 0 (background) to 255 (brightest), row by row from the top left; or
            numbers, float64 `(N, ...)` as a source loads them, float32 once they are scaled (`scaling.py`).
        labels: int64 `(N,)`, 0 to K - 1, indices into `class_names`.
        class_names: Of the K classes; empty where they have none but their numbers.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "LabelledImages":
        """Return the images that `index` (int64 `(M,)` or a slice) selects, in that order."""
        return LabelledImages(self.images[index], self.labels[index], self.class_names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all classes, by label: `class_names`, else their numbers."""
        count = int(self.labels.max()) + 1 if len(self) else 0
        return self.class_names or tuple(map(str, range(count)))

    def fingerprint(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of all pixels and labels."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        digest.update(self.labels.to(torch.int64).contiguous().numpy().data)
        return digest.hexdigest()[:16]


def is_fashion_mnist(images: Tensor, labels: Tensor) -> bool:
    """Say whether images are some of Fashion-MNIST's, by the mean brightness of each of its ten classes.

    A file of images does not say what they show, and other data come in the same form. The ten means of images of
    Fashion-MNIST lie about those of all its images as their numbers and spread let expect; those of MNIST,
    Kuzushiji-MNIST or random pixels do not.

    Args:
        images: uint8 `(N, 28, 28)`.
        labels: int64 `(N,)`, 0 to 9.

    Returns:
        Whether the sum of the ten squared z scores is below `_CHI_SQUARED`; False with fewer than `RECOGNIZED_FROM`
        images of a class.
    """
    counts = labels.bincount(minlength=len(CLASS_NAMES))
    if len(counts) > len(CLASS_NAMES) or counts.min() < RECOGNIZED_FROM:
        return False
    # a sum of uint8 is exact in int64, and takes no copy of the images
    sums = torch.zeros(len(CLASS_NAMES), dtype=torch.int64).index_add_(0, labels, images.sum(dim=(1, 2)))
    means = sums / (counts * images[0].numel())
    scores = (means - torch.tensor(_BRIGHTNESS)) * counts.sqrt() / torch.tensor(_SPREAD)
    return scores.square().sum().item() < _CHI_SQUARED


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
