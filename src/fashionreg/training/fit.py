"""What `fashionreg fit|validate|test|predict` do, from configurations to results, as commands and as a library."""

import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from fashionreg.callbacks.progress import EpochSummary, heading
from fashionreg.config import Layer, Source, overriding, read_layers, split_arguments
from fashionreg.errors import UserError, printable
from fashionreg.files import check_output, whole_file
from fashionreg.randomness import whole_seeds
from fashionreg.runs.folder import claim_folder
from fashionreg.runs.run import Run
from fashionreg.text import by_seed, counted, in_percent
from fashionreg.training.cli import TrainingCLI
from fashionreg.training.parsing import in_one_line

#: Warnings of Lightning and torch that are expected here, and why.
EXPECTED_WARNINGS = (
    "does not have many workers",  # batches come by index from resident tensors: a worker could only copy them
    "is smaller than the logging interval",  # nothing is logged within an epoch
    "The dirpath has changed",  # a resumed run has another folder
    "Be aware that when using `ckpt_path`, callbacks used",  # only a fit needs what its callbacks had saved
    "Checkpoint directory .* exists and is not empty",  # the folder belongs to this run
    "\\s*Unable to serialize instance cpu",  # the default device of StochasticWeightAveraging, which is refused
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # Lightning's own use of torch
)


# -- library -----------------------------------------------------------------------------------------------------


def fit(config: Source, seeds: int | Sequence[int] | None = None, overrides: Mapping[str, Any] | None = None) -> Run:
    """Train a network, one replica for each seed, and test it after every epoch.

    What it prints and writes is what `fashionreg fit` prints and writes.

    Args:
        config: A configuration file, a mapping, or several of these, merged in order.
        seeds: A count (10 is 0 to 9) or a list, in place of the configuration's.
        overrides: Options by dotted names, `{"trainer.max_epochs": 20}`; they win over the configuration.

    Returns:
        The run: its folder, history, configuration and networks.

    Raises:
        UserError: For what the caller can put right: a bad file, a bad value, missing data.
    """
    layers = [*read_layers(config), overriding(overrides)]
    if seeds is not None:
        layers.append({"seeds": whole_seeds(seeds)})
    import_beside(config)
    with errors_in_one_line(), expected_warnings_ignored():
        cli = TrainingCLI("fit", layers, observers=[EpochSummary()])
        if cli.config.trainer.fast_dev_run:
            cli.remove_folder()
            raise UserError("trainer.fast_dev_run: leaves no run; use `fashionreg fit`, or trainer.max_epochs: 1")
        _fit(cli)
    return Run(cli.folder, trusted=True)


# -- commands ----------------------------------------------------------------------------------------------------


