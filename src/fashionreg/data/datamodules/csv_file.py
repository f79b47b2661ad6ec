"""Images from a CSV file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fashionreg.data.csv_files import PIXELS, read_csv
from fashionreg.data.datamodules.base import ImageDataModule, Splitting, given_names, with_names
from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import data_root
from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
from fashionreg.data.splits import Division, ImageCount
from fashionreg.errors import UserError

#: Which images a CSV file is tested on: some of its own, or the test images of Fashion-MNIST.
TestImages = Literal["own", "official"]

#: The share of a file that may be equal to official test images: some of the training images are.
MOST_SHARED = 0.01


class CSVDataModule(ImageDataModule):
    """Images from one CSV file in the Kaggle form, `label,pixel1,...,pixel784`, split into train and test.

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
            its images (`is_fashion_mnist`), else numbers.
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
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds, split)
        self.path = Path(path)
        self.test_size = test_size
        self.test = test
        self.root = data_root(root)
        self.mirror = mirror
        self.names = given_names(class_names)

    @property
    def source(self) -> str:
        """Where the images come from."""
        return f"CSV {self.path.name}{', tested on Fashion-MNIST' * (self.test == 'official')}"

    @property
    def expected_images(self) -> int | None:
        """At most as many as the file has bytes for; None for a packed file and one that is not there."""
        if self.path.suffix == ".gz" or not self.path.is_file():
            return None
        # a row is a label and the pixels, each a digit and a comma at least
        own = self.path.stat().st_size // (2 * (PIXELS + 1))
        return own + 10_000 * (self.test == "official")

    def prepare_data(self) -> None:
        """Make the official images present, where those are tested on."""
        if self.test == "official":
            fetch_fashion_mnist(self.root, self.mirror)

    def load(self) -> tuple[LabelledImages, LabelledImages | None]:
        """Return the images of the file, and the official test images where those are asked for.

        Raises:
            UserError: If the file cannot be read, or holds official test images and is to be tested on them.
        """
        data = read_csv(self.path)
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

    def division(self) -> Division:
        """Return how many images of the file are tested on, or left out, and set aside."""
        left_out = self.test_size if self.test == "own" or self.test_size else None
        return Division(test=left_out, val=self.val_size, file=self.path)
