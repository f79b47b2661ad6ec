"""Write curves and figures to TensorBoard's event files."""

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch.utils.tensorboard import FileWriter, SummaryWriter

from fashionreg.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EventLogger(TensorBoardLogger):
    """A `TensorBoardLogger` that survives a full disk: after one warning the fit goes on without curves.

    Curves show the metrics of the record, which every checkpoint contains; a resumed run draws them again from the
    first epoch. TensorBoard's writer would raise the error in some later call, and its thread would print a traceback.
    """

    _writer: SummaryWriter | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """The writer of the event file."""
        if self._writer is None:
            self._writer = _Writer(self.log_dir)
        return self._writer

    def save(self) -> None:
        """Write `hparams.yaml`.

        Raises:
            UserError: If it cannot be written.
        """
        try:
            super().save()
        except OSError as error:
            path = Path(self.log_dir, self.NAME_HPARAMS_FILE)
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error

    def finalize(self, status: str) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
        super().finalize(status)


class _Writer(SummaryWriter):
    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            writer: Any = _EventFileWriter(self.log_dir)
            self.file_writer, self.all_writers = writer, {self.log_dir: writer}  # type: ignore[assignment]
        return self.file_writer


class _EventFileWriter(FileWriter):
    def __init__(self, log_dir: str) -> None:
        self.event_writer = EventFile(Path(log_dir))


class EventFile:
    """An event file to which events are written immediately, without a thread, until a write fails.

    After a failed write, which may leave half an event, nothing more is written: readers stop there.

    Args:
        folder: The file's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        self._file: BinaryIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        except OSError as error:
            self._give_up(error)
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def get_logdir(self) -> str:
        """Return the file's folder."""
        return str(self._path.parent)

    def add_event(self, event: Any) -> None:
        """Write an event and flush it, so that TensorBoard shows it immediately."""
        if self._file is not None:
            try:
                RecordWriter(self._file).write(event.SerializeToString())
                self._file.flush()
            except OSError as error:
                self._give_up(error)

    def flush(self) -> None:
        """Do nothing: every event is flushed when it is written."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._give_up(error)
            self._file = None

    def _give_up(self, error: OSError) -> None:
        if self._file is not None:
            with suppress(OSError):  # closing flushes the buffer
                self._file.close()
        self._file = None
        print(
            f"fashionreg: warning: {self._path}: cannot be written: {error.strerror or error}; "
            "no more curves in TensorBoard, but training goes on, and a resumed run draws them again",
            file=sys.stderr,
        )


def writers(trainer: Trainer) -> list[SummaryWriter]:
    """Return the writers of event files; none in a dry run, with other loggers, and in all processes but the first."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_figure(writer: SummaryWriter, tag: str, figure: "Figure", step: int) -> None:
    """Draw a figure as the image `tag`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # SummaryWriter.add_figure would do the same through pyplot and its global state
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    writer.add_image(tag, pixels, step, dataformats="HWC")
