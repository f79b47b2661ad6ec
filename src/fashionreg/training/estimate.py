"""Estimate memory and time of a run before anything is allocated, and refuse what the machine cannot hold or finish.

The estimate of memory is arithmetic on the shapes of a run. It is within a factor of two of what is measured
(`tests/training/test_estimate.py`), which is enough to tell a run that fits from one that would bring the machine down.
The estimate of time is a lower bound: it tells a typing error from a long run.
"""

import copy
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fashionreg.data.batches import chunk_size
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.errors import UserError
from fashionreg.models.classifier import Classifier
from fashionreg.models.networks import ReplicaNetwork
from fashionreg.models.objective import cross_entropy
from fashionreg.models.optimizers import state_of_a_parameter
from fashionreg.randomness import Key
from fashionreg.regularizers.base import Regularizer
from fashionreg.runs.contents import outline
from fashionreg.text import counted

#: What a thread must have to do in a training step to be worth its while.
MULTIPLICATIONS_PER_THREAD = 5_000_000

#: The share of available memory beyond which a run is refused.
SHARE = 0.8

#: Threads for each core beyond which a run is refused: they would only wait for one another.
THREADS_PER_CORE = 8

#: More multiplications in a second than one core and one accelerator of today compute in float32.
CORE_RATE, ACCELERATOR_RATE = 10**11, 10**15

#: Steps in a second: more than the loop makes with the smallest network.
STEP_RATE = 5000

#: Days beyond which a run is refused.
LONGEST = 365

#: Bytes of a float32 or int32, and of a label or an index of one image.
_FLOAT, _INDEX = 4, 8


@dataclass(frozen=True)
class Shapes:
    """The sizes on which memory and time depend.

    Attributes:
        inputs: Pixels of an image.
        parameters: Parameters and buffers of one replica.
        replicas: Replicas S.
        batch_size: Images in a training step of each replica; 0 where nothing is trained.
        chunk_size: Images in an evaluation step of each replica.
        images: Images of all splits; 0 if that is unknown before they are loaded.
        kept: Bytes that a training step keeps for the backward pass of one image in one replica, besides the image.
        widest: Bytes of the largest tensor among these.
        optimizer_state: Numbers that the optimizer keeps for each parameter (SGD 0, momentum 1, Adam 2).
        regularizer_state: Numbers that the regularizers keep for one replica (an average of the weights).
        gradients: Gradients of each parameter that a step holds at once.
        mapped: Bytes that a training step keeps in one replica to compute the weights that it uses from those that are
            trained.
        by_seed: Whether each replica may have its own images to train on and to be evaluated on.
    """

    inputs: int
    parameters: int
    replicas: int
    batch_size: int
    chunk_size: int
    images: int
    kept: int = 0
    widest: int = 0
    optimizer_state: int = 0
    regularizer_state: int = 0
    gradients: int = 1
    mapped: int = 0
    by_seed: bool = False


def memory_needed(shapes: Shapes) -> int:
    """Estimate the bytes of main memory that a run needs at its peak, besides the libraries.

    Counted are parameters, gradients, and the state of optimizer and regularizers; the images and the order in which
    each replica sees them; and the largest of three that are never there at once: the activations of a training step,
    those of an evaluation step, and the copy of the state that becomes a checkpoint.
    """
    s = shapes.replicas
    parameters = s * shapes.parameters * _FLOAT
    averages = s * shapes.regularizer_state * _FLOAT
    training = shapes.batch_size > 0
    state = averages + parameters * (1 + shapes.gradients + shapes.optimizer_state if training else 1)
    data = shapes.images * (shapes.inputs + _INDEX)
    # a fetched pixel exists as a byte and as a float
    image = shapes.inputs * (_FLOAT + 1)
    # a layer holds its input, its output, and what lies between
    evaluation = shapes.chunk_size * ((s if shapes.by_seed else 1) * image + s * 3 * shapes.widest)
    # the trained weights wait beside those that are used
    evaluation += parameters if shapes.mapped else 0
    if not training:
        return state + data + max(evaluation, parameters)
    # an order of each epoch and, where images are drawn by seed, which these are
    orders = s * shapes.images * _FLOAT * (2 if shapes.by_seed else 1)
    # besides what is kept: random bits and masks in the forward pass, the gradients of two outputs in the backward pass
    step = s * (shapes.batch_size * (image + shapes.kept + 2 * shapes.widest) + shapes.mapped)
    checkpoint = averages + parameters * (1 + shapes.optimizer_state)
    return state + data + orders + max(step, evaluation, checkpoint)


