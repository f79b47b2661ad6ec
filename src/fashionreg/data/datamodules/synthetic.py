"""Drawn garments, for tests and for work without the real data."""

from collections.abc import Sequence
from functools import lru_cache

from fashionreg.data.csv_files import PIXELS
from fashionreg.data.datamodules.base import ImageDataModule, Splitting
from fashionreg.data.garments import draw_garments
from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import SYNTHETIC_SOURCE
from fashionreg.data.splits import Division, ImageCount
from fashionreg.errors import UserError

#: A set of at most so many images is kept in memory for the next module that draws the same: 16 MB.
KEPT_SIZE = 20_000


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
        split: `fixed`, the same parts for all seeds, or `by_seed`: each seed draws its own parts of all images.
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
        split: Splitting = "fixed",
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds, split)
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
    def class_names(self) -> tuple[str, ...]:
        """The ten classes of Fashion-MNIST."""
        return CLASS_NAMES

    @property
    def expected_images(self) -> int:
        """Images of both parts."""
        return self.train_size + self.test_size

    @property
    def expected_bytes(self) -> int:
        """The images, and while they are drawn the random numbers of a class (see `draw_garments`)."""
        return self.expected_images * PIXELS * 2

    def load(self) -> tuple[LabelledImages, LabelledImages | None]:
        """Draw both parts at once, so that they share no image."""
        images = _drawn(self.train_size + self.test_size, self.data_seed)
        if self.split == "by_seed":
            return images, None
        return images[: self.train_size], images[self.train_size :]

    def division(self) -> Division:
        """Return how many images are set aside and, where each seed draws its own, tested on."""
        return Division(test=self.test_size if self.split == "by_seed" else None, val=self.val_size)


@lru_cache(maxsize=1)
def _kept(size: int, seed: int) -> LabelledImages:
    """Draw garments and keep the last set: a study reads the same data twice for each variant."""
    return draw_garments(size, seed)


def _drawn(size: int, seed: int) -> LabelledImages:
    """Return garments as `draw_garments` does, in tensors of their own: who changes them changes no other set."""
    if size > KEPT_SIZE:
        return draw_garments(size, seed)
    kept = _kept(size, seed)
    return LabelledImages(kept.images.clone(), kept.labels.clone(), kept.class_names)
