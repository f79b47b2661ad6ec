"""Images in TensorBoard: training images, and figures of the final test results."""

from lightning.pytorch import Callback, LightningModule, Trainer

from fashionreg.callbacks.tensorboard import add_figure, writers
from fashionreg.data.datamodules import ImageDataModule
from fashionreg.data.images import ImagesBySeed
from fashionreg.models.classifier import Classifier
from fashionreg.models.metrics import CALIBRATION_BINS
from fashionreg.runs.evaluation import accuracy_by_class, answers, confusion, mistakes, reliability

#: Number of training images and of mistakes that are shown: a grid of 4 x 4.
SHOWN = 16


class TrainingImages(Callback):
    """Show the first 16 training images (of the first seed) with their classes in TensorBoard, as `train/images`.

    Rows of a table are no images, and are not shown.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them as step 0, before the first epoch."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        targets = writers(trainer)
        if not targets or not isinstance(data, ImageDataModule) or not _are_pictures(data):
            return
        from fashionreg.data.figures import image_grid

        train = data.splits.train
        shown = train.of(0) if isinstance(train, ImagesBySeed) else train
        for writer in targets:
            add_figure(writer, "train/images", image_grid(shown, class_names=data.class_names), 0)


def _are_pictures(data: ImageDataModule) -> bool:
    """Say whether the images of the data have height and width."""
    return len(data.image_shape) == 2


class TestFigures(Callback):
    """Show in TensorBoard, after the last epoch, figures of correct and wrong predictions on the test split.

    The images are `test/confusion_matrix`, `test/class_accuracy`, `test/worst_mistakes` and `test/reliability`. The
    first and the last pool the predictions of all replicas; mistakes are those of the mean over replicas of the
    probabilities or, where each has its own test images, those of single replicas.
    NaN outputs (of a network that diverged) have no probability: they count as wrong in the first two figures and are
    left out of the other two.
    """

    # pytest would collect the class because of its name
    __test__ = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate once and draw; in `on_fit_end` Lightning has moved the network off its device."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        targets = writers(trainer)
        if not targets or not isinstance(data, ImageDataModule) or not isinstance(pl_module, Classifier):
            return
        from fashionreg.data.figures import worst_mistakes
        from fashionreg.runs import figures

        test = data.splits.test
        with trainer.precision_plugin.test_step_context(), pl_module.evaluating():
            given = answers(pl_module, data.evaluation_loader(test))
        counts = confusion(given, len(data.class_names))
        drawn = {
            "confusion_matrix": figures.confusion_matrix(counts.sum(axis=0), data.class_names),
            "class_accuracy": figures.class_accuracy(accuracy_by_class(counts), data.class_names),
        }
        if given.confidence.isfinite().any():
            if _are_pictures(data):
                numbers, predicted, probability = mistakes(given, SHOWN)
                shown = test.pool[test.index.flatten()[numbers]] if isinstance(test, ImagesBySeed) else test[numbers]
                drawn["worst_mistakes"] = worst_mistakes(
                    shown, predicted.numpy(), probability.numpy(), class_names=data.class_names
                )
            drawn["reliability"] = figures.reliability_diagram(*reliability(given, CALIBRATION_BINS))
        for writer in targets:
            for name, figure in drawn.items():
                add_figure(writer, f"test/{name}", figure, trainer.current_epoch)
