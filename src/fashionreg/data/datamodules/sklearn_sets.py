"""The data sets that are shipped with scikit-learn: real, small, and there without a network."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fashionreg.data.datamodules.base import ImageDataModule, Splitting
from fashionreg.data.images import LabelledImages
from fashionreg.data.scaling import standardization
from fashionreg.data.splits import Division, ImageCount

#: Names of the data sets, and how many rows each has.
ROWS = {"digits": 1797, "breast_cancer": 569, "wine": 178, "iris": 150}

#: What a white pixel of the digits is.
_WHITE = 16.0


class SklearnDataModule(ImageDataModule):
    """A data set of scikit-learn: 1,797 handwritten digits of 8 x 8 pixels, or a table of numeric features.

    Pixels of digits are divided by 16, so that they are 0 to 1. Features are standardized with mean and standard
    deviation of the images that are trained on; with `split: by_seed`, of those of each seed.

    Args:
        dataset: `digits`, `breast_cancer` (569 rows, 30 features, 2 classes), `wine` (178, 13, 3) or `iris` (150, 4,
            3).
        test_size: Rows to test on, stratified by class: a number or a share (below 1).
        val_size: Of the other rows, those set aside for validation: a number or a share (below 1).
        batch_size: Rows in one training step of each replica.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which rows are tested on; the same for every replica.
        seeds: One replica is trained for each seed.
        split: `fixed`, the same parts for all seeds, or `by_seed`: each seed draws its own parts, of the same sizes.
    """

    def __init__(
        self,
        dataset: Literal["digits", "breast_cancer", "wine", "iris"] = "digits",
        test_size: ImageCount = 0.2,
        val_size: ImageCount = 0,
        batch_size: int = 32,
        evaluate_train: bool = False,
        split_seed: int = 0,
        seeds: Sequence[int] = (0,),
        split: Splitting = "fixed",
    ) -> None:
        super().__init__(batch_size, val_size, False, evaluate_train, split_seed, seeds, split)
        self.dataset = dataset
        self.test_size = test_size

    @property
    def source(self) -> str:
        """Where the rows come from."""
        return f"scikit-learn {self.dataset}"

    @property
    def expected_images(self) -> int:
        """Rows of the data set."""
        return ROWS[self.dataset]

    def load(self) -> tuple[LabelledImages, None]:
        """Return all rows, float64 `(N, 8, 8)` or `(N, D)`, with the names of scikit-learn for the classes."""
        from sklearn import datasets  # type: ignore[import-untyped]

        found = getattr(datasets, f"load_{self.dataset}")()
        values = torch.from_numpy(np.asarray(found.data, np.float64))
        if self.dataset == "digits":
            values = values.view(-1, 8, 8)
        labels = torch.from_numpy(np.asarray(found.target, np.int64))
        return LabelledImages(values, labels, tuple(map(str, found.target_names))), None

    def scaling_by(self, train: LabelledImages) -> Tensor:
        """Return what turns rows into inputs of networks, float64 `(2, D)`."""
        values = train.images.flatten(1)
        if self.dataset != "digits":
            return standardization(values)
        return torch.tensor([0.0, _WHITE]).double().unsqueeze(1).repeat(1, values.shape[1])

    def division(self) -> Division:
        """Return how many rows are tested on and set aside."""
        return Division(test=self.test_size, val=self.val_size)
