"""The way of figures into TensorBoard."""

from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def writers(trainer: Trainer) -> list[SummaryWriter]:
    """What writes TensorBoard's event files; none in a dry run, in all processes but the first, with other loggers."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def add_figure(writer: SummaryWriter, tag: str, figure: "Figure", step: int) -> None:
    """Draw a figure as the image `tag`, and bring it to the disk: by itself the writer waits up to two minutes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # SummaryWriter.add_figure would do the same through pyplot and its global state
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    writer.add_image(tag, pixels, step, dataformats="HWC")
    writer.flush()
