"""The options of `fashionreg fit|validate|test|predict`, and the objects that they ask for."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import yaml
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO

from fashionreg.callbacks.run_record import RunRecord
from fashionreg.callbacks.tensorboard import EventLogger
from fashionreg.config import TRAINING_COMMANDS, Layer, Regularizers, each_option, option_value
from fashionreg.data import datamodules
from fashionreg.data.datamodules import FashionMNISTDataModule, ImageDataModule, SyntheticDataModule
from fashionreg.data.images import ImagesBySeed, Part
from fashionreg.data.scaling import scaled
from fashionreg.data.sources import MissingDataError
from fashionreg.errors import UserError
from fashionreg.files import remove_orphans
from fashionreg.models.classifier import FASHION_MNIST_SHAPE, SCALING_KEY, SHAPE_KEY, Classifier
from fashionreg.models.trainers import check_averaging
from fashionreg.randomness import expand_seeds
from fashionreg.runs import trust
from fashionreg.runs.allowed import classes_of
from fashionreg.runs.checkpoint import CONFIG_KEY, WholeCheckpointIO, check_resume, check_same_data, read_checkpoint
from fashionreg.runs.contents import CLASSES_KEY, check_optimization, check_parameters, outline
from fashionreg.runs.folder import claim_folder, is_folder_below, newest_checkpoint, remove_run, results_root
from fashionreg.text import counted
from fashionreg.training.decision import decide, steps_to_come
from fashionreg.training.estimate import refuse_oversize_data, refuse_oversize_run, refuse_threads, useful_threads
from fashionreg.training.loop import DirectEpochLoop, EpochCheckpoint
from fashionreg.training.parsing import OptionParser, check_named, in_one_line, joined
from fashionreg.yaml_files import check_limits, parse_yaml

if TYPE_CHECKING:
    from fashionreg.runs.prediction import Inputs

#: Results go to LOGS/RUN_NAME/version_N unless other names are given.
LOGS, RUN_NAME = "logs", "run"

#: Defaults of the trainer in place of Lightning's.
TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 5,
    "default_root_dir": LOGS,
    "num_sanity_val_steps": 0,
    # all replicas train on one device, side by side; several would each see a part of every batch
    "devices": 1,
    # EpochSummary prints a line for every epoch and shows a bar within long ones
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

#: Callbacks that a checkpoint may name: our observers, and two of Lightning's that write nothing and call nothing.
CALLBACKS = classes_of("fashionreg.callbacks", Callback) | {
    f"lightning.pytorch.callbacks.{each.__name__}": each for each in (EarlyStopping, LearningRateMonitor)
}


class TrainingCLI(LightningCLI):
    """LightningCLI in subclass mode with `--seeds` as the only source of randomness and a folder for every run.

    Layers of configuration and arguments of a command line are parsed, the layers first; a checkpoint's own
    configuration comes before all of them, reduced to what `fashionreg.runs.trust` lets it say.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        layers: Configurations, merged in order.
        arguments: Arguments of the command line, which win over all layers.
        observers: Callbacks of the program that show how a fit goes.
        about: What the record says of the run besides its data and configuration, as plain data.
        marker: Name and text of a file that is made in the folder of a fit, to find it again.
        resume: A checkpoint of the run that the layers describe; nothing but its state is used.
        alike: How many fits with the same training step the program makes, this one among them.
        dry_run: Make model, data and trainer, and leave nothing behind: no folder is made for the run.

    Attributes:
        folder: The folder of a fit.
        data_description: What `ImageDataModule.describe` says of the data of a fit.
    """

    model: Classifier
    datamodule: ImageDataModule
    trainer: Trainer
    folder: Path
    data_description: dict[str, Any]

    def __init__(
        self,
        command: str,
        layers: Sequence[Layer],
        arguments: Sequence[str] = (),
        *,
        observers: Sequence[Callback] = (),
        about: Mapping[str, Any] | None = None,
        marker: tuple[str, str] | None = None,
        resume: Path | None = None,
        alike: int = 1,
        dry_run: bool = False,
    ) -> None:
        self.command = command
        self._layers = list(layers)
        self._observers = list(observers)
        self._about = dict(about or {})
        self._marker = marker
        self._resume = resume
        self._alike = alike
        self._dry_run = dry_run
        #: Number of inputs and of classes, where a checkpoint says them.
        self._shape: tuple[int, int] | None = None
        #: Names of the classes, where a checkpoint says them.
        self._classes: list[str] | None = None
        #: How numbers became inputs, where a checkpoint says it.
        self._scaling: torch.Tensor | None = None
        self._checkpoint: dict[str, Any] | None = None
        super().__init__(
            Classifier,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            seed_everything_default=False,
            trainer_defaults=dict(TRAINER_DEFAULTS),
            args=list(arguments),
            run=False,
            parser_class=OptionParser,
        )

    # -- options -------------------------------------------------------------------------------------------------

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that raises its errors and whose usage is one line."""
        usage = f"fashionreg {self.command} --config FILE [--config FILE ...] [options]"
        if self.command != "fit":
            usage = f"fashionreg {self.command} --ckpt_path FILE [options]"
        kwargs |= {"description": TRAINING_COMMANDS[self.command].capitalize() + ".", "usage": usage}
        return super().init_parser(**kwargs, exit_on_error=False, allow_abbrev=False, prog=f"fashionreg {self.command}")

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add name and seeds, in place of Lightning's `--seed_everything`."""
        # Lightning's base class asks for it; `--seeds` is what a user has
        parser.add_argument("--seed_everything", type=bool | int, default=False, help=argparse.SUPPRESS)
        parser.add_argument("--name", type=str, default=RUN_NAME, help="Results go to logs/NAME/version_N.")
        parser.add_argument(
            "--seeds",
            type=int | list[int],
            default=1,
            help="How many seeds are trained side by side (10 is 0 to 9), or a list of them ([3, 7]).",
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, model and data; a layer may leave out any of them, so that none is required here."""
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        parser.add_lightning_class_args(Classifier, "model", subclass_mode=True, required=False)
        parser.add_lightning_class_args(ImageDataModule, "data", subclass_mode=True, required=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of all commands and of this one."""
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="A checkpoint, or `last`: the newest whole one of the runs of this name.",
        )
        parser.add_argument(
            "--threads",
            type=PositiveInt | None,
            default=None,
            help="CPU threads; by default as many as the size of a step can use, at most the cores.",
        )
        parser.add_argument(
            "--compile",
            type=bool | Literal["auto"],
            default="auto",
            help="Compile the training step (torch.compile): true, false, or auto, which compiles on a CPU if the fit "
            "is long enough to save more time than compiling takes. Results are the same to rounding.",
        )
        parser.add_argument(
            "--allow_oversize",
            type=bool,
            default=False,
            help="Run although it seems to need more memory or threads than the machine has, or more than a year.",
        )
        parser.add_argument(
            "--trust_checkpoint",
            action="store_true",
            help="Use the checkpoint's whole configuration, including classes that can run any code and paths to "
            "write to.",
        )
        if self.command == "fit":
            parser.add_argument(
                "--synthetic_if_missing",
                type=bool,
                default=False,
                help="Train on drawn garments, and say so everywhere, where Fashion-MNIST cannot be had.",
            )
        if self.command == "predict":
            parser.add_argument("--images", nargs="+", help="Image files, or CSV files of images.")
            parser.add_argument("--out", type=str, default="predictions.csv", help="CSV file to write.")
            parser.add_argument("--force", action="store_true", help="Replace the file if it exists.")
        for part in ("model", "data"):
            # the parser takes milliseconds to check a seed, so it is given the first; see `_prepare`
            parser.link_arguments("seeds", f"{part}.init_args.seeds", compute_fn=first_seed)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Merge the layers in order, then parse the arguments.

        Raises:
            UserError: If there is no checkpoint where one is needed, or it says more than it may; or if model or data
                are missing.
        """
        assert isinstance(args, list)
        # YAML among the arguments is read by the parser, which follows an alias within what it names without end
        for option, value, _ in each_option(args):
            if value is not None:
                check_limits(value, option.lstrip("-"))
        if any("config" in layer for layer in self._layers):
            raise UserError("config: is an option of the command line alone; in a configuration, base: names files")
        regularizers = Regularizers()
        layers = [regularizers.add(layer) for layer in [*self._checkpoint_layer(args), *self._layers]]
        args = regularizers.add_arguments(args)
        check_named(regularizers.merged or {})
        config: Namespace | None = None
        *earlier, last = joined(layers) or [{}]
        for layer in earlier:
            config = parser.parse_object(layer, namespace=config, defaults=config is None)
        # what is parsed last adds the defaults of the classes that are chosen; no arguments take as long as a layer
        config = parser.parse_object(last, namespace=config, defaults=config is None or not args)
        self.config = parser.parse_args(args, namespace=config) if args else config
        if self._checkpoint_path is not None:
            self.config.ckpt_path = self._checkpoint_path
        if self.command != "fit" and self.config.ckpt_path is None:
            raise UserError(f"{self.command}: needs --ckpt_path FILE (or last, with --name or --config)")
        for part in ("model", "data"):
            if self.config[part] is None:
                # as the parser says it where an argument is required
                raise argparse.ArgumentError(
                    None, f"{part}: is missing; give --config FILE (configs/bn.yaml, for example) or --ckpt_path FILE"
                )
        if self.command == "predict" and not self.config.images:
            raise UserError("images: name at least one image file or CSV file: --images FILE [FILE ...]")

    def _checkpoint_layer(self, arguments: list[str]) -> list[Layer]:
        """Find the checkpoint, and return what its own configuration may say as a layer before all others."""

        def given(option: str, default: Any) -> Any:
            """The value of an option before anything is parsed: an argument wins over layers, the last layer wins."""
            parts = option.split(".")
            found = default
            for layer in self._layers:
                value: Any = layer
                for part in parts:
                    value = value.get(part) if isinstance(value, dict) else None
                found = found if value is None else value
            return option_value(arguments, f"--{option}") or found

        path = given("ckpt_path", None) if self._resume is None else str(self._resume)
        self._checkpoint_path: str | None = None
        if path is None:
            return []
        if not isinstance(path, str):
            raise UserError(f"ckpt_path: must name a file, got {path!r:.80}")
        if path == "last":
            name, logs = given("name", RUN_NAME), given("trainer.default_root_dir", LOGS)
            if not is_folder_below(name) or not isinstance(logs, str):
                raise UserError(f"name: must be a folder below that of all results, got {name!r:.80}")
            newest, why = newest_checkpoint(Path(logs) / name)
            print(f"{'resume' if self.command == 'fit' else 'checkpoint'}: {newest} ({why})", flush=True)
            path = str(newest)
        self._checkpoint_path = path
        self._checkpoint = checkpoint = read_checkpoint(Path(path))
        self._shape = checkpoint.get(SHAPE_KEY, FASHION_MNIST_SHAPE)
        self._classes = checkpoint.get(CLASSES_KEY)
        self._scaling = checkpoint.get(SCALING_KEY)
        if self._resume is not None or (text := checkpoint.get(CONFIG_KEY)) is None:
            return []
        source = f"ckpt_path: {path}"
        config = trust.configuration(text, source)
        if "--trust_checkpoint" not in arguments and not given("trust_checkpoint", False):
            named = trust.named_by_user(self._layers, arguments)
            way_on = "name it yourself (in a --config, or as an option such as --model CLASS), or "
            allowed = CALLBACKS if self.command == "fit" else None
            config = trust.as_data(config, source, named, way_on, allowed)
            root = results_root(Path(path), config.get("name", RUN_NAME), LOGS)
            config["trainer"]["default_root_dir"] = root
        # how fast a run was made on its machine is no part of it
        local = ["threads", "allow_oversize", "seed_everything"]
        if self.command != "fit":
            local.append("compile")  # a resumed run goes on as it began
        return [{name: value for name, value in config.items() if name not in local}]

    # -- objects -------------------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Check what can be checked before anything is made."""
        options = self.config
        if options.seed_everything is not False:
            raise UserError("seed_everything: --seeds is the only source of randomness here")
        # replicas draw nothing from the global generators; this is for what users add
        seed_everything(first_seed(options.seeds)[0], workers=True, verbose=False)
        if not options.allow_oversize:
            refuse_threads(options.threads)
        if options.trainer.overfit_batches:
            raise UserError(
                "trainer.overfit_batches: batches come by index here; set data.init_args.train_size instead"
            )
        for name in ("check_val_every_n_epoch", "accumulate_grad_batches", "val_check_interval"):
            if options.trainer[name] == 0:
                raise UserError(f"trainer.{name}: must be at least 1, got 0")
        if options.get("synthetic_if_missing"):
            self._fall_back_to_synthetic_data()
        if not options.trainer.default_root_dir:
            raise UserError("trainer.default_root_dir: must name a folder")
        if not is_folder_below(options.name):
            raise UserError(f"name: must be a folder below {options.trainer.default_root_dir}, got {options.name!r}")
        self.results_folder = Path(options.trainer.default_root_dir) / options.name
        if self._checkpoint is not None and self.command == "fit":
            check_resume(self._checkpoint, options.ckpt_path, self.resolved(), options.trainer.max_epochs)
            if self._resume is None:
                done = counted(self._checkpoint["epoch"] + 1, "epoch")
                print(f"resume: after {done} on {options.data.class_path.rpartition('.')[2]}", flush=True)

    def _fall_back_to_synthetic_data(self) -> None:
        options = self.config
        if options.data.class_path.rpartition(".")[2] != FashionMNISTDataModule.__name__:
            return
        wanted = options.data.init_args
        try:
            FashionMNISTDataModule(root=wanted.root, mirror=wanted.mirror).prepare_data()
        except MissingDataError as error:
            print(f"*** SYNTHETIC DATA, drawn garments, instead of the real ones: {error.reason} ***", flush=True)
            kept = {
                name: wanted[name]
                for name in ("batch_size", "val_size", "normalize", "evaluate_train", "split_seed", "seeds", "split")
            }
            options.data.class_path = f"{datamodules.__name__}.{SyntheticDataModule.__name__}"
            options.data.init_args = Namespace(**kept)  # type: ignore[no-untyped-call]
            options.name += "-synthetic"

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; an error of theirs stays their own."""
        # Lightning takes hyperparameters from it, and would check once more what has just been parsed
        text = self.parser.dump(self.config, skip_link_targets=False, skip_none=False, skip_validation=True)
        self.config_dump = yaml.safe_load(text)
        try:
            super().instantiate_classes()
        except (UserError, MisconfigurationException):
            raise
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            # the parser wraps what a constructor raises into several lines about types; what a logger or a precision
            # needs may not be installed
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from error
            raise UserError(in_one_line(error)) from error

    def _prepare(self) -> None:
        """Set the seeds, find the shape of the network, and refuse a run that is too large for the machine."""
        # a range where a count is given: it may be larger than what a list could hold
        seeds = expand_seeds(self.config.seeds)
        if not self.config.allow_oversize:
            refuse_oversize_data(self.datamodule)
        if self._shape is None:
            self._shape = shape_of(self.datamodule)
        if not self.config.allow_oversize:
            trainer = self.config.trainer if self.command == "fit" else None
            accelerator = self.config.trainer.accelerator != "cpu" and torch.accelerator.is_available()
            refuse_oversize_run(self.model, self.datamodule, self._shape, seeds, trainer, accelerator=accelerator)
        self.model.seeds = self.datamodule.seeds = list(seeds)
        # hyperparameters of checkpoints and of hparams.yaml
        self.model.save_hyperparameters({"seeds": list(seeds)})

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer with this project's callbacks and, for a fit, its folder and logger."""
        callbacks = self.config_init.trainer.callbacks or []
        check_averaging(callbacks if isinstance(callbacks, list) else [callbacks])
        self._prepare()
        if self._dry_run:
            # the trainer refuses what the machine does not have
            return self.make_trainer(logger=False, enable_checkpointing=False)
        assert self._shape is not None
        if self._checkpoint is not None and (network := outline(self.model, *self._shape, self.model.seeds[0])):
            way_on = "; without --config and --seeds its own are used"
            source = f"ckpt_path: {self.config.ckpt_path}"
            check_parameters(self._checkpoint, network, len(self.model.seeds), source, way_on)
        self.model.build(*self._shape)
        if self._checkpoint is not None and self.command == "fit":
            check_optimization(self._checkpoint, self.model, f"ckpt_path: {self.config.ckpt_path}")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        torch.set_num_threads(self.config.threads or useful_threads(parameters * self.datamodule.batch_size))
        plugins = self.config_init.trainer.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            # the checkpoint is needed once more, to be taken over; nothing keeps it in memory after that
            read = None if self._checkpoint is None else (self.config.ckpt_path, self._checkpoint)
            kwargs["plugins"] = [*plugins, WholeCheckpointIO(bool(self.config.trust_checkpoint), read)]
        checkpoint, self._checkpoint = self._checkpoint, None
        if self.command != "fit":
            # a report is on all images, and leaves nothing behind that belongs to a fit
            whole: dict[str, Any] = {"limit_val_batches": 1.0, "limit_test_batches": 1.0, "limit_predict_batches": 1.0}
            whole |= {"fast_dev_run": False, "logger": False, "callbacks": [], "enable_checkpointing": False}
            return self.make_trainer(**kwargs | whole)
        self.datamodule.prepare_data()
        self.data_description = self.datamodule.describe()
        if checkpoint is not None:
            check_same_data(checkpoint, self.config.ckpt_path, self.data_description["fingerprints"])
        remove_orphans(self.results_folder, "version_*")
        self.folder = claim_folder(self.results_folder, "version_")
        try:
            if self._marker is not None:
                name, text = self._marker
                (self.folder / name).write_text(text)
            return self._fit_trainer(kwargs)
        except Exception:
            self.remove_folder()
            raise

    def remove_folder(self) -> None:
        """Remove the folder of a fit that leaves nothing."""
        remove_run(self.folder, Path(self.config.trainer.default_root_dir))

    def _fit_trainer(self, kwargs: dict[str, Any]) -> Trainer:
        options, images = self.config.trainer, self.data_description["sizes"]["train"]
        batch_size = min(self.datamodule.batch_size, images)
        steps = steps_to_come(options, images, batch_size)
        on_cpu = options.accelerator == "cpu" or not torch.accelerator.is_available()
        self.config.compile = decide(
            self.config.compile, steps, len(self.model.seeds) * batch_size, on_cpu=on_cpu, fits=self._alike
        )
        about = {"name": self.config.name, "data": self.data_description, "config": self.config_text()} | self._about
        callbacks: list[Callback] = [RunRecord(self.folder, about), *self._observers]
        if self.config.trainer.enable_checkpointing is not False:
            # no monitor: the state after the last finished epoch, from which a run is resumed
            place = self.folder / "checkpoints"
            callbacks.append(EpochCheckpoint(place, "last", enable_version_counter=False, save_on_train_epoch_end=True))
        self.trainer_defaults["callbacks"] = callbacks
        if self.config.trainer.logger in (None, True):
            kwargs["logger"] = EventLogger(
                self.config.trainer.default_root_dir, self.config.name, self.folder.name, default_hp_metric=False
            )
        trainer = self.make_trainer(**kwargs)
        DirectEpochLoop.install(trainer, compiling=self.config.compile)
        return trainer

    def make_trainer(self, **kwargs: Any) -> Trainer:
        """Make Lightning's trainer, of one process.

        Raises:
            UserError: If Lightning cannot make it of its options, or it would start further processes.
        """
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (UserError, MisconfigurationException, OSError, MemoryError):
            raise
        except Exception as error:  # an option that will not do fails in many ways
            raise UserError(in_one_line(error)) from error
        if trainer.world_size > 1:
            raise UserError(
                "trainer.devices: all replicas are computed on one device, side by side; set it to 1 (and num_nodes)"
            )
        return trainer

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by label: those of the checkpoint, else of the data."""
        return self.datamodule.class_names if self._classes is None else tuple(self._classes)

    def inputs_to_predict(self) -> tuple["Inputs", Part]:
        """Read the images to classify; and return them as each replica is to be given them."""
        from fashionreg.runs.prediction import read_inputs

        assert self._shape is not None
        count, label = self._shape[0], getattr(self.datamodule, "label", None)
        if self._scaling is None:
            inputs = read_inputs(self.config.images, count, "pixels", label)
            return inputs, inputs.images
        inputs = read_inputs(self.config.images, count, "features", label)
        rows, replicas = len(inputs.images), self._scaling.shape[1]
        pool = scaled(inputs.images, self._scaling)
        if replicas == 1:
            return inputs, pool
        # each replica has its own rows, those that are scaled for it
        return inputs, ImagesBySeed(pool, torch.arange(replicas * rows, dtype=torch.int32).view(replicas, rows))

    # -- configuration -------------------------------------------------------------------------------------------

    def config_text(self) -> str:
        """Return the resolved options as YAML that `--config` takes."""
        options = self.config.clone()
        for name in ("config", "ckpt_path", "trust_checkpoint", "synthetic_if_missing", "seed_everything"):
            options.pop(name, None)
        text: str = self.parser.dump(options, skip_none=False, skip_validation=True)
        return text

    def resolved(self) -> Layer:
        """Return the resolved options as plain data."""
        return parse_yaml(self.config_text(), "configuration")


def shape_of(datamodule: ImageDataModule) -> tuple[int, int]:
    """Load the data, and return their number of inputs and of classes."""
    datamodule.prepare_data()
    return datamodule.inputs, len(datamodule.class_names)


def first_seed(seeds: int | list[int]) -> list[int]:
    """Return the first of the seeds that `--seeds` means, alone.

    Raises:
        UserError: As `expand_seeds`.
    """
    return [expand_seeds(seeds)[0]]
