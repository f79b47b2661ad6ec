"""Estimate the memory of a run before anything is allocated, and refuse a run that the machine cannot hold.

The estimate is arithmetic on the shapes of a run. It is within a factor of two of what is measured
(`tests/training/test_estimate.py`), which is enough to tell a run that fits from one that would bring the machine down.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.cli import OptimizerCallable

from fashionreg.data.batches import chunk_size
from fashionreg.data.csv_files import PIXELS
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.models.networks import MLP, ReplicaNetwork
from fashionreg.models.optimizers import state_of_a_parameter
from fashionreg.runs.contents import outline

#: What a thread must have to do in a training step to be worth its while.
MULTIPLICATIONS_PER_THREAD = 5_000_000

#: The share of available memory beyond which a run is refused.
SHARE = 0.8

#: Threads for each core beyond which a run is refused: they would only wait for one another.
THREADS_PER_CORE = 8

#: Bytes of a float32 or int32, and of a label or an index of one image.
_FLOAT, _INDEX = 4, 8


@dataclass(frozen=True)
class Shapes:
    """The sizes on which memory depends.

    Attributes:
        sizes: Width of the input, of each hidden layer, and number of classes.
        parameters: Parameters of one replica.
        replicas: Replicas S.
        batch_size: Images in a training step of each replica; 0 where nothing is trained.
        chunk_size: Images in an evaluation step.
        images: Images of all splits; 0 if that is unknown before they are loaded.
        batch_norm: Whether each hidden layer has batch norm.
        dropout: Whether each hidden layer has dropout.
        optimizer_state: Numbers that the optimizer keeps for each parameter (SGD 0, momentum 1, Adam 2).
    """

    sizes: tuple[int, ...]
    parameters: int
    replicas: int
    batch_size: int
    chunk_size: int
    images: int
    batch_norm: bool = False
    dropout: bool = False
    optimizer_state: int = 0


def memory_needed(shapes: Shapes) -> int:
    """Estimate the bytes of main memory that a run needs at its peak, besides the libraries.

    Counted are parameters, gradients and optimizer state; the images and the order in which each replica sees them;
    and the largest of three that are never there at once: the activations of a training step, those of an evaluation
    step, and the copy of the parameters and optimizer state that becomes a checkpoint.
    """
    s, hidden = shapes.replicas, shapes.sizes[1:-1]
    parameters = s * shapes.parameters * _FLOAT
    training = shapes.batch_size > 0
    state = parameters * (2 + shapes.optimizer_state if training else 1)
    data = shapes.images * (shapes.sizes[0] + _INDEX)
    # a fetched pixel exists as a byte and as a float
    image = shapes.sizes[0] * (_FLOAT + 1)
    # a layer holds its input and its output
    widest = max(a + b for a, b in zip(shapes.sizes, shapes.sizes[1:], strict=False))
    evaluation = shapes.chunk_size * (image + s * widest * (3 if shapes.batch_norm else 1) * _FLOAT)
    if not training:
        return state + data + max(evaluation, parameters)
    orders = s * shapes.images * _FLOAT
    # kept for backward: outputs of linear layer and ReLU; with batch norm a copy and the normalized values; with
    # dropout random bits, mask, scaled mask and output; during backward, the gradients of two outputs
    kept = sum(hidden) * (2 + 2 * shapes.batch_norm + 4 * shapes.dropout) + 4 * shapes.sizes[-1]
    step = s * shapes.batch_size * (image + (kept + 2 * max(shapes.sizes[1:])) * _FLOAT)
    checkpoint = parameters * (1 + shapes.optimizer_state)
    return state + data + orders + max(step, evaluation, checkpoint)


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes of main memory available to this process, within the limits of its control groups.

    Args:
        root: Where `proc` and `sys` are.

    Returns:
        None where the system does not say (macOS, Windows).
    """
    found = []
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        return None
    # versions 2 and 1 of control groups; in a container the root of this folder is the container's group
    for folder, limit, usage in (
        ("sys/fs/cgroup", "memory.max", "memory.current"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most = (root / folder / limit).read_text().strip()
            used = int((root / folder / usage).read_text())
            stat = dict(line.split() for line in (root / folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if most.isdecimal():
            # the kernel frees its cache of files when memory is requested
            found.append(max(0, int(most) - used + int(stat.get("inactive_file", 0))))
    return min(found, default=None)


def refuse_oversize(needed: int, available: int | None, what: str) -> None:
    """Refuse a run that needs more than the share `SHARE` of the available memory.

    Args:
        needed: Bytes, see `memory_needed`.
        available: Bytes, see `available_memory`; None refuses nothing.
        what: What decides about the size, for the error.

    Raises:
        UserError: With the estimate and what the machine has.
    """
    if available is not None and needed > SHARE * available:
        raise UserError(
            f"memory: {what} needs about {in_bytes(needed)}; {in_bytes(available)} is available, of which at most "
            f"{SHARE:.0%} is used; make it smaller, or insist with --allow_oversize true"
        )


def refuse_threads(threads: int | None) -> None:
    """Refuse more threads than `THREADS_PER_CORE` for each core.

    Raises:
        UserError: With the number of cores.
    """
    cores = os.cpu_count() or 1
    if threads is not None and threads > cores * THREADS_PER_CORE:
        raise UserError(
            f"threads: must be at most {cores * THREADS_PER_CORE} ({THREADS_PER_CORE} for each of {cores} cores), got "
            f"{threads}"
        )


def in_bytes(count: int) -> str:
    """Format a number of bytes in powers of 1,000: `3.2 GB`."""
    value, units = float(count), ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < 1e6 else f"{value:,.0f} {units[0]}"


def refuse_oversize_run(
    model: Classifier,
    datamodule: ImageDataModule,
    seeds: Sequence[int],
    *,
    shape: tuple[int, int] | None,
    training: bool,
    insisted: bool,
) -> tuple[int, int]:
    """Refuse a run that needs more memory than the machine has, before data are loaded and networks are made.

    Args:
        model: The model, not built yet.
        datamodule: The data, not loaded yet.
        seeds: The seeds, a range perhaps.
        shape: Number of inputs and of classes, if known; otherwise the data are loaded to find them.
        training: Whether networks are trained, or only evaluated.
        insisted: Whether the user insists; then nothing is refused.

    Returns:
        Number of inputs and of classes.

    Raises:
        UserError: With the estimate and what the machine has.
    """
    memory = None if insisted else available_memory()
    images = datamodule.expected_images or 0
    refuse_oversize(images * PIXELS, memory, f"{images:,} images")
    if shape is None:
        datamodule.prepare_data()
        shape = datamodule.inputs, len(datamodule.class_names)
    network = outline(model, *shape, seeds[0])
    if network is None:
        # a network of the user's that needs real tensors
        return shape
    shapes = shapes_of(network, shape, len(seeds), datamodule, model.optimizer if training else None)
    what = f"{len(seeds):,} x {network.describe()}, batch_size {datamodule.batch_size}"
    refuse_oversize(memory_needed(shapes), memory, what)
    return shape


def shapes_of(
    network: ReplicaNetwork,
    shape: tuple[int, int],
    replicas: int,
    datamodule: ImageDataModule,
    optimizer: OptimizerCallable | None,
) -> Shapes:
    """What the memory of a run depends on.

    Args:
        network: One replica of the network; its tensors may be without memory.
        shape: Number of inputs and of classes.
        replicas: Number of replicas S.
        datamodule: The data.
        optimizer: Makes the optimizer; None where nothing is trained.
    """
    images = datamodule.expected_images or 0
    batch_size = min(datamodule.batch_size, images) if images else datamodule.batch_size
    return Shapes(
        # the layers of other networks are unknown: their parameters count, and the images that they are given
        sizes=tuple(network.sizes) if isinstance(network, MLP) else shape,
        parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
        replicas=replicas,
        batch_size=0 if optimizer is None else batch_size,
        chunk_size=chunk_size(replicas),
        images=images,
        batch_norm=network.smallest_batch > 1,
        dropout=bool(network.draws),
        optimizer_state=0 if optimizer is None else state_of_a_parameter(optimizer),
    )


def useful_threads(multiplications: int) -> int:
    """How many threads a training step can keep busy, at most those that torch has now.

    In a step smaller than this a second thread waits more than it works, and where another process uses the cores the
    waiting slows every step tenfold and more.

    Args:
        multiplications: In the forward pass of a step: parameters of all replicas times images in a batch.
    """
    return max(1, min(torch.get_num_threads(), multiplications // MULTIPLICATIONS_PER_THREAD))
