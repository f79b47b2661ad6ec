"""Fashion-MNIST, the official images."""

from collections.abc import Sequence

from fashionreg.data.datamodules.base import ImageDataModule, Splitting
from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.data.location import data_root
from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
from fashionreg.data.splits import Division, ImageCount


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
        split: `fixed`, the same parts for all seeds, or `by_seed`: each seed draws its own images for training and
            validation. The test images are the official ones.
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
        split: Splitting = "fixed",
    ) -> None:
        super().__init__(batch_size, val_size, normalize, evaluate_train, split_seed, seeds, split)
        self.root = data_root(root)
        self.mirror = mirror
        self.train_size = train_size

    @property
    def source(self) -> str:
        """Where the images come from."""
        return "Fashion-MNIST"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The ten classes of Fashion-MNIST."""
        return CLASS_NAMES

    @property
    def expected_images(self) -> int:
        """Training and test images of the official files."""
        return 70_000

    def prepare_data(self) -> None:
        """Download, verify and unpack the files that are missing."""
        fetch_fashion_mnist(self.root, self.mirror)

    def load(self) -> tuple[LabelledImages, LabelledImages]:
        """Return the official training and test images."""
        return read_fashion_mnist(self.root, train=True), read_fashion_mnist(self.root, train=False)

    def division(self) -> Division:
        """Return how many of the training images are used and set aside."""
        return Division(train=self.train_size, val=self.val_size)
