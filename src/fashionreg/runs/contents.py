"""What a checkpoint must hold, checked before anything is made or resumed from it."""

import math
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from packaging.version import InvalidVersion, Version
from torch import Tensor, nn

from fashionreg.errors import LARGEST_NUMBER, MAX_SEED, UserError, shortened
from fashionreg.models.classifier import FASHION_MNIST_SHAPE, SCALING_KEY, SHAPE_KEY, Classifier
from fashionreg.models.networks import ReplicaNetwork

#: What Lightning writes into the checkpoint of a fit, by key.
KEYS: dict[str, type] = {
    "state_dict": dict,
    "epoch": int,
    "global_step": int,
    "hyper_parameters": dict,
    "loops": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "pytorch-lightning_version": str,
}

#: Key under which a checkpoint carries the names of the classes, by label: who predicts may not have the data.
CLASSES_KEY = "fashionreg_classes"

#: The numbers that Lightning's loops keep, and the parts of a loop that hold two sets of them.
COUNTERS = {"ready", "started", "processed", "completed", "_batches_that_stepped"}
PROGRESSES = ("epoch_progress", "batch_progress", "scheduler_progress", "optim_step_progress", "step", "zero_grad")

#: Versions of Lightning from which a checkpoint may be: the first, and the first that is too new.
VERSIONS = Version("2.0"), Version("3.0dev0")


def check_contents(loaded: Any, source: str) -> None:
    """Refuse what Lightning could not have written in a fit, so that whatever reads it later finds what it expects.

    Args:
        loaded: What `torch.load` has made of the file, on the CPU.
        source: Where it comes from, for errors.

    Raises:
        UserError: If a part is missing or of another kind.
    """

    def refuse(fault: str) -> NoReturn:
        raise UserError(f"{source}: is not a Lightning checkpoint of a fit: {fault}")

    if not isinstance(loaded, dict):
        refuse("it is no mapping")
    for key, kind in KEYS.items():
        if key not in loaded:
            refuse(f"it has no {key}")
        if type(loaded[key]) is not kind and not (kind is dict and isinstance(loaded[key], dict)):
            refuse(f"its {key} must be {_KINDS[kind]}, found {shortened(loaded[key])}")
    for key in ("epoch", "global_step"):
        if not 0 <= loaded[key] < LARGEST_NUMBER:
            refuse(f"its {key} must be a number from 0, found {shortened(loaded[key])}")
    version = loaded["pytorch-lightning_version"]
    try:
        known = VERSIONS[0] <= Version(version) < VERSIONS[1]
    except InvalidVersion:
        known = False
    if not known:
        refuse(f"its pytorch-lightning_version must be 2.x, found {shortened(version)}")
    for key in ("state_dict", "hyper_parameters", "callbacks"):
        if odd := [name for name in loaded[key] if not isinstance(name, str)]:
            refuse(f"its {key} must have names as keys, found {shortened(odd[0])}")
    for name, value in loaded["state_dict"].items():
        if fault := _tensor_fault(value):
            refuse(f"state_dict: {shortened(name)} {fault}")
    for key in loaded.keys() - {"state_dict"}:
        if fault := next(filter(None, map(_tensor_fault, _tensors(loaded[key]))), None):
            refuse(f"a tensor in its {shortened(key)} {fault}")
    if SHAPE_KEY in loaded and not _is_shape(loaded[SHAPE_KEY]):
        refuse(f"its {SHAPE_KEY} must be two positive numbers, found {shortened(loaded[SHAPE_KEY])}")
    inputs, classes = loaded.get(SHAPE_KEY, FASHION_MNIST_SHAPE)
    if CLASSES_KEY in loaded and not _are_names(loaded[CLASSES_KEY], classes):
        refuse(f"its {CLASSES_KEY} must be {classes} different names, found {shortened(loaded[CLASSES_KEY])}")
    seeds = loaded["hyper_parameters"].get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in seeds):
        refuse(f"hyper_parameters: seeds must be a list of numbers from 0 to {MAX_SEED}, found {shortened(seeds)}")
    if SCALING_KEY in loaded and not _is_scaling(loaded[SCALING_KEY], inputs, len(seeds)):
        refuse(f"its {SCALING_KEY} must be shifts and scales, (2, 1 or {len(seeds)}, {inputs}) numbers, scales above 0")
    for key in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(state, dict) for state in loaded[key]):
            refuse(f"its {key} must be a list of mappings")
    if not isinstance(loaded["loops"].get("fit_loop"), dict):
        refuse("its loops have no fit_loop")
    if fault := _loops_fault(loaded["loops"], "loops"):
        refuse(fault)


