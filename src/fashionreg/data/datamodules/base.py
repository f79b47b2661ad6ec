"""The base of all datamodules: a split into train, val and test, and loaders that fetch batches by index."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from fashionreg.data.batches import Loader, ResidentImages, evaluation_loader, to_network_input, training_loader
from fashionreg.data.csv_files import PIXELS
from fashionreg.data.images import ImagesBySeed, LabelledImages, Part
from fashionreg.data.scaling import scaled
from fashionreg.data.splits import Division, ImageCount, split_seed_of
from fashionreg.errors import UserError

#: Whether the parts that this project draws are the same for all seeds, or each seed draws its own.
Splitting = Literal["fixed", "by_seed"]


def given_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the option `class_names`, checked; None where it is not given.

    Raises:
        UserError: If a name is empty or cannot be printed, or two are the same.
    """
    if names is None:
        return None
    for position, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise UserError(f"class_names[{position}]: must be a name that can be printed, got {name!r:.80}")
        if name in names[:position]:
            raise UserError(f"class_names[{position}]: {name!r:.80} is there twice; names must differ")
    return tuple(names)


def with_names(data: LabelledImages, names: tuple[str, ...] | None, file: Path) -> LabelledImages:
    """Return the data under other names of its classes, if any are given.

    Raises:
        UserError: If the number of names is not that of the classes.
    """
    if names is None:
        return data
    if len(names) != len(data.names):
        raise UserError(f"class_names: must be {len(data.names)}, as {file} has classes, got {len(names)}")
    return replace(data, class_names=names)


