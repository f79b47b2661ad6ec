"""`fashionreg fit|validate|test|predict`: Lightning's command line, with replicas, run folders and checkpoints."""

import shutil
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, OptimizerCallable
from lightning.pytorch.plugins import CheckpointIO

from fashionreg import TRAINING_COMMANDS
from fashionreg.callbacks.progress import EpochSummary, heading
from fashionreg.callbacks.run_record import RunRecord
from fashionreg.callbacks.tensorboard import EventLogger
from fashionreg.config import each_option
from fashionreg.data.batches import chunk_size, evaluation_loader
from fashionreg.data.csv_files import PIXELS
from fashionreg.data.datamodules import FashionMNISTDataModule, ImageDataModule, SyntheticDataModule
from fashionreg.data.images import CLASS_NAMES
from fashionreg.data.sources import MissingDataError
from fashionreg.errors import UserError, printable
from fashionreg.files import check_output, remove_orphans, whole_file
from fashionreg.models.classifier import FASHION_MNIST_SHAPE, SHAPE_KEY, Classifier
from fashionreg.models.networks import MLP, ReplicaNetwork
from fashionreg.models.optimizers import state_of_a_parameter
from fashionreg.randomness import expand_seeds
from fashionreg.runs.checkpoint import WholeCheckpointIO, check_resume, read_checkpoint
from fashionreg.runs.contents import check_optimization, outline
from fashionreg.runs.folder import claim_folder, is_folder_below
from fashionreg.text import by_seed, in_percent
from fashionreg.training.estimate import Shapes, available_memory, memory_needed, refuse_oversize, refuse_threads
from fashionreg.training.loop import DirectEpochLoop, EpochCheckpoint
from fashionreg.yaml_files import check_limits, parse_yaml

#: Results go to LOGS/RUN_NAME/version_N unless other names are given.
LOGS, RUN_NAME = "logs", "run"

#: What a thread must have to do in a training step to be worth its while.
MULTIPLICATIONS_PER_THREAD = 5_000_000


