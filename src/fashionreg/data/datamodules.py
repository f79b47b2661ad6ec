"""LightningDataModules: a source, its split into train, val and test, and loaders that fetch batches by index."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from fashionreg.data.batches import Loader, ResidentImages, evaluation_loader, training_loader
from fashionreg.data.csv_files import PIXELS, read_csv
from fashionreg.data.garments import draw_garments
from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import SYNTHETIC_SOURCE, data_root
from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
from fashionreg.data.splits import ImageCount, image_count, split_off
from fashionreg.errors import UserError


@dataclass(frozen=True)
class Splits:
    """The data of a run; `val` is None where nothing was set aside. `test` never trains and never selects."""

    train: LabelledImages
    val: LabelledImages | None
    test: LabelledImages


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
    """

    def __init__(
        self,
        batch_size: int,
        val_size: ImageCount,
        normalize: bool,
        evaluate_train: bool,
        split_seed: int,
        seeds: Sequence[int],
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size: must be at least 1, got {batch_size}")
        if not val_size >= 0:
            raise UserError(f"val_size: must not be negative, got {val_size}")
        self.save_hyperparameters(ignore=["seeds"])
        self.batch_size = batch_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.normalize = normalize
        self.evaluate_train = evaluate_train
        self.seeds = list(seeds)
        self._splits: Splits | None = None
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
    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the training images (with those for validation) and the test images."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, by label."""
        return CLASS_NAMES

    @property
    def inputs(self) -> int:
        """Number of inputs D of a network: the pixels of an image."""
        return self.splits.train.images[0].numel()

    @property
    def splits(self) -> Splits:
        """The data, loaded at the first use."""
        if self._splits is None:
            train, test = self.load()
            val = None
            if self.val_size:
                train, val = split_off(train, self.val_size, self.split_seed, "val_size")
            self._splits = Splits(train, val, test)
        return self._splits

    def describe(self) -> dict[str, Any]:
        """Return source, number of images of each split and fingerprints, as plain data for the record."""
        parts = {name: data for name, data in vars(self.splits).items() if data is not None}
        return {
            "source": self.source,
            "sizes": {name: len(data) for name, data in parts.items()},
            "fingerprints": {name: data.fingerprint() for name, data in parts.items()},
        }

    def setup(self, stage: str) -> None:
        """Load and split, except for `predict`, which reads other images."""
        if stage != "predict":
            self.splits  # noqa: B018 (loads)

    def train_dataloader(self) -> Loader:
        """Return the loader of training batches `(S, B)`, in a separate order for each replica."""
        return training_loader(self.resident(self.splits.train), self.batch_size, self.seeds)

    def val_dataloader(self) -> dict[str, Loader]:
        """Return the loaders that are evaluated after every epoch: `val`, if any, and `test`, which never selects."""
        return self._evaluation_loaders(*["train"] * self.evaluate_train, "val", "test")

    def test_dataloader(self) -> dict[str, Loader]:
        """Return the loaders of `fashionreg test`: `test`, and `train` for the generalization gap."""
        return self._evaluation_loaders("test", "train")

    def _evaluation_loaders(self, *names: str) -> dict[str, Loader]:
        parts = {name: getattr(self.splits, name) for name in names}
        return {
            name: evaluation_loader(self.resident(data), len(self.seeds))
            for name, data in parts.items()
            if data is not None
        }

    def resident(self, data: LabelledImages) -> ResidentImages:
        """Return the images on the device of the trainer (the CPU without a trainer), scaled as this module scales."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        _, known = self._resident.get(id(data), (None, None))
        if known is None or known.device != device:
            known = ResidentImages(data, device, normalize=self.normalize)
            self._resident[id(data)] = (data, known)
        return known


class FashionMNISTDataModule(ImageDataModule):
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 images to train on, 10,000 to test on.

    Args:
        root: Folder that holds `FashionMNIST/raw/`; if not given, the environment variable `FASHIONREG_DATA`, else
            `data`.
        mirror: Address to download from instead of torchvision's mirrors.
        train_size: Training images to use, stratified by class: a number (above 1) or a share (up to 1, which is
            all); all by default.
        val_size: Training images set aside for validation: a number or a share (below 1).
        batch_size: Images in one training step of each replica.
        normalize: Whether pixels are shifted and scaled to mean 0 and standard deviation 1; otherwise pixels / 255.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which images are used and set aside; the same for every replica.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        root: str | None = None,
        mirror: str | None = None,
        train_size: ImageCount | None = None,
        val_size: ImageCount = 0,
        batch_size: int = 64,
        normalize: bool = False,
        evaluate_train: bool = False,
        split_seed: int = 0,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds)
        self.root = data_root(root)
        self.mirror = mirror
        self.train_size = train_size

    @property
    def source(self) -> str:
        """Where the images come from."""
        return "Fashion-MNIST"

    @property
    def expected_images(self) -> int:
        """Training and test images of the official files."""
        return 70_000

    def prepare_data(self) -> None:
        """Download, verify and unpack the files that are missing."""
        fetch_fashion_mnist(self.root, self.mirror)

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the official training and test images."""
        train = read_fashion_mnist(self.root, train=True)
        if self.train_size is not None and image_count(self.train_size, len(train), "train_size") < len(train):
            _, train = split_off(train, self.train_size, self.split_seed, "train_size")
        return train, read_fashion_mnist(self.root, train=False)


class CSVDataModule(ImageDataModule):
    """Images from one CSV file in the Kaggle form, `label,pixel1,...,pixel784`, split into train and test.

    Args:
        path: The file; `.gz` is read too.
        test_size: Images to test on, stratified by class: a number or a share (below 1).
        val_size: Of the other images, those set aside for validation: a number or a share (below 1).
        batch_size: Images in one training step of each replica.
        normalize: Whether pixels are shifted and scaled to mean 0 and standard deviation 1; otherwise pixels / 255.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which images are tested on; the same for every replica.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        path: str,
        test_size: ImageCount = 0.2,
        val_size: ImageCount = 0,
        batch_size: int = 32,
        normalize: bool = False,
        evaluate_train: bool = False,
        split_seed: int = 0,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds)
        self.path = Path(path)
        self.test_size = test_size

    @property
    def source(self) -> str:
        """Where the images come from."""
        return f"CSV {self.path.name}"

    @property
    def expected_images(self) -> int | None:
        """At most as many as the file has bytes for; None for a packed file and one that is not there."""
        if self.path.suffix == ".gz" or not self.path.is_file():
            return None
        # a row is a label and the pixels, each a digit and a comma at least
        return self.path.stat().st_size // (2 * (PIXELS + 1))

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the two parts of the file."""
        return split_off(read_csv(self.path), self.test_size, self.split_seed, "test_size", self.path)


class SyntheticDataModule(ImageDataModule):
    """Drawn garments: ten classes under Fashion-MNIST's names, for tests and for work without the real data.

    Args:
        train_size: Number of images to train on (validation among them).
        test_size: Number of images to test on.
        data_seed: Fixes the drawings.
        val_size: Training images set aside for validation: a number or a share (below 1).
        batch_size: Images in one training step of each replica.
        normalize: Whether pixels are shifted and scaled to mean 0 and standard deviation 1; otherwise pixels / 255.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which images are set aside; the same for every replica.
        seeds: One replica is trained for each seed.
    """

    def __init__(
        self,
        train_size: int = 10_000,
        test_size: int = 2_000,
        data_seed: int = 0,
        val_size: ImageCount = 0,
        batch_size: int = 64,
        normalize: bool = False,
        evaluate_train: bool = False,
        split_seed: int = 0,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds)
        if train_size < 1 or test_size < 1:
            raise UserError(f"train_size, test_size: must be at least 1, got {train_size} and {test_size}")
        self.train_size = train_size
        self.test_size = test_size
        self.data_seed = data_seed

    @property
    def source(self) -> str:
        """Where the images come from."""
        return SYNTHETIC_SOURCE

    @property
    def expected_images(self) -> int:
        """Images of both parts."""
        return self.train_size + self.test_size

    @property
    def expected_bytes(self) -> int:
        """The images, and while they are drawn the random numbers of a class (see `draw_garments`)."""
        return self.expected_images * PIXELS * 2

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Draw both parts at once, so that they share no image."""
        images = draw_garments(self.train_size + self.test_size, self.data_seed)
        return images[: self.train_size], images[self.train_size :]
