"""Stratified parts of a dataset: every class has the same share in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeAliasType

from fashionreg.data.images import LabelledImages
from fashionreg.errors import UserError
from fashionreg.randomness import generator

#: What an option takes that means a number of images or a share, see `image_count`. It is a named type, so that 2000
#: stays 2000: jsonargparse wraps a plain `int | float | None` in `typing.Optional`, which returns of two equal unions
#: the one that the process wrapped first, and `float | int | None` of any other class would make it 2000.0.
ImageCount = TypeAliasType("ImageCount", int | float)


def stratified_subset(labels: Tensor, size: int, seed: int, class_names: Sequence[str] = ()) -> Tensor:
    """Draw `size` of the N images, stratified by class, by scikit-learn's stratified shuffle.

    Args:
        labels: int64 `(N,)`, 0 to K - 1.
        size: Number of images: N, or at least one for each class with as many left over.
        seed: 0 to 2^32 - 1; fixes which images are drawn, and their order.
        class_names: Of the K classes, for the error; numbers if there are none.

    Returns:
        int64 `(size,)`, distinct indices into `labels`, shuffled.

    Raises:
        UserError: If `size` or `seed` is out of range, or a class has a single image.
    """
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    total = len(labels)
    counts = labels.bincount()
    classes = int(counts.count_nonzero())
    _check_seed(seed)
    if size == total > 0:
        return torch.from_numpy(np.random.default_rng(seed).permutation(total))
    for label in (counts == 1).nonzero().flatten().tolist():
        name = class_names[label] if class_names else label
        raise UserError(f"class {name} has a single image, a stratified split needs 2 or more of each class")
    if not classes <= size <= total - classes:
        raise UserError(
            f"cannot draw {size} of {total} images stratified by {classes} classes: "
            f"expected {classes} to {total - classes}, or all {total}"
        )
    drawn, _ = train_test_split(np.arange(total), train_size=size, random_state=seed, stratify=labels.numpy())
    return torch.from_numpy(drawn)


def image_count(size: ImageCount, total: int, field: str, file: Path | None = None) -> int:
    """Return how many of `total` images an option means.

    The rule for every option that takes a number of images or a share: up to 1 it is a share (0.2 is a fifth, 1 is
    all), above 1 it is a whole number of images, whether written 2000 or 2000.0.

    Args:
        size: The value of the option, above 0.
        total: Number of images N.
        field: Name of the option, for the error.
        file: File that the images came from, for the error.

    Returns:
        1 to N.

    Raises:
        UserError: If `size` means no image, a part of an image, or more images than there are.
    """
    count = round(size * total) if 0 < size <= 1 else size
    if not 0 < count <= total or count != int(count):
        where = f"{file}: " if file else ""
        raise UserError(
            f"{where}{field}: must be a number of images from 2 to {total} or a share between 0 and 1, got {size}"
        )
    return int(count)


def split_off(
    data: LabelledImages, size: ImageCount, seed: int, field: str, file: Path | None = None
) -> tuple[LabelledImages, LabelledImages]:
    """Split images in two, both with the same shares of classes.

    Args:
        data: N images.
        size: Of the second part: a number of images or a share, see `image_count`; less than all.
        seed: Fixes which images go where.
        field: Name of the option that `size` came from, for the error.
        file: File that the images came from, for the error.

    Returns:
        The rest, in the order of `data`, and the chosen part, in random order.

    Raises:
        UserError: If `size` is out of range, or if a class is too rare to be in both parts.
    """
    rest, chosen = _split_indices(data.labels, size, seed, field, file, data.class_names)
    return data[rest], data[chosen]


def _split_indices(
    labels: Tensor, size: ImageCount, seed: int, field: str, file: Path | None = None, class_names: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Return what `split_off` splits images into as indices into their labels, int64."""
    where = f"{file}: " if file else ""
    count = image_count(size, len(labels), field, file)
    if count == len(labels):
        raise UserError(f"{where}{field}: must leave some of the {len(labels)} images, got {size}")
    try:
        chosen = stratified_subset(labels, count, seed, class_names)
    except UserError as error:
        raise UserError(f"{where}{field}: {error}") from error
    rest = torch.ones(len(labels), dtype=torch.bool)
    rest[chosen] = False
    return rest.nonzero().flatten(), chosen


def split_seed_of(seed: int, split_seed: int) -> int:
    """Return the seed of a split that belongs to one seed alone, 0 to 2^32 - 1.

    Args:
        seed: That of a replica.
        split_seed: Distinguishes further splits of the same seed.

    Raises:
        UserError: If `split_seed` is out of range.
    """
    _check_seed(split_seed)
    return int(torch.randint(2**32, (), generator=generator(seed, "split", split_seed)))


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} is out of range, expected 0 to {2**32 - 1}")


@dataclass(frozen=True)
class Division:
    """How many images go where; each a number or a share, see `image_count`. All parts are stratified by class.

    Attributes:
        test: Images to test on; None where the test images are others.
        train: Of the rest, how many are used, those for validation among them; None for all.
        val: Of these, how many are set aside for validation; 0 for none.
        file: File that the images came from, for errors.
        class_names: Of the classes, for errors.
    """

    test: ImageCount | None = None
    train: ImageCount | None = None
    val: ImageCount = 0
    file: Path | None = None
    class_names: tuple[str, ...] = ()

    def draw(self, labels: Tensor, seed: int) -> dict[str, Tensor]:
        """Draw the parts.

        Args:
            labels: int64 `(N,)`.
            seed: 0 to 2^32 - 1; fixes which images go where.

        Returns:
            Disjoint indices into `labels`, int64, of `train` and, where there are any, `val` and `test`.

        Raises:
            UserError: If a size is out of range, or a class is too rare to be in all parts.
        """
        train = torch.arange(len(labels))
        parts: dict[str, Tensor] = {}
        if self.test is not None:
            train, parts["test"] = _split_indices(labels, self.test, seed, "test_size", self.file, self.class_names)
        if self.train is not None and image_count(self.train, len(train), "train_size", self.file) < len(train):
            _, chosen = _split_indices(labels[train], self.train, seed, "train_size", self.file, self.class_names)
            train = train[chosen]
        if self.val:
            rest, chosen = _split_indices(labels[train], self.val, seed, "val_size", self.file, self.class_names)
            train, parts["val"] = train[rest], train[chosen]
        return {"train": train} | parts