def run_command(arguments: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict`.

    Args:
        arguments: The command and its arguments.

    Returns:
        The exit code: 0, or 2 for arguments that cannot be understood.

    Raises:
        UserError: For whatever the user can put right.
    """
    command, *rest = arguments
    files, options = split_arguments(rest)
    import_beside(files)
    try:
        with expected_warnings_ignored(), errors_in_one_line(parser=False):
            observers = [EpochSummary()] if command == "fit" else []
            cli = TrainingCLI(command, read_layers(files), options, observers=observers)
            COMMANDS[command](cli)
    except ArgumentError as error:
        print(f"fashionreg: error: {printable(in_one_line(error))}", file=sys.stderr)
        return 2
    return 0


def train(layers: Sequence[Layer], **options: Any) -> TrainingCLI:
    """Train in silence, for a study.

    Args:
        layers: Configurations, merged in order.
        **options: Further arguments of `TrainingCLI`.

    Raises:
        UserError: For whatever the user can put right.
        KeyboardInterrupt: If the fit is interrupted.
    """
    with errors_in_one_line(), expected_warnings_ignored():
        cli = TrainingCLI("fit", layers, **options)
        try:
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stop
        except Exception:
            _remove_if_nothing_is_finished(cli)
            raise
    return cli


def resolve(layers: Sequence[Layer], arguments: Sequence[str] = ()) -> TrainingCLI:
    """Parse configurations and make model, data and trainer, without training and without a folder for a run.

    Raises:
        UserError: If they do not parse, or what they say cannot be made.
    """
    with errors_in_one_line(), expected_warnings_ignored():
        return TrainingCLI("fit", layers, arguments, dry_run=True)


def _fit(cli: TrainingCLI) -> None:
    """Train, and say before what and after how it went."""
    trainer, model, last = cli.trainer, cli.model, cli.folder / "checkpoints" / "last.ckpt"
    source = cli.config.ckpt_path
    try:
        print(heading(trainer, model, cli.data_description, cli.config.name, compiled=cli.config.compile))
        print(f"logs    {cli.folder}")
        trainer.fit(model, datamodule=cli.datamodule, ckpt_path=source, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        done = f"after {counted(trainer.current_epoch, 'epoch')}"
        if trainer.max_epochs not in (None, -1):
            done = f"after {trainer.current_epoch} of {trainer.max_epochs} epochs"
        raise UserError(f"interrupted {done}; {_way_on(last, source) or 'nothing to go on from'}") from stop
    except Exception as error:
        removed = _remove_if_nothing_is_finished(cli)
        if not removed and isinstance(error, UserError) and (way_on := _way_on(last, source)):
            raise UserError(f"{error}; {way_on}") from error
        raise
    if not trainer.global_step:
        cli.remove_folder()
        raise UserError(
            "nothing was trained: trainer.max_epochs, max_steps, max_time and limit_train_batches must leave "
            "at least one step"
        )
    if cli.config.trainer.fast_dev_run:
        cli.remove_folder()
        print("fast_dev_run: a batch of each split went through; nothing is kept")
        return
    epochs, steps = counted(trainer.current_epoch, "epoch"), counted(trainer.global_step, "step")
    length = epochs if trainer.is_last_batch else steps
    results = model.results()
    for split, metrics in results.items():
        if split != "train":
            print(f"{split} accuracy after {length} on {cli.data_description['source']}: {in_percent(metrics['acc'])}")
            if len(model.seeds) > 1:
                print(by_seed(model.seeds, metrics["acc"]))
    if "test" not in results:
        print(f"test accuracy after {length}: not evaluated (trainer.limit_val_batches, check_val_every_n_epoch)")
    print(f"curves: tensorboard --logdir {cli.config.trainer.default_root_dir}")
    if last.exists():
        print(f"report: fashionreg test --ckpt_path {last}")


def _remove_if_nothing_is_finished(cli: TrainingCLI) -> bool:
    """Remove the folder of a fit that has failed before its first epoch was finished; say whether that was so."""
    kept = any((cli.folder / name).exists() for name in ("record.csv", "checkpoints/last.ckpt"))
    if nothing := not cli.trainer.current_epoch and not kept:
        cli.remove_folder()
    return nothing


def _way_on(last: Path, source: str | None) -> str | None:
    """Say how to go on: from the last checkpoint of this run, or from the one that it was resumed from."""
    found = last if last.exists() else source
    return f"go on with: fashionreg fit --ckpt_path {found}" if found else None


def _validate(cli: TrainingCLI) -> None:
    """Evaluate on `val`, where there is one, and `test`."""
    cli.trainer.validate(
        cli.model, datamodule=cli.datamodule, ckpt_path=cli.config.ckpt_path, verbose=False, weights_only=True
    )
    for split, metrics in cli.model.results().items():
        print(f"{split:<8}loss {metrics['loss'].mean():.4f}   accuracy {in_percent(metrics['acc'])}")
        if len(cli.model.seeds) > 1:
            print(by_seed(cli.model.seeds, metrics["acc"]))


def _test(cli: TrainingCLI) -> None:
    """Report on `test` and `train`; the files go to a new folder, never into the fit's."""
    from fashionreg.runs.evaluation import Evaluation

    evaluation = Evaluation()
    cli.trainer.callbacks.append(evaluation)  # type: ignore[attr-defined]
    cli.trainer.test(
        cli.model, datamodule=cli.datamodule, ckpt_path=cli.config.ckpt_path, verbose=False, weights_only=True
    )
    print(evaluation.describe())
    folder = claim_folder(cli.results_folder, "test_")
    evaluation.write(folder)
    print(f"\nwritten to {folder}: metrics.csv, by_class.csv, confusion_matrix.png")


def _predict(cli: TrainingCLI) -> None:
    """Classify image files and rows of CSV files."""
    from fashionreg.runs.prediction import prediction_table

    out = Path(cli.config.out)
    check_output(out, force=cli.config.force)
    cli.datamodule.trainer = cli.trainer
    inputs, part = cli.inputs_to_predict()
    loader = cli.datamodule.evaluation_loader(part)
    chunks = cli.trainer.predict(cli.model, loader, ckpt_path=cli.config.ckpt_path, weights_only=True)
    classes = cli.class_names
    table = prediction_table(inputs, torch.cat(chunks, dim=1), classes)  # type: ignore[arg-type]
    with whole_file(out) as file:
        file.write(table.to_csv(index=False, float_format="%.6f").encode())
    shown = table.iloc[:20, : -len(classes)].copy()
    for column in ("image", "class"):
        shown[column] = shown[column].map(printable)
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"{len(table):,} images: written to {out}")


#: What each command does with the objects that its options ask for.
COMMANDS: dict[str, Callable[[TrainingCLI], None]] = {
    "fit": _fit,
    "validate": _validate,
    "test": _test,
    "predict": _predict,
}


# -- surroundings ------------------------------------------------------------------------------------------------


def import_beside(config: Source) -> None:
    """Let configurations name classes of modules that lie beside them: their folders are searched after all others."""
    for part in [config] if isinstance(config, str | Path | Mapping) else config:
        if not isinstance(part, Mapping) and (folder := str(Path(part).parent.resolve())) not in sys.path:
            sys.path.append(folder)


@contextmanager
def expected_warnings_ignored() -> Iterator[None]:
    """Ignore the expected warnings and Lightning's own lines within; afterwards torch has the threads from before."""
    # what is trained, where and for how long is said by this project's own lines
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # that there is no GPU, where a step is compiled for the CPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            for message in EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=f".*{message}")
            yield
    finally:
        torch.set_num_threads(threads)


def is_raised_by(error: Exception, package: str) -> bool:
    """Say whether an error was raised by code of a package itself, and not by what that code calls."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == package


@contextmanager
def errors_in_one_line(*, parser: bool = True) -> Iterator[None]:
    """Turn errors of libraries that the user can put right into a `UserError`.

    Args:
        parser: Whether errors of the parser are among them; a command has another exit code for these.
    """
    try:
        yield
    except ArgumentError as error:
        if not parser:
            raise
        raise UserError(in_one_line(error)) from error
    except MisconfigurationException as error:
        raise UserError(in_one_line(error)) from error
    except (ValueError, ArithmeticError) as error:
        if isinstance(error, UserError) or not is_raised_by(error, "lightning"):
            raise
        # Lightning finds out when a run starts that an option will not do
        raise UserError(in_one_line(error)) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise UserError("memory: there is not enough; use fewer seeds, a smaller network or batch_size") from error
        raise
