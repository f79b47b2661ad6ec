"""Batches by index: the images stay on the device of the network, and only indices are transferred."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fashionreg.data.images import LabelledImages
from fashionreg.randomness import generator

#: Images in one evaluation step: large enough to be all arithmetic, small enough to stay in a CPU's cache.
EVALUATION_CHUNK = 2000

#: Images times replicas in one evaluation step: what keeps the memory of many replicas that of a few training batches.
EVALUATION_WORK = 40_000

#: Images that one evaluation step fetches where each replica has its own: twice the pixels of a chunk.
EVALUATION_FETCHED = 2 * EVALUATION_CHUNK


class Loader(DataLoader[Any]):
    """A loader without worker processes, whose sampler yields the index of a whole batch, which the dataset fetches.

    It calls the dataset directly. What `DataLoader` does for each batch besides, for worker processes and profilers,
    takes as long as to fetch a small batch.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return map(self.dataset.__getitem__, self.sampler)


#: Mean and standard deviation of all pixels of Fashion-MNIST's 60,000 training images, on the scale 0 to 1.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530


def to_network_input(pixels: Tensor, *, normalize: bool) -> Tensor:
    """Convert pixels of any shape, uint8, to the input of a network, float32 of the same shape; floats stay floats.

    Args:
        pixels: 0 to 255.
        normalize: Whether to shift and scale to mean 0 and standard deviation 1 over Fashion-MNIST (`PIXEL_MEAN`,
            `PIXEL_STD`); otherwise pixels / 255, in 0 to 1.
    """
    if pixels.is_floating_point():
        return pixels
    scaled = pixels.float().div_(255)
    return scaled.sub_(PIXEL_MEAN).div_(PIXEL_STD) if normalize else scaled


class ResidentImages(Dataset[tuple[Tensor, Tensor]]):
    """All images of a split on one device, uint8 or float32 `(N, D)`: an index tensor of any shape fetches a batch.

    Attributes:
        normalize: How pixels become the input of a network; see `to_network_input`.
    """

    def __init__(self, data: LabelledImages, device: torch.device, *, normalize: bool) -> None:
        self.device = device
        self.normalize = normalize
        self._pixels = data.images.flatten(1).to(device)
        self._labels = data.labels.to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images float32 `(*index.shape, D)` and labels int64 `index.shape`."""
        pixels, labels = self.fetch(index)
        return to_network_input(pixels, normalize=self.normalize), labels

    def fetch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels, uint8 or float32 `(*index.shape, D)`, and labels int64 `index.shape`."""
        # index_select copies whole rows; indexing with a matrix of indices is ten times slower on a CPU
        flat = index.reshape(-1)
        pixels = self._pixels.index_select(0, flat).view(*index.shape, -1)
        return pixels, self._labels.index_select(0, flat).view(index.shape)


class IndexedBatch:
    """A training batch that is fetched when it is unpacked, `images, labels = batch`.

    A compiled step does not unpack it: it converts the pixels together with what comes next.

    Attributes:
        source: The images of the split.
        index: Which images each replica sees, int32 `(S, B)`.
    """

    def __init__(self, source: ResidentImages, index: Tensor) -> None:
        self.source = source
        self.index = index

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.source[self.index])

    def __getitem__(self, position: int) -> Tensor:
        return self.source[self.index][position]

    def __len__(self) -> int:
        return 2


class TrainingImages(Dataset["tuple[Tensor, Tensor] | IndexedBatch"]):
    """The images to train on: an index fetches a batch of images and labels.

    Attributes:
        by_index: Whether to leave the fetching to the training step.
    """

    def __init__(self, source: ResidentImages) -> None:
        self.source = source
        self.by_index = False

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor] | IndexedBatch:
        return IndexedBatch(self.source, index) if self.by_index else self.source[index]


class ReplicaSampler(Sampler[Tensor]):
    """Indices of training batches: in each epoch every replica sees all images once, in a separate random order.

    It yields int32 `(S, B)`; the last batch of an epoch may be smaller. The order of a replica depends only on its seed
    and the epoch (`set_epoch`, called by Lightning).

    Args:
        size: Number of images N that a replica sees in an epoch.
        batch_size: Of each replica.
        seeds: One for each of the S replicas.
        device: Where the indices are needed.
        index: Which images each replica has, int32 `(S, N)`; None where all have the images 0 to N - 1.
    """

    def __init__(
        self, size: int, batch_size: int, seeds: Sequence[int], device: torch.device, index: Tensor | None = None
    ) -> None:
        self._size = size
        self._index = index
        self._batch_size = min(batch_size, size)
        self._seeds = seeds
        self._device = device
        self._epoch = 0

    @property
    def smallest_batch(self) -> int:
        """Images in the last batch of an epoch."""
        return self._size % self._batch_size or self._batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) whose order is used from now on."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._size // self._batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        # four bytes for each image and seed: no other memory grows with both
        orders = torch.empty(len(self._seeds), self._size, dtype=torch.int32)
        for replica, (order, seed) in enumerate(zip(orders, self._seeds, strict=True)):
            drawn = torch.randperm(self._size, generator=generator(seed, "order", self._epoch))
            order.copy_(drawn if self._index is None else self._index[replica, drawn])
        yield from orders.to(self._device).split(self._batch_size, dim=1)


class ChunkSampler(Sampler[Tensor]):
    """Indices of evaluation batches: all images once, in order.

    Args:
        index: Of all images, int64 `(N,)`, or of those of each replica, int32 `(S, N)`; it yields `(B,)` or `(S, B)`.
        chunk_size: Images in a batch.
    """

    def __init__(self, index: Tensor, chunk_size: int) -> None:
        self._chunks = index.split(chunk_size, dim=-1)

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._chunks


def training_loader(
    dataset: ResidentImages, batch_size: int, seeds: Sequence[int], index: Tensor | None = None
) -> Loader:
    """Return the loader of training batches `(S, B)`, in a separate order for each replica.

    Args:
        dataset: The images.
        batch_size: Of each replica.
        seeds: One for each of the S replicas.
        index: Which of the images each replica has, int32 `(S, N)`; None for all.
    """
    size = len(dataset) if index is None else index.shape[1]
    sampler = ReplicaSampler(size, batch_size, seeds, dataset.device, index)
    return Loader(TrainingImages(dataset), batch_size=None, sampler=sampler)


def evaluation_loader(dataset: ResidentImages, replicas: int, index: Tensor | None = None) -> Loader:
    """Return the loader of evaluation batches; more replicas make them smaller.

    Args:
        dataset: The images.
        replicas: Number of replicas S.
        index: Which of the images each replica has, int32 `(S, N)`: the batches are `(S, B)`. None for all images,
            shown to all replicas: the batches are `(B,)`.
    """
    shown = torch.arange(len(dataset)) if index is None else index
    sampler = ChunkSampler(shown.to(dataset.device), chunk_size(replicas, by_seed=index is not None))
    return Loader(dataset, batch_size=None, sampler=sampler)


def chunk_size(replicas: int, *, by_seed: bool = False) -> int:
    """Return the number of images in one evaluation step of `replicas` networks.

    Args:
        replicas: Number of networks.
        by_seed: Whether each network is shown its own images.
    """
    most = EVALUATION_FETCHED if by_seed else EVALUATION_WORK
    return min(EVALUATION_CHUNK, max(most // replicas, 1))
