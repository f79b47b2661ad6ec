"""Estimate the memory of a run before anything is allocated, and refuse a run that the machine cannot hold.

The estimate is arithmetic on the shapes of a run. It is within a factor of two of what is measured
(`tests/training/test_estimate.py`), which is enough to tell a run that fits from one that would bring the machine down.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from fashionreg.errors import UserError

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