class TrainingCLI(LightningCLI):
    """LightningCLI in subclass mode with `--seeds` as the only source of randomness and a folder for every run."""

    model: Classifier
    datamodule: ImageDataModule
    trainer: Trainer
    #: Number of inputs and of classes, where a checkpoint says them.
    _shape: tuple[int, int] | None = None
    _checkpoint: dict[str, Any] | None = None

    def __init__(self, args: list[str]) -> None:
        super().__init__(
            Classifier,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            args=args,
            trainer_defaults={
                "max_epochs": 5,
                "default_root_dir": LOGS,
                "num_sanity_val_steps": 0,
                # all replicas train on one device, side by side; several would each see a part of every batch
                "devices": 1,
                # EpochSummary prints a line for every epoch and shows a bar within long ones
                "enable_progress_bar": False,
                "enable_model_summary": False,
            },
        )

    # -- options -------------------------------------------------------------------------------------------------

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, with the arguments of the trainer's methods that are not options."""
        skipped = {name: {"verbose", "weights_only"} | skip for name, skip in LightningCLI.subcommands().items()}
        return skipped | {"predict": skipped["predict"] | {"return_predictions"}}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises its errors."""
        return super().init_parser(**kwargs, exit_on_error=False, allow_abbrev=False, prog="fashionreg")

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Name and seeds, in place of Lightning's `--seed_everything`."""
        parser.add_argument("--name", type=str, default=RUN_NAME, help="Results go to logs/NAME/version_N.")
        parser.add_argument(
            "--seeds",
            type=int | list[int],
            default=1,
            help="How many seeds are trained side by side (10 is 0 to 9), or a list of them ([3, 7]).",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Give the same seeds to model and data."""
        parser.add_argument(
            "--threads",
            type=PositiveInt | None,
            default=None,
            help="CPU threads; by default as many as the size of a step can use, at most the cores.",
        )
        parser.add_argument(
            "--compile",
            type=bool,
            default=False,
            help="Compile the network for a fit (torch.compile); on a CPU it takes longer than it saves.",
        )
        parser.add_argument(
            "--allow_oversize",
            type=bool,
            default=False,
            help="Run although it seems to need more memory than the machine has.",
        )
        for part in ("model", "data"):
            # the parser takes milliseconds to check a seed, so it is given the first; see `_prepare`
            parser.link_arguments("seeds", f"{part}.init_args.seeds", compute_fn=first_seed)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        # Lightning's own usage fills a screen with every option of the trainer before it says anything
        usage = f"fashionreg {subcommand} --config FILE [--config FILE ...] [options]"
        if subcommand != "fit":
            usage = f"fashionreg {subcommand} --ckpt_path FILE [options]"
        kwargs |= {"description": TRAINING_COMMANDS[subcommand].capitalize() + ".", "usage": usage}
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # read before there is a parser, by `fashionreg.training.fit`
        parser.add_argument(
            "--trust_checkpoint",
            action="store_true",
            help="Use all that the checkpoint's configuration says: any class, which can run anything, and any place.",
        )
        if subcommand == "fit":
            parser.add_argument(
                "--synthetic_if_missing",
                type=bool,
                default=False,
                help="Train on drawn garments, and say so everywhere, where Fashion-MNIST cannot be had.",
            )
        if subcommand == "predict":
            parser.add_argument("--images", nargs="+", required=True, help="Image files, or CSV files of images.")
            parser.add_argument("--out", type=str, default="predictions.csv", help="CSV file to write.")
            parser.add_argument("--force", action="store_true", help="Replace the file if it exists.")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, without Lightning's warning that `sys.argv` is not used."""
        assert isinstance(args, list)
        # YAML among the arguments is read by the parser, which follows an alias within what it names without end
        for option, value, _ in each_option(args):
            if value is not None:
                check_limits(value, option.lstrip("-"))
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """A checkpoint's configuration came first among the words (`run`), so that explicit options win over it."""

    def _set_seed(self) -> None:
        # replicas draw nothing from the global generators; this is for what users add
        seed_everything(expand_seeds(self.options["seeds"])[0], workers=True, verbose=False)

    @property
    def options(self) -> Any:
        """The parsed options of the command."""
        return self.config[self.config["subcommand"]]

    # -- instances -----------------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Find the data and the checkpoint, and what the run will need, before anything is made."""
        options = self.options
        refuse_threads(options.threads)
        if options.trainer.overfit_batches:
            raise UserError(
                "trainer.overfit_batches: batches come by index here; set data.init_args.train_size instead"
            )
        if options.get("synthetic_if_missing"):
            self._fall_back_to_synthetic_data()
        if not options.trainer.default_root_dir:
            raise UserError("trainer.default_root_dir: must name a folder")
        if not is_folder_below(options.name):
            raise UserError(f"name: must be a folder below {options.trainer.default_root_dir}, got {options.name!r}")
        self.results_folder = Path(options.trainer.default_root_dir) / options.name
        if options.ckpt_path is not None:
            checkpoint = read_checkpoint(Path(options.ckpt_path))
            self._checkpoint = checkpoint
            self._shape = checkpoint.get(SHAPE_KEY, FASHION_MNIST_SHAPE)
            if self.subcommand == "fit":
                config = parse_yaml(self.config_text(), "configuration")
                check_resume(checkpoint, options.ckpt_path, config, options.trainer.max_epochs)
        elif self.subcommand != "fit":
            raise UserError(f"{self.subcommand}: needs --ckpt_path FILE (or last, with --name or --config)")

    def _fall_back_to_synthetic_data(self) -> None:
        options = self.options
        if options.data.class_path.rpartition(".")[2] != FashionMNISTDataModule.__name__:
            return
        wanted = options.data.init_args
        try:
            FashionMNISTDataModule(root=wanted.root, mirror=wanted.mirror).prepare_data()
        except MissingDataError as error:
            print(f"*** SYNTHETIC DATA, drawn garments, instead of the real ones: {error.reason} ***", flush=True)
            kept = {
                name: wanted[name]
                for name in ("batch_size", "val_size", "normalize", "evaluate_train", "split_seed", "seeds")
            }
            options.data.class_path = f"{SyntheticDataModule.__module__}.{SyntheticDataModule.__name__}"
            options.data.init_args = Namespace(**kept)  # type: ignore[no-untyped-call]
            options.name += "-synthetic"

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; an error of theirs stays their own."""
        try:
            super().instantiate_classes()
        except (UserError, MisconfigurationException):
            raise
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            # the parser wraps what a constructor raises into several lines about types; what a logger or a precision
            # needs may not be installed
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from error
            raise UserError(" ".join(str(error).split())) from error

    def _prepare(self) -> None:
        """Find the seeds and the shape of the network, and refuse a run that memory cannot hold."""
        # a range where a count is given: it may be larger than what a list could hold
        seeds = expand_seeds(self.options.seeds)
        memory = None if self.options.allow_oversize else available_memory()
        images = self.datamodule.expected_images or 0
        refuse_oversize(images * PIXELS, memory, f"{images:,} images")
        if self._shape is None:
            self.datamodule.prepare_data()
            self._shape = self.datamodule.inputs, len(self.datamodule.class_names)
        network = outline(self.model, *self._shape, seeds[0])
        if network is not None:
            training = self.subcommand == "fit"
            shapes = shapes_of(network, len(seeds), self.datamodule, self.model.optimizer if training else None)
            what = f"{len(seeds):,} x {network.describe()}, batch_size {self.datamodule.batch_size}"
            refuse_oversize(memory_needed(shapes), memory, what)
        self.model.seeds = self.datamodule.seeds = self.model.hparams["seeds"] = list(seeds)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with this project's callbacks and, for a fit, its folder and logger."""
        self._prepare()
        assert self._shape is not None
        self.model.build(*self._shape)
        if self._checkpoint is not None and self.subcommand == "fit":
            check_optimization(self._checkpoint, self.model, f"ckpt_path: {self.options.ckpt_path}")
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        torch.set_num_threads(self.options.threads or useful_threads(parameters * self.datamodule.batch_size))
        plugins = self.config_init[self.subcommand].trainer.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, WholeCheckpointIO(trusted=self.options.trust_checkpoint)]
        if self.subcommand != "fit":
            # a report is on all images, and leaves nothing of a fit's kind behind
            whole: dict[str, Any] = {"limit_val_batches": 1.0, "limit_test_batches": 1.0, "limit_predict_batches": 1.0}
            whole |= {"fast_dev_run": False, "logger": False, "callbacks": [], "enable_checkpointing": False}
            return super().instantiate_trainer(**kwargs | whole)
        if self.options.compile:
            self.model.network.compile()
        self.datamodule.prepare_data()
        self.data_description = self.datamodule.describe()
        remove_orphans(self.results_folder, "version_*")
        folder = claim_folder(self.results_folder, "version_")
        self.trainer_defaults["callbacks"] = [
            RunRecord(folder, self.run_description()),
            *self.console,
        ]
        if self.options.trainer.enable_checkpointing is not False:
            # no monitor: the state after the last finished epoch, from which a run is resumed
            self.trainer_defaults["callbacks"].append(
                EpochCheckpoint(
                    folder / "checkpoints", "last", enable_version_counter=False, save_on_train_epoch_end=True
                )
            )
        if self.options.trainer.logger in (None, True):
            kwargs["logger"] = EventLogger(
                self.options.trainer.default_root_dir, self.options.name, folder.name, default_hp_metric=False
            )
        self.folder = folder
        try:
            trainer = super().instantiate_trainer(**kwargs)
            if trainer.world_size > 1:
                raise UserError("trainer.devices: all replicas train on one device, side by side; set it to 1")
            DirectEpochLoop.install(trainer)
            return trainer
        except Exception:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @property
    def console(self) -> list[Callback]:
        """What shows how a fit goes."""
        return [EpochSummary()]

    def run_description(self) -> dict[str, Any]:
        """What the record says of a run besides its numbers; `config` is text, YAML that `--config` takes."""
        return {"name": self.options.name, "data": self.data_description, "config": self.config_text()}

    def config_text(self) -> str:
        """The resolved options that make the run what it is, as YAML that `--config` takes."""
        options = self.options.clone()
        for name in ("config", "ckpt_path", "trust_checkpoint", "synthetic_if_missing"):
            options.pop(name, None)
        text: str = self._parser(self.subcommand).dump(options, skip_none=False, skip_validation=True)
        return text

    # -- commands ------------------------------------------------------------------------------------------------

    def fit(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str | None) -> None:
        """Train, and say before what and after how it went."""
        last = self.folder / "checkpoints" / "last.ckpt"
        try:
            print(heading(self.trainer, self.model, self.data_description, self.options.name))
            print(f"logs    {self.folder}", flush=True)
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            last_epoch = self.trainer.max_epochs
            planned = "" if last_epoch in (None, -1) else f" of {last_epoch}"
            done = f"after {self.trainer.current_epoch}{planned} epochs"
            source = last if last.exists() else ckpt_path
            way_on = f"go on with: fashionreg fit --ckpt_path {source}" if source else "nothing to go on from"
            raise UserError(f"interrupted {done}; {way_on}") from stop
        except Exception as error:
            unsaved = self.options.trainer.enable_checkpointing is False and self.trainer.current_epoch > 0
            if not last.exists() and not unsaved:
                # it ended before the first epoch was over: the folder holds nothing that is worth a number
                shutil.rmtree(self.folder, ignore_errors=True)
            elif last.exists() and isinstance(error, UserError):
                raise UserError(f"{error}; go on with: fashionreg fit --ckpt_path {last}") from error
            raise
        if not self.trainer.global_step:
            shutil.rmtree(self.folder)
            raise UserError(
                "nothing was trained: trainer.max_epochs, max_steps, max_time and limit_train_batches must leave "
                "at least one step"
            )
        if self.options.trainer.fast_dev_run:
            shutil.rmtree(self.folder)
            print("fast_dev_run: a batch of each split went through; nothing is kept")
            return
        source, steps = self.data_description["source"], self.trainer.global_step
        length = f"{self.trainer.current_epoch} epochs" if self.trainer.is_last_batch else f"{steps} steps"
        results = self.model.results()
        for split, metrics in results.items():
            if split != "train":
                print(f"{split} accuracy after {length} on {source}: {in_percent(metrics['acc'])}")
                if len(self.model.seeds) > 1:
                    print(by_seed(self.model.seeds, metrics["acc"]))
        if "test" not in results:
            print(f"test accuracy after {length}: not evaluated (trainer.limit_val_batches, check_val_every_n_epoch)")
        print(f"curves: tensorboard --logdir {self.options.trainer.default_root_dir}")
        if last.exists():
            print(f"report: fashionreg test --ckpt_path {last}")

    def validate(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str) -> None:
        """Evaluate on `val`, where there is one, and `test`."""
        self.trainer.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, weights_only=True)
        for split, metrics in self.model.results().items():
            print(f"{split:<8}loss {metrics['loss'].mean():.4f}   accuracy {in_percent(metrics['acc'])}")
            if len(self.model.seeds) > 1:
                print(by_seed(self.model.seeds, metrics["acc"]))

    def test(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str) -> None:
        """Report on `test` and `train`; the files go to a folder of their own, never into the fit's."""
        from fashionreg.runs.evaluation import Evaluation

        evaluation = Evaluation()
        self.trainer.callbacks.append(evaluation)  # type: ignore[attr-defined]
        self.trainer.test(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, weights_only=True)
        print(evaluation.describe())
        folder = claim_folder(self.results_folder, "test_")
        evaluation.write(folder)
        print(f"\nwritten to {folder}: metrics.csv, by_class.csv, confusion_matrix.png")

    def predict(self, model: LightningModule, datamodule: LightningDataModule, ckpt_path: str) -> None:
        """Classify image files and rows of CSV files."""
        from fashionreg.runs.prediction import prediction_table, read_inputs

        out = Path(self.options.out)
        check_output(out, force=self.options.force)
        inputs = read_inputs(self.options.images)
        self.datamodule.trainer = self.trainer
        loader = evaluation_loader(self.datamodule.resident(inputs.images), len(self.model.seeds))
        chunks = self.trainer.predict(model, loader, ckpt_path=ckpt_path, weights_only=True)
        table = prediction_table(inputs, torch.cat(chunks, dim=1))  # type: ignore[arg-type]
        with whole_file(out) as file:
            file.write(table.to_csv(index=False, float_format="%.6f").encode())
        shown = table.drop(columns=list(CLASS_NAMES), errors="ignore").head(20)
        shown["image"] = shown["image"].map(printable)
        print(shown.to_string(index=False, float_format="{:.3f}".format))
        print(f"{len(table):,} images: written to {out}")


def first_seed(seeds: int | list[int]) -> list[int]:
    """The first of the seeds that `--seeds` means, alone.

    Raises:
        UserError: As `expand_seeds`.
    """
    return [expand_seeds(seeds)[0]]


def shapes_of(
    network: ReplicaNetwork, replicas: int, datamodule: ImageDataModule, optimizer: OptimizerCallable | None
) -> Shapes:
    """What the memory of a run depends on.

    Args:
        network: One replica of the network; its tensors may be without memory.
        replicas: Number of replicas S.
        datamodule: The data.
        optimizer: Makes the optimizer; None where nothing is trained.
    """
    images = datamodule.expected_images or 0
    batch_size = min(datamodule.batch_size, images) if images else datamodule.batch_size
    return Shapes(
        # the layers of other networks are unknown: their parameters count, and the images that they are given
        sizes=tuple(network.sizes) if isinstance(network, MLP) else (datamodule.inputs, len(datamodule.class_names)),
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