_KINDS = {dict: "a mapping", list: "a list", int: "a whole number", str: "text"}


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(type(each) is int and 0 < each < LARGEST_NUMBER for each in value)
    )


def _is_scaling(value: Any, inputs: int, seeds: int) -> bool:
    """Return whether a value is a tensor of finite shifts and positive scales for each input."""
    if not isinstance(value, Tensor) or value.dtype != torch.float64:
        return False
    fits = value.shape in ((2, 1, inputs), (2, seeds, inputs))
    return fits and bool(value.isfinite().all()) and bool((value[1] > 0).all())


def _are_names(value: Any, count: int) -> bool:
    """Return whether a value is a list of different texts, one for each class."""
    texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return texts and len(set(value)) == len(value) == count


def _tensor_fault(value: Any) -> str | None:
    """Return what keeps a value from being a tensor of numbers in memory of its size; None if nothing does."""
    if not isinstance(value, Tensor):
        return f"must be a tensor, found {shortened(value)}"
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return "must be a dense tensor"
    if value.dtype.is_complex:
        return f"must be a tensor of real numbers, found {value.dtype}"
    # with a stride of 0, a file of a few bytes would hold a tensor of any size
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "must be a tensor with its numbers in the file"
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    """Return the tensors in a value of bounded size, as `checked_archive` leaves it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _loops_fault(value: dict[Any, Any], where: str, depth: int = 0) -> str | None:
    """Return what Lightning's loops could not take over; None if there is nothing."""
    for name, inner in value.items():
        place = f"{where}.{shortened(name)}"
        if name == "is_last_batch":
            if not isinstance(inner, bool):
                return f"{place} must be true or false, found {shortened(inner)}"
        elif name in COUNTERS:
            if type(inner) is not int or not 0 <= inner < LARGEST_NUMBER:
                return f"{place} must be a number from 0, found {shortened(inner)}"
        elif not isinstance(name, str) or not isinstance(inner, dict) or depth > 5:
            return f"{place} is unknown"
        elif name.rpartition(".")[2] in PROGRESSES and not {"total", "current"} <= inner.keys():
            return f"{place} must have total and current"
        elif fault := _loops_fault(inner, place, depth + 1):
            return fault
    return None


def without_paths(states: Any) -> Any:
    """Return the states of callbacks without those of `ModelCheckpoint` and of whatever else keeps paths as it does.

    Lightning's `ModelCheckpoint` removes the files and folders that its state says it has written. Without a state it
    starts anew, and removes only what it writes itself.

    Args:
        states: The states of all callbacks by key, as a checkpoint holds them.
    """
    if not isinstance(states, dict):
        return states
    paths = {"dirpath", "best_k_models"}
    return {
        key: state
        for key, state in states.items()
        if not isinstance(state, dict) or not any(name in paths or str(name).endswith("model_path") for name in state)
    }


# -- against the model ----------------------------------------------------------------------------------------------


def outline(model: Classifier, inputs: int, classes: int, seed: int) -> ReplicaNetwork | None:
    """Return the network of one seed without memory for its parameters; None for one that needs real tensors."""
    try:
        # what is drawn for it must not be missing in what is drawn later
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return model.make_network(inputs, classes, [seed])
    except (NotImplementedError, RuntimeError):
        return None
    except UserError as error:
        if isinstance(error.__cause__, NotImplementedError | RuntimeError):
            return None
        raise


def check_parameters(checkpoint: dict[str, Any], network: nn.Module, count: int, source: str, way_on: str = "") -> None:
    """Refuse a checkpoint whose parameters are not those of a network, before it is made for all seeds.

    Args:
        checkpoint: As `read_checkpoint` returns it.
        network: The network of one seed, as `outline` makes it.
        count: How many seeds the checkpoint says it holds.
        source: Where it comes from, for errors.
        way_on: What may put it right, as the end of a sentence.

    Raises:
        UserError: If a shape differs.
    """
    saved = checkpoint["state_dict"]
    for name, parameter in network.named_parameters():
        expected = (count, *parameter.shape[1:])
        found = tuple(saved[f"network.{name}"].shape) if f"network.{name}" in saved else "absent"
        if found != expected:
            raise UserError(
                f"{source}: the checkpoint is of another network or other seeds: its parameters are not those of the "
                f"network in the configuration: network.{name} is {found}, expected {expected}{way_on}"
            )


