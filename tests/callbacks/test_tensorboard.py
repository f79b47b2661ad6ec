"""TensorBoard's event files are written by `EventFile`, in the place of torch's writer."""

import threading

from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fashionreg.callbacks.tensorboard import EventLogger


def test_torch_still_asks_the_method_that_is_overridden_for_its_file():
    """torch has no public way to choose the writer of events: if the private method is renamed, this test fails."""
    assert "_get_file_writer" in vars(SummaryWriter)


def test_one_file_is_written_at_once_and_without_a_thread(tmp_path):
    before = threading.active_count()
    logger = EventLogger(tmp_path, "name", "version_0")
    logger.experiment.add_scalar("curve", 0.5, 3)
    assert threading.active_count() == before
    (path,) = (tmp_path / "name/version_0").iterdir()
    (point,) = EventAccumulator(str(path)).Reload().Scalars("curve")
    assert (point.step, point.value) == (3, 0.5)
    assert isinstance(logger, TensorBoardLogger)
    logger.finalize("success")
