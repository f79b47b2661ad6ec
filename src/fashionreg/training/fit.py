"""From the words of `fashionreg fit|validate|test|predict` to a running `TrainingCLI`, and from errors to one line."""

import logging
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

from fashionreg.config import expand_configs, option_value, option_values
from fashionreg.errors import UserError, printable
from fashionreg.runs import trust
from fashionreg.runs.allowed import classes_of
from fashionreg.runs.checkpoint import CONFIG_KEY, read_checkpoint
from fashionreg.runs.folder import newest_checkpoint, results_root
from fashionreg.training.cli import LOGS, RUN_NAME, TrainingCLI

#: Callbacks that a checkpoint may name: our observers, and two of Lightning's that write nothing and call nothing.
CALLBACKS = classes_of("fashionreg.callbacks", Callback) | {
    f"lightning.pytorch.callbacks.{each.__name__}": each for each in (EarlyStopping, LearningRateMonitor)
}

#: Options that say how a run is made on its machine, and are no part of it.
LOCAL = ("threads", "compile", "allow_oversize")

#: What Lightning warns about although it is so by design, and why.
BY_DESIGN = (
    "does not have many workers",  # batches come by index from resident tensors: a worker could only copy them
    "is smaller than the logging interval",  # nothing is logged within an epoch
    "The dirpath has changed",  # a resumed run has a folder of its own
    "Be aware that when using `ckpt_path`, callbacks used",  # only a fit needs what its callbacks had saved
    "Checkpoint directory .* exists and is not empty",  # the folder is this run's own
    "WeightAveraging callback with a model that overrides",  # that callback is refused in a line of our own
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own use of torch
)


def run(words: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`.

    Args:
        words: The words after `fashionreg`.

    Returns:
        The exit code.

    Raises:
        UserError: For whatever the user can put right.
    """
    try:
        with lightning_kept_quiet():
            TrainingCLI(with_checkpoint_config(expand_configs(words)))
    except ArgumentError as error:
        print(f"fashionreg: error: {printable(in_one_line(error))}", file=sys.stderr)
        return 2
    except MisconfigurationException as error:
        raise UserError(in_one_line(error)) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise UserError("memory: there is not enough; use fewer seeds, a smaller network or batch_size") from error
        if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise
        raise UserError(f"compile: {str(error).splitlines()[0]}; leave out --compile") from error
    return 0


@contextmanager
def lightning_kept_quiet() -> Iterator[None]:
    """Within it nothing is said about what is so by design; after it torch has the threads that it had before."""
    # what is trained, where and for how long is said by this project's own lines
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            for message in BY_DESIGN:
                warnings.filterwarnings("ignore", message=f".*{message}")
            yield
    finally:
        torch.set_num_threads(threads)


def with_checkpoint_config(words: Sequence[str]) -> list[str]:
    """The command line with `--ckpt_path last` resolved and the checkpoint's own configuration before all others.

    So a checkpoint needs no configuration file, and what the command line says wins over what the checkpoint says.
    Unless `--trust_checkpoint` is given, the checkpoint says only what `fashionreg.runs.trust` lets it say.

    Args:
        words: A command and its options; each `--config` is followed by YAML.

    Raises:
        UserError: If there is no such checkpoint, or one that says more than it may.
    """
    command, *rest = words
    path = option_value(rest, "--ckpt_path")
    if path == "last":
        merged: dict[str, Any] = {"name": RUN_NAME, "trainer": {"default_root_dir": LOGS}}
        for config in map(yaml.safe_load, option_values(rest, "--config")):
            merged |= {"trainer": merged["trainer"] | (config.pop("trainer", None) or {})} | config
        name = option_value(rest, "--name") or merged["name"]
        logs = option_value(rest, "--trainer.default_root_dir") or merged["trainer"]["default_root_dir"]
        newest, why = newest_checkpoint(Path(logs) / name)
        print(f"{'resume' if command == 'fit' else 'checkpoint'}: {newest} ({why})", flush=True)
        path = str(newest)
        rest += ["--ckpt_path", path]
    if path is not None and (text := read_checkpoint(Path(path)).get(CONFIG_KEY)):
        source = f"ckpt_path: {path}"
        config = trust.configuration(text, source)
        if "--trust_checkpoint" not in rest:
            way_on = "name it yourself (in a --config, or as an option such as --model CLASS), or "
            allowed = CALLBACKS if command == "fit" else None
            config = trust.as_data(config, source, trust.named_by_user(rest), way_on, allowed)
            root = results_root(Path(path), config.get("name", RUN_NAME), LOGS)
            config["trainer"]["default_root_dir"] = root
        config = {name: value for name, value in config.items() if name not in LOCAL}
        rest = ["--config", yaml.safe_dump(config, sort_keys=False), *rest]
    return [command, *rest]


def in_one_line(error: Exception) -> str:
    """What an error of the parser or of Lightning says, in one line and without Python's names for things."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    message = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(error))
    message = re.sub(r'Parser key "([^"]+)":', r"\1:", message)
    lines = [line.strip(" -") for line in message.splitlines()]
    # jsonargparse tells of each type that an option could have had, None among them
    noise = ("Does not validate against", "Subtypes:", "Errors:", "Given value type:", "Given value: NestedArg")
    lines = [line for line in lines if line and not line.startswith(noise) and line != "Expected a NoneType"]
    text = "; ".join(lines).replace("Given value: ", "got ").replace("Expected a ", "expected ").replace(":;", ":")
    if "is not accepted" in text:
        text += "; see --model.help or --data.help CLASS for the options of a class"
    if "arguments are required" in text and ".model" in text:
        text += "; give --config FILE (configs/bn.yaml, for example) or --ckpt_path FILE"
    # the parser repeats a value for each type that it does not have
    return text if len(text) <= 1000 else f"{text[:800]} ... {text[-200:]}"