@dataclass(frozen=True)
class Splits:
    """The data of a run; `val` is None where nothing was set aside. `test` never trains and never selects.

    Attributes:
        scaling: How numbers became inputs of networks, float64 `(2, R, D)`, see `scaled`; None for pixels.
    """

    train: Part
    val: Part | None
    test: Part
    scaling: Tensor | None = None

    def parts(self) -> dict[str, Part]:
        """Return those parts that there are, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


class ImageDataModule(LightningDataModule, ABC):
    """The base of all datamodules: validation split, batches, normalization. Subclasses implement `load`.

    Args:
        batch_size: Images in one training step of each replica.
        val_size: Training images set aside for validation, stratified by class: a number or a share (below 1).
        split_seed: Fixes which images are set aside; the same for every replica.
        normalize: Whether pixels are shifted and scaled to mean 0 and standard deviation 1; otherwise pixels / 255.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        seeds: One replica is trained for each seed.
        split: `fixed`, the same parts for all seeds, or `by_seed`: what is drawn, each seed draws for itself.
    """

    def __init__(
        self,
        batch_size: int,
        val_size: ImageCount,
        normalize: bool,
        evaluate_train: bool,
        split_seed: int,
        seeds: Sequence[int],
        split: Splitting = "fixed",
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size: must be at least 1, got {batch_size}")
        if not val_size >= 0:
            raise UserError(f"val_size: must not be negative, got {val_size}")
        # arrays are no plain data: a checkpoint with them could not be loaded
        self.save_hyperparameters(ignore=["seeds", "images", "labels"])
        self.batch_size = batch_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.split = split
        self.normalize = normalize
        self.evaluate_train = evaluate_train
        self.seeds = list(seeds)
        self._loaded: tuple[LabelledImages, LabelledImages | None] | None = None
        self._splits: Splits | None = None
        self._drawn_for: list[int] = []
        # splits that are on the device already, by the identity of their images: each is copied once
        self._resident: dict[int, tuple[LabelledImages, ResidentImages]] = {}

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the images come from, in a few words, for the console, TensorBoard and the record."""

    @property
    def expected_images(self) -> int | None:
        """How many images `load` returns, for an estimate of memory; None if that is unknown before loading."""
        return None

    @property
    def expected_bytes(self) -> int:
        """Bytes of main memory that `load` needs at its peak, for an estimate before it; 0 if that is unknown.

        Override it with `expected_images` where an image has not 28 x 28 pixels.
        """
        return (self.expected_images or 0) * PIXELS

    @abstractmethod
    def load(self) -> tuple[LabelledImages, LabelledImages | None]:
        """Return the training images (with those for validation) and the test images.

        In place of the test images None, where `division` takes them from the training images.
        """

    def scaling_by(self, train: LabelledImages) -> Tensor:
        """Return how numbers become inputs of networks, float64 `(2, D)`: shifts and scales; here 0 and 1.

        It is asked where `load` returns float64, and leaves it to `division` to take the test images from these.

        Args:
            train: What is trained on.
        """
        inputs = train.images[0].numel()
        return torch.stack([torch.zeros(inputs), torch.ones(inputs)]).double()

    def division(self) -> Division:
        """Return how many of the training images are used, set aside and tested on."""
        return Division(val=self.val_size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, by label: those of the data that `load` returns, else numbers."""
        parts = [
            part.pool if isinstance(part, ImagesBySeed) else part for part in (self.splits.train, self.splits.test)
        ]
        return max((part.names for part in parts), key=len)

    @property
    def inputs(self) -> int:
        """Number of inputs D of a network: the pixels of an image."""
        return math.prod(self.image_shape)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The axes of an image: (height, width), or (channels, height, width)."""
        data = self.splits.train
        return tuple((data.pool if isinstance(data, ImagesBySeed) else data).images.shape[1:])

    @property
    def pixel_range(self) -> tuple[float, float]:
        """What a black and a white pixel are as inputs of a network."""
        data = self.splits.train
        if (data.pool if isinstance(data, ImagesBySeed) else data).images.is_floating_point():
            return 0.0, 1.0
        ends = torch.tensor([0, 255], dtype=torch.uint8)
        black, white = to_network_input(ends, normalize=self.normalize).tolist()
        return black, white

    @property
    def splits(self) -> Splits:
        """The data, loaded at the first use; what is drawn by seed is drawn again for other `seeds`."""
        if self._splits is None or (self.split == "by_seed" and self._drawn_for != self.seeds):
            self._splits, self._drawn_for = self._splits_of(self.seeds), list(self.seeds)
        return self._splits

    def _splits_of(self, seeds: Sequence[int]) -> Splits:
        """Load the images, and draw the parts."""
        pool, test = self._loaded or self.load()
        if self.split == "by_seed":
            # kept for other seeds
            self._loaded = pool, test
        seeds = [self.split_seed] if self.split == "fixed" else [split_seed_of(seed, self.split_seed) for seed in seeds]
        division = replace(self.division(), class_names=pool.class_names)
        drawn = [division.draw(pool.labels, seed) for seed in seeds]
        scaling: Tensor | None = None
        if pool.images.is_floating_point():
            scaling = torch.stack([self.scaling_by(pool[one["train"]]) for one in drawn], dim=1)
            # of each seed its own rows, after those of the seed before
            first, pool = len(pool), scaled(pool, scaling)
            drawn = [{name: k * first + index for name, index in one.items()} for k, one in enumerate(drawn)]
        parts: dict[str, Part] = {}
        if len(drawn[0]["train"]) == len(pool):
            parts["train"] = pool
        elif self.split == "fixed":
            parts |= {name: pool[index] for name, index in drawn[0].items()}
        else:
            parts |= {name: ImagesBySeed(pool, torch.stack([one[name] for one in drawn]).int()) for name in drawn[0]}
        return Splits(parts["train"], parts.get("val"), parts["test"] if test is None else test, scaling)

    def describe(self) -> dict[str, Any]:
        """Return source, sizes and fingerprints of all splits, and which are drawn by seed, as data for the record.

        The fingerprint of a split that every seed draws is that of the images of seed 0, whichever seeds are trained.
        """
        splits = self.splits if self.split == "fixed" else self._splits_of([0])
        parts = splits.parts()
        first = {name: data.of(0) if isinstance(data, ImagesBySeed) else data for name, data in parts.items()}
        return {
            "source": self.source,
            "sizes": {name: len(data) for name, data in parts.items()},
            "fingerprints": {name: data.fingerprint() for name, data in first.items()},
            "by_seed": [name for name, data in parts.items() if isinstance(data, ImagesBySeed)],
        }

    def setup(self, stage: str) -> None:
        """Load and split, except for `predict`, which reads other images."""
        if stage != "predict":
            self.splits  # noqa: B018 (loads)

    def train_dataloader(self) -> Loader:
        """Return the loader of training batches `(S, B)`, in a separate order for each replica."""
        source, index = self._source(self.splits.train)
        return training_loader(source, self.batch_size, self.seeds, index)

    def val_dataloader(self) -> dict[str, Loader]:
        """Return the loaders that are evaluated after every epoch: `val`, if any, and `test`, which never selects."""
        return self._evaluation_loaders(*["train"] * self.evaluate_train, "val", "test")

    def test_dataloader(self) -> dict[str, Loader]:
        """Return the loaders of `fashionreg test`: `test`, and `train` for the generalization gap."""
        return self._evaluation_loaders("test", "train")

    def _evaluation_loaders(self, *names: str) -> dict[str, Loader]:
        parts = {name: getattr(self.splits, name) for name in names}
        return {name: self.evaluation_loader(data) for name, data in parts.items() if data is not None}

    def evaluation_loader(self, data: Part) -> Loader:
        """Return the loader of evaluation batches: `(B,)` for all replicas, or `(S, B)` where each has its own."""
        source, index = self._source(data)
        return evaluation_loader(source, len(self.seeds), index)

    def first_images(self, data: Part, count: int) -> Tensor:
        """Return the first images, or all if there are fewer, as a network is given them, on the device.

        Returns:
            float32 `(count, D)`, or `(S, count, D)` where each replica has its own.
        """
        source, index = self._source(data)
        chosen = torch.arange(min(count, len(data))) if index is None else index[:, :count]
        return source[chosen.to(source.device)][0]

    def _source(self, data: Part) -> tuple[ResidentImages, Tensor | None]:
        """Return resident images, and which of them each replica has, int32 `(S, N)`; None for all, in order."""
        if isinstance(data, ImagesBySeed):
            return self.resident(data.pool), data.index
        return self.resident(data), None

    def resident(self, data: LabelledImages) -> ResidentImages:
        """Return the images on the device of the trainer (the CPU without a trainer), scaled as this module scales."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        _, known = self._resident.get(id(data), (None, None))
        if known is None or known.device != device:
            known = ResidentImages(data, device, normalize=self.normalize)
            self._resident[id(data)] = (data, known)
        return known
