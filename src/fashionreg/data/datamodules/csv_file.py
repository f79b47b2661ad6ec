"""Images or features from a CSV file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fashionreg.data.csv_files import PIXELS, is_kaggle_form, read_csv
from fashionreg.data.datamodules.base import ImageDataModule, Splitting, given_names, with_names
from fashionreg.data.images import CLASS_NAMES, LabelledImages, is_fashion_mnist
from fashionreg.data.location import data_root
from fashionreg.data.scaling import standardization
from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
from fashionreg.data.splits import Division, ImageCount
from fashionreg.data.tables import ROWS_PER_CLASS, Kind, read_table
from fashionreg.errors import UserError

#: Which images a CSV file is tested on: some of its own, or the test images of Fashion-MNIST.
TestImages = Literal["own", "official"]

#: The names of classes 0 to 9 in a file that does not say what they are.
_DIGITS = tuple(map(str, range(len(CLASS_NAMES))))

#: The share of a file that may be equal to official test images: some of the training images are.
MOST_SHARED = 0.01


class CSVDataModule(ImageDataModule):
    """Images or features from one CSV file, split into train and test.

    The usual form is that of Fashion-MNIST on Kaggle, `label,pixel1,...,pixel784`. Any other file with a header line
    and a column of classes, numbers or texts, is read as well: pixels of any number (square images where that is a
    square) or, with `kind: features`, numbers, which are standardized with mean and standard deviation of what is
    trained on (with `split: by_seed`, of each seed).

    Args:
        path: The file; `.gz` is read too.
        test_size: Images that are not trained on, stratified by class: a number or a share (below 1). They are the test
            images, unless `test` says otherwise; then 0 is possible too.
        val_size: Of the other images, those set aside for validation: a number or a share (below 1).
        batch_size: Images in one training step of each replica.
        normalize: Whether pixels are shifted and scaled to mean 0 and standard deviation 1; otherwise pixels / 255.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which images are tested on; the same for every replica.
        seeds: One replica is trained for each seed.
        split: `fixed`, the same parts for all seeds, or `by_seed`: each seed draws its own parts of the file, of the
            same sizes.
        test: `own`, the images that are not trained on, or `official`: the 10,000 test images of Fashion-MNIST. What is
            trained is the same.
        root: Where the official images are: as for `FashionMNISTDataModule`.
        mirror: Where they are downloaded from: likewise.
        class_names: Names of the classes, by label. If not given, those of Fashion-MNIST where the images are some of
            its images (`is_fashion_mnist`), else those in the file, texts or numbers.
        label: Name of the column of the classes. If not given, `label`, else the first or the last one, where it is
            clear which of the two.
        kind: What the other columns are: `pixels`, integers of 0 to 255, or `features`, numbers of any kind.
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
        split: Splitting = "fixed",
        test: TestImages = "own",
        root: str | None = None,
        mirror: str | None = None,
        class_names: list[str] | None = None,
        label: str | None = None,
        kind: Kind = "pixels",
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds, split)
        self.path = Path(path)
        self.test_size = test_size
        self.test = test
        self.root = data_root(root)
        self.mirror = mirror
        self.names = given_names(class_names)
        self.label = label
        self.kind: Kind = kind
        if kind == "features" and normalize:
            raise UserError("normalize: is for pixels; features are standardized without it")
        if test == "official" and (kind == "features" or label is not None):
            raise UserError("test: official: is for a file in the form label,pixel1,...: leave out kind and label")

    @property
    def source(self) -> str:
        """Where the images come from."""
        return f"CSV {self.path.name}{', tested on Fashion-MNIST' * (self.test == 'official')}"

    @property
    def expected_images(self) -> int | None:
        """At most as many as the file has bytes for; None for a packed file and one that is not there."""
        if self.path.suffix == ".gz" or not self.path.is_file() or self.kind == "features":
            return None
        # a row is a label and the pixels, each a digit and a comma at least
        own = self.path.stat().st_size // (2 * (PIXELS + 1))
        return own + 10_000 * (self.test == "official")

    @property
    def expected_bytes(self) -> int:
        """Bytes of main memory that `load` needs."""
        if self.kind == "pixels" or not self.path.is_file():
            return super().expected_bytes
        # a value of two characters or more becomes a float64, and then a float32 of each seed that draws its own
        replicas = len(self.seeds) if self.split == "by_seed" else 1
        return self.path.stat().st_size // 2 * (8 + 4 * replicas)

    def prepare_data(self) -> None:
        """Make the official images present, where those are tested on."""
        if self.test == "official":
            fetch_fashion_mnist(self.root, self.mirror)

    def load(self) -> tuple[LabelledImages, LabelledImages | None]:
        """Return the images of the file, and the official test images where those are asked for.

        Raises:
            UserError: If the file cannot be read, or is to be tested on official test images and has others of another
                size, other classes, or some of these.
        """
        data = self._read()
        if self.test == "own":
            return with_names(data, self.names, self.path), None
        test = read_fashion_mnist(self.root, train=False)
        if self.names not in (None, CLASS_NAMES):
            raise UserError("class_names: must be those of Fashion-MNIST, or left out, with test: official")
        known = {image.tobytes() for image in test.images.numpy()}
        among = sum(image.tobytes() in known for image in data.images.numpy())
        if among > MOST_SHARED * len(data):
            raise UserError(
                f"{self.path}: test: official: {among:,} of its {len(data):,} images are official test images, which "
                "must not be trained on; cut the file from the training images"
            )
        return data, test

    def _read(self) -> LabelledImages:
        """Read the file as Fashion-MNIST's form, or else as any other.

        The form of Fashion-MNIST with a fault in it stays a file of Fashion-MNIST with a fault in it.
        """
        if self.test == "official":
            return read_csv(self.path)
        if self.kind == "features" or self.label is not None:
            return self._read_any()
        try:
            return _with_classes_present(read_csv(self.path))
        except UserError as error:
            if not is_kaggle_form(self.path):
                return self._read_any()
            try:
                data = self._read_any()
            except UserError:
                raise error from None
            # a class of a single image, a number among numbers, is rather a fault
            if data.labels.bincount().min() < ROWS_PER_CLASS and data.class_names[0].isdecimal():
                raise
            return data

    def _read_any(self) -> LabelledImages:
        table = read_table(self.path, self.kind, self.label)
        inputs = table.values.shape[1]
        side = math.isqrt(inputs)
        shape = (side, side) if self.kind == "pixels" and side**2 == inputs else (inputs,)
        images, labels = torch.from_numpy(table.values).view(-1, *shape), torch.from_numpy(table.labels)
        recognized = shape == (28, 28) and table.class_names == _DIGITS and is_fashion_mnist(images, labels)
        return LabelledImages(images, labels, CLASS_NAMES if recognized else table.class_names)

    def scaling_by(self, train: LabelledImages) -> Tensor:
        """Return what turns features into inputs of networks, float64 `(2, D)`."""
        return standardization(train.images)

    def division(self) -> Division:
        """Return how many images of the file are tested on, or left out, and set aside."""
        left_out = self.test_size if self.test == "own" or self.test_size else None
        return Division(test=left_out, val=self.val_size, file=self.path)


def _with_classes_present(data: LabelledImages) -> LabelledImages:
    """Return data without names as data of the classes that are there, by their numbers."""
    if data.class_names:
        return data
    present, labels = data.labels.unique(return_inverse=True)
    return LabelledImages(data.images, labels, tuple(map(str, present.tolist())))
