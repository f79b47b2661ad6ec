"""What a checkpoint may name: an allow-list of classes, of options of the trainer, and of texts."""

import enum
import importlib
import re
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fashionreg.data.datamodules import ImageDataModule
from fashionreg.models.classifier import Classifier
from fashionreg.regularizers import Regularizer

#: Options of the trainer that say what a run computes and for how long, without a class and without a place. Those that
#: start processes (devices, num_nodes, strategy) are none of them: a run is computed by one process on any device.
TRAINER_OPTIONS = {
    *("accelerator", "precision", "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches"),
    *("val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "fast_dev_run"),
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "deterministic", "benchmark"),
    *("inference_mode", "detect_anomaly", "reload_dataloaders_every_n_epochs", "sync_batchnorm"),
    *("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"),
}

#: The texts that some of them may have. Elsewhere a text could be read as the name of a class or of a file.
TRAINER_TEXTS = {
    "accelerator": r"auto|cpu|gpu|cuda|mps|tpu",
    "precision": r"(bf)?\d+(-true|-mixed)?",
    "gradient_clip_algorithm": r"norm|value",
    "deterministic": r"warn",
    "max_time": r"\d+(:\d+){3}",
}

#: Types whose values are never read as the name of something to import.
PLAIN_TYPES = (str, bool, int, float, types.NoneType, Path)

#: Types that are plain if what they hold is.
CONTAINERS = (typing.Union, types.UnionType, list, tuple, set, dict, Sequence, Iterable, Collection, Mapping)


def classes_of(package: str, kind: type) -> dict[str, type]:
    """Return the public classes of a kind that a package offers and defines, by every path that names them.

    A path outside the result is refused as a whole: nobody follows its parts, so that none of them is imported.

    Args:
        package: Name of a package or module of this project or of torch.
        kind: The class that all of them derive from.
    """
    named = {name: value for name, value in vars(importlib.import_module(package)).items() if isinstance(value, type)}
    return {
        path: value
        for name, value in named.items()
        if issubclass(value, kind) and not name.startswith("_") and f"{value.__module__}.".startswith(f"{package}.")
        for path in (f"{package}.{name}", f"{value.__module__}.{value.__qualname__}")
    }


MODELS = classes_of("fashionreg.models", Classifier)
REGULARIZERS = classes_of("fashionreg.regularizers", Regularizer)
DATA = classes_of("fashionreg.data.datamodules", ImageDataModule)
OPTIMIZATION = (
    classes_of("torch.optim", Optimizer)
    | classes_of("torch.optim.lr_scheduler", LRScheduler)
    | classes_of("lightning.pytorch.cli", LRScheduler)
)


def is_plain(text: str, hint: Any) -> bool:
    """Say whether a text for an argument of type `hint` stays a text: nothing is imported or read for it.

    Where anything may stand, a word is plain; a path such as `os.system`, YAML or the name of a file is not.
    """
    if hint is Any:
        return re.fullmatch(r"\w*", text) is not None
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return True
    if origin is None:
        return isinstance(hint, type) and (hint in PLAIN_TYPES or issubclass(hint, enum.Enum))
    return origin in CONTAINERS and all(is_plain(text, part) for part in typing.get_args(hint) if part is not ...)


def hints_of(cls: type) -> dict[str, Any]:
    """Return the declared types of the arguments of a class, also of those that it hands to its bases."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        try:
            hints |= typing.get_type_hints(base.__init__)  # type: ignore[misc]
        except (NameError, TypeError, AttributeError):
            continue  # an argument without a known type takes words and numbers alone
    return hints


def is_trainer_value(name: str, value: Any) -> bool:
    """Say whether a value for an option of the trainer names neither a class nor a file."""
    if isinstance(value, str):
        # the parser reads a file of that name, should there be one in the working folder, instead of the word
        known = name in TRAINER_TEXTS and re.fullmatch(TRAINER_TEXTS[name], value) is not None
        return known and not Path(value).exists()
    return isinstance(value, bool | int | float | None)