def seconds_needed(shapes: Shapes, steps: int, rate: int) -> int:
    """Estimate how many seconds a training takes at least.

    Args:
        shapes: The sizes of the run.
        steps: Training steps.
        rate: Multiplications in a second.
    """
    # forward, and twice as many backward: for the gradients of parameters and of activations
    multiplications = 3 * steps * shapes.batch_size * shapes.replicas * shapes.parameters
    return max(multiplications // rate, steps // STEP_RATE)


def planned_steps(options: Mapping[str, Any], batches: int) -> int:
    """Return the number of training steps that the options of a trainer ask for; 0 if they name none.

    Args:
        options: `max_epochs`, `max_steps`, `max_time`, `limit_train_batches` and `fast_dev_run`.
        batches: Batches of an epoch.
    """
    if options["max_time"] or options["fast_dev_run"]:
        return 0
    limit = options["limit_train_batches"]
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    # -1 is no limit; without any, Lightning trains 1,000 epochs
    epochs = 1000 if options["max_epochs"] is None and options["max_steps"] == -1 else options["max_epochs"]
    limits = [epochs * batches] if epochs is not None and epochs >= 0 else []
    limits += [options["max_steps"]] if options["max_steps"] >= 0 else []
    return min(limits, default=0)


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


def refuse_endless(seconds: int, what: str) -> None:
    """Refuse a run that takes more than `LONGEST` days.

    Args:
        seconds: See `seconds_needed`.
        what: What decides about the time, for the error.

    Raises:
        UserError: With the estimate.
    """
    days = seconds // (24 * 3600)
    if days > LONGEST:
        years = min(days // 365, 10**9)
        raise UserError(
            f"time: {what} takes about {counted(years, 'year')} or more; at most {LONGEST} days are begun; train less, "
            "or insist with --allow_oversize true"
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


def refuse_oversize_data(datamodule: ImageDataModule) -> None:
    """Refuse images that memory cannot hold, before they are loaded.

    Raises:
        UserError: With the estimate and what the machine has.
    """
    what = f"{datamodule.expected_images or 0:,} images"
    refuse_oversize(datamodule.expected_bytes, available_memory(), what)


def refuse_oversize_run(
    model: Classifier,
    datamodule: ImageDataModule,
    shape: tuple[int, int],
    seeds: Sequence[int],
    trainer: Mapping[str, Any] | None,
    *,
    accelerator: bool,
) -> None:
    """Refuse a run that needs more memory than the machine has or more time than anybody has, before it is made.

    Args:
        model: The model, not built yet.
        datamodule: The data.
        shape: Number of inputs and of classes.
        seeds: The seeds, a range perhaps.
        trainer: The options of the trainer (see `planned_steps`); None where networks are only evaluated.
        accelerator: Whether an accelerator may be used.

    Raises:
        UserError: With the estimate and what the machine has.
    """
    network = outline(model, *shape, seeds[0])
    if network is None:
        # a network of the user's that needs real tensors
        return
    named: dict[str, Regularizer] = dict(model.regularizers.items())  # type: ignore[arg-type]
    optimizer = None if trainer is None else model.optimizer
    shapes = shapes_of(network, shape, len(seeds), datamodule, optimizer, named.values())
    what = f"{len(seeds):,} x {network.describe()}, batch_size {datamodule.batch_size}"
    refuse_oversize(memory_needed(shapes), available_memory(), what)
    if trainer is not None:
        steps = planned_steps(trainer, max(1, shapes.images // shapes.batch_size))
        rate = ACCELERATOR_RATE if accelerator else CORE_RATE * (os.cpu_count() or 1)
        number = counted(steps, "step") if steps < 10**15 else "more than 10^15 steps"
        refuse_endless(seconds_needed(shapes, steps, rate), f"{what}, {number}")


def shapes_of(
    network: ReplicaNetwork,
    shape: tuple[int, int],
    replicas: int,
    datamodule: ImageDataModule,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
    regularizers: Collection[Regularizer] = (),
) -> Shapes:
    """What memory and time of a run depend on.

    Args:
        network: One replica of the network, without memory for its tensors.
        shape: Number of inputs and of classes.
        replicas: Number of replicas S.
        datamodule: The data.
        optimizer: Makes the optimizer; None where nothing is trained.
        regularizers: Those of the model.
    """
    images = datamodule.expected_images or 0
    batch_size = min(datamodule.batch_size, images) if images else datamodule.batch_size
    kept, widest = _kept_for_an_image(network, *shape)
    by_seed = datamodule.split == "by_seed"
    return Shapes(
        inputs=shape[0],
        parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
        replicas=replicas,
        batch_size=0 if optimizer is None else batch_size,
        chunk_size=chunk_size(replicas, by_seed=by_seed),
        images=images,
        kept=kept,
        widest=widest,
        optimizer_state=0 if optimizer is None else state_of_a_parameter(optimizer),
        regularizer_state=sum(_state_of(one, network) for one in regularizers),
        # that of the loss, and those at other parameters, with a copy of these
        gradients=3 if any(one.overrides("gradients") for one in regularizers) else 1,
        mapped=_kept_for_weights([one for one in regularizers if one.overrides("weights")], network),
        by_seed=by_seed,
    )


def _kept_for_an_image(network: ReplicaNetwork, inputs: int, classes: int) -> tuple[int, int]:
    """Return the bytes that autograd keeps in a training step for one more image: in all, and the largest tensor."""

    def saved(count: int) -> list[int]:
        images = torch.empty(1, count, inputs)
        known = [images.untyped_storage()]

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if not any(storage is each for each in known):
                known.append(storage)
            return tensor

        keys = {name: Key(torch.zeros(1, 2, dtype=torch.int32)) for name in network.draws}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            cross_entropy(network(images, keys), torch.zeros(1, count, dtype=torch.int64)).sum()
        return [storage.nbytes() for storage in known[1:]]

    smallest = network.smallest_batch
    try:
        with torch.device("meta"):
            more = [b - a for a, b in zip(saved(smallest + 1), saved(smallest + 2), strict=True)]
    except Exception:  # whatever the network of a user says to tensors without numbers: nothing is known of its layers
        return 0, 0
    return sum(more), max(more)


def _kept_for_weights(regularizers: Sequence[Regularizer], network: ReplicaNetwork) -> int:
    """Return the bytes that hooks `weights` leave in a training step of one replica: used weights, and for autograd."""
    if not regularizers:
        return 0
    tried, hooks = copy.deepcopy(network), copy.deepcopy(regularizers)
    try:
        with torch.device("meta"):
            for one in hooks:
                one.attach(tried, [0])
            parameters: dict[str, Tensor] = dict(tried.named_parameters())
            known = [x.untyped_storage() for x in parameters.values()]
            own = len(known)

            def keep(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                if not any(storage is each for each in known):
                    known.append(storage)
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                for one in hooks:
                    parameters = one.weights(parameters, Key(torch.zeros(1, 2, dtype=torch.int32)))
            for x in parameters.values():
                keep(x)
    except Exception:  # as above
        return 0
    return sum(storage.nbytes() for storage in known[own:])


def _state_of(regularizer: Regularizer, network: ReplicaNetwork) -> int:
    """Return how many numbers a regularizer keeps for a network."""
    tried = copy.deepcopy(regularizer)
    try:
        with torch.device("meta"):
            tried.attach(network, [0])
    except Exception:  # as above; it is named when the network is built
        return 0
    return sum(tensor.numel() for tensor in tried.state_dict().values())


def useful_threads(multiplications: int) -> int:
    """How many threads a training step can keep busy, at most those that torch has now.

    In a step smaller than this a second thread waits more than it works, and where another process uses the cores the
    waiting slows every step tenfold and more.

    Args:
        multiplications: In the forward pass of a step: parameters of all replicas times images in a batch.
    """
    return max(1, min(torch.get_num_threads(), multiplications // MULTIPLICATIONS_PER_THREAD))
