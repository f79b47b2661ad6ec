"""Images or features from NumPy files, or from arrays and tensors of a program."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from fashionreg.data.datamodules.base import ImageDataModule, Splitting, given_names, with_names
from fashionreg.data.images import LabelledImages
from fashionreg.data.location import expand_home
from fashionreg.data.scaling import standardization
from fashionreg.data.splits import Division, ImageCount
from fashionreg.errors import UserError
from fashionreg.files import read_bytes

#: How many bytes a file may have.
MAX_FILE = 8_000_000_000

#: The names of the arrays in an .npz file.
_NAMES = ("images", "labels", "class_names")


class ArrayDataModule(ImageDataModule):
    """Images or features and their classes: from an .npz file, from two .npy files, or from arrays of a program.

    Images of uint8 are pixels, `(N, height, width)` or `(N, D)`, 0 to 255, which become 0 to 1. Numbers of other types
    are features, standardized with mean and standard deviation of what is trained on (with `split: by_seed`, of each
    seed), or left as they are.

    Args:
        path: An .npz file with `images`, `labels` and perhaps `class_names`, or an .npy file of images.
        labels_path: An .npy file of labels, beside an .npy file of images.
        images: In place of a file, an array or a tensor, from Python alone.
        labels: Likewise: integers, from 0 to K - 1 where `class_names` are given, or texts.
        class_names: Names of the K classes. If not given, those of the file, the texts, or numbers.
        standardize: Whether features are shifted and scaled to mean 0 and standard deviation 1.
        test_size: Images to test on, stratified by class: a number or a share (below 1).
        val_size: Of the others, those set aside for validation: a number or a share (below 1).
        batch_size: Images in one training step of each replica.
        evaluate_train: Whether `train` too is evaluated after every epoch, in evaluation mode as `val` and `test`;
            otherwise its metrics are means over the training steps of the epoch.
        split_seed: Fixes which images are tested on; the same for every replica.
        seeds: One replica is trained for each seed.
        split: `fixed`, the same parts for all seeds, or `by_seed`: each seed draws its own parts, of the same sizes.
    """

    def __init__(
        self,
        path: str | None = None,
        labels_path: str | None = None,
        images: Any = None,
        labels: Any = None,
        class_names: list[str] | None = None,
        standardize: bool = True,
        test_size: ImageCount = 0.2,
        val_size: ImageCount = 0,
        batch_size: int = 32,
        evaluate_train: bool = False,
        split_seed: int = 0,
        seeds: Sequence[int] = (0,),
        split: Splitting = "fixed",
    ) -> None:
        super().__init__(batch_size, val_size, False, evaluate_train, split_seed, seeds, split)
        self.path, self.labels_path = path, labels_path
        self.test_size = test_size
        self.standardize = standardize
        self.names = given_names(class_names)
        if (path is None) == (images is None):
            raise UserError("path: must name an .npz or .npy file, or images and labels be given in Python")
        if images is not None and (labels is None or labels_path is not None):
            raise UserError("labels: must be given with images, and labels_path left out")
        self._given = None if images is None else {"images": images, "labels": labels}

    @property
    def source(self) -> str:
        """Where the images come from."""
        return "arrays" if self.path is None else f"NumPy file {Path(self.path).name}"

    def load(self) -> tuple[LabelledImages, None]:
        """Return all images: uint8 `(N, ...)`, or float64 where they are features.

        Raises:
            UserError: If a file cannot be read, or the arrays are not images and labels.
        """
        where = self.source if self.path is None else str(self.path)
        arrays = self._given or self._read()
        images = _array(arrays["images"], f"{where}: images")
        if images.ndim < 2 or not len(images) or 0 in images.shape:
            raise UserError(f"{where}: images: must be (N, height, width) or (N, D), got shape {images.shape}")
        if images.dtype == np.uint8:
            values = torch.from_numpy(np.array(images))
        elif images.dtype.kind in "iufb":
            values = torch.from_numpy(images.astype(np.float64))
            # what float32 holds, with room for the square of it in float64
            if not bool((values.abs() < 1e30).all()):
                at = (~(values.abs() < 1e30)).nonzero()[0].tolist()
                raise UserError(f"{where}: images{at}: is {images[tuple(at)]}, expected a finite number below 1e30")
        else:
            raise UserError(f"{where}: images: must be uint8 or numbers, got {images.dtype}")
        labels, names = _labels(_array(arrays["labels"], f"{where}: labels"), len(images), arrays, where)
        return with_names(LabelledImages(values, labels, names), self.names, Path(where)), None

    def _read(self) -> dict[str, NDArray[Any]]:
        """Read the arrays of the files."""
        assert self.path is not None
        path = expand_home(self.path)
        if path.suffix.lower() == ".npz":
            if self.labels_path is not None:
                raise UserError(f"labels_path: {path} holds the labels; leave it out")
            with _archive(path) as file:
                if missing := [name for name in _NAMES[:2] if name not in file]:
                    raise UserError(f"{path}: has no array {missing[0]!r}, expected images, labels and class_names")
                # an archive may hold a thousand times its own size
                members = file.zip.infolist() if file.zip else []
                if sum(int(member.file_size) for member in members) > MAX_FILE:
                    raise UserError(f"{path}: has more than {MAX_FILE:,} bytes, unpacked; split it into smaller files")
                return {name: _member(file, name, path) for name in _NAMES if name in file}
        if self.labels_path is None:
            raise UserError(f"labels_path: must name the .npy file of the labels of {path}")
        return {"images": _single(path), "labels": _single(expand_home(self.labels_path))}

    def scaling_by(self, train: LabelledImages) -> Tensor:
        """Return what turns features into inputs of networks, float64 `(2, D)`."""
        return standardization(train.images.flatten(1)) if self.standardize else super().scaling_by(train)

    def division(self) -> Division:
        """Return how many images are tested on and set aside."""
        return Division(test=self.test_size, val=self.val_size, file=None if self.path is None else Path(self.path))


def _opened(path: Path) -> Any:
    """Open a NumPy file: an array, or the archive of several."""
    content = read_bytes(path, "NumPy file", MAX_FILE)
    try:
        # never a pickle, which runs code
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path}: is not a NumPy file of numbers or texts: {_reason(error)}") from error


def _archive(path: Path) -> NpzFile:
    if not isinstance(found := _opened(path), NpzFile):
        raise UserError(f"{path}: holds a single array, expected an archive of images and labels")
    return found


def _single(path: Path) -> NDArray[Any]:
    if isinstance(found := _opened(path), NpzFile):
        raise UserError(f"{path}: is an archive, expected a single array; an archive's name ends in .npz")
    array: NDArray[Any] = found
    return array


def _member(file: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = file[name]
    except Exception as error:  # as above
        raise UserError(f"{path}: {name}: cannot be read: {_reason(error)}") from error
    return array


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _array(value: Any, where: str) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise UserError(f"{where}: is no array: {_reason(error)}") from error
    # a column of a DataFrame holds texts as objects
    return array.astype(str) if array.dtype == object and all(isinstance(each, str) for each in array.flat) else array


def _labels(labels: NDArray[Any], count: int, arrays: dict[str, Any], where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels from 0 to K - 1, and the names of the classes."""
    if labels.shape != (count,):
        raise UserError(f"{where}: labels: must be one for each of {count:,} images, got shape {labels.shape}")
    if labels.dtype.kind not in "iuU":
        raise UserError(f"{where}: labels: must be integers or texts, got {labels.dtype}")
    names = arrays.get("class_names")
    if names is None:
        found, index = np.unique(labels, return_inverse=True)
        named = tuple(map(str, found.tolist()))
        if len(named) < 2:
            raise UserError(f"{where}: labels: all are {named[0]:.80}, expected 2 classes or more")
        return torch.from_numpy(index.astype(np.int64)), given_names(named) or ()
    texts = _array(names, f"{where}: class_names")
    if labels.dtype.kind == "U" or texts.dtype.kind != "U" or texts.ndim != 1:
        raise UserError(
            f"{where}: class_names: must be texts, and labels numbers from 0 to one less than there are names"
        )
    if labels.min() < 0 or labels.max() >= len(texts):
        at = int(((labels < 0) | (labels >= len(texts))).argmax())
        raise UserError(
            f"{where}: labels[{at}]: is {labels[at]}, expected 0 to {len(texts) - 1}, as there are class_names"
        )
    return torch.from_numpy(labels.astype(np.int64)), given_names(texts.tolist()) or ()