def check_optimization(checkpoint: dict[str, Any], model: Classifier, source: str) -> None:
    """Refuse states of optimizer and scheduler that the model's own could not have had.

    Args:
        checkpoint: As `read_checkpoint` returns it.
        model: The model, with its network.
        source: Where the checkpoint comes from, for errors.

    Raises:
        UserError: If there is another number of them, or one has other parts, or tensors of other shapes.
    """
    configured: Any = model.configure_optimizers()
    both = configured if isinstance(configured, dict) else {"optimizer": configured}
    scheduler = both.get("lr_scheduler")
    schedulers = [] if scheduler is None else [scheduler["scheduler"] if isinstance(scheduler, dict) else scheduler]
    for key, fresh in (("optimizer_states", [both["optimizer"]]), ("lr_schedulers", schedulers)):
        if len(checkpoint[key]) != len(fresh):
            raise UserError(f"{source}: {key}: must be a list of {len(fresh)}, found {len(checkpoint[key])}")
    for scheduler, state in zip(schedulers, checkpoint["lr_schedulers"], strict=True):
        if not _is_alike(state, scheduler.state_dict()):
            raise UserError(f"{source}: lr_schedulers: is not the state of the run's {type(scheduler).__name__}")
    optimizer, state = both["optimizer"], checkpoint["optimizer_states"][0]
    kind = type(optimizer).__name__
    fresh = optimizer.state_dict()
    if state.keys() != fresh.keys() or not _is_alike(state["param_groups"], fresh["param_groups"]):
        raise UserError(f"{source}: optimizer_states: is not the state of the run's {kind}")
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    kept = _kept_by(model)
    entries = state["state"]
    if not isinstance(entries, dict) or (kept and entries.keys() != parameters.keys()):
        raise UserError(
            f"{source}: optimizer_states: {kind} must have an entry for each of {len(parameters)} parameters"
        )
    for index, entry in entries.items():
        if not isinstance(entry, dict) or (kept is not None and entry.keys() != kept):
            raise UserError(f"{source}: optimizer_states: entry {shortened(index)} is not the state of {kind}")
        for name, value in entry.items():
            if not isinstance(value, Tensor):
                fault = None if isinstance(value, bool | int | float | None) else f"found {shortened(value)}"
            elif not (fault := _tensor_fault(value)) and value.dim() and value.shape != parameters[index].shape:
                fault = f"has the shape {tuple(value.shape)}, the parameter {tuple(parameters[index].shape)}"
            if fault:
                raise UserError(f"{source}: optimizer_states: {name} of parameter {index}: {fault}")


def _kept_by(model: Classifier) -> set[str] | None:
    """Return the names of what the optimizer keeps for a parameter; None if it cannot be tried on a small one."""
    parameter = nn.Parameter(torch.zeros(1, 1))
    parameter.grad = torch.ones(1, 1)
    try:
        optimizer = model.optimizer([parameter])
        if model.lr_scheduler is not None:
            # some set the momentum too
            model.lr_scheduler.without_run(optimizer)
        optimizer.step()
    except Exception:  # whatever an optimizer of the user raises
        return None
    return set(optimizer.state[parameter])


def _is_alike(saved: Any, fresh: Any) -> bool:
    """Return whether plain data has the structure of other plain data: names, lengths, and numbers for numbers."""
    if isinstance(fresh, Tensor):
        return isinstance(saved, Tensor) and saved.shape == fresh.shape and not _tensor_fault(saved)
    if isinstance(fresh, dict):
        if not isinstance(saved, dict) or any(isinstance(name, str) and name not in fresh for name in saved):
            return False
        # an older torch knew fewer switches, and a newer one fills them in
        missing = [value for name, value in fresh.items() if isinstance(name, str) and name not in saved]
        if not all(isinstance(value, bool | None) for value in missing):
            return False
        return all(_is_alike(saved[name], value) for name, value in fresh.items() if name in saved)
    if isinstance(fresh, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(fresh):
            return False
        return all(_is_alike(one, other) for one, other in zip(saved, fresh, strict=True))
    if isinstance(fresh, str):
        return isinstance(saved, str) and saved == fresh
    if isinstance(fresh, bool):
        return isinstance(saved, bool)
    return isinstance(saved, int | float | None) and not (isinstance(saved, float) and math.isnan(saved))
