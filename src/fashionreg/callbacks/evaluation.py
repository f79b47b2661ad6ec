"""What `fashionreg test` reports: every split by replica, by class, and as a confusion matrix."""

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Accuracy, ConfusionMatrix, F1Score, Metric, MetricCollection, Precision, Recall

from fashionreg.callbacks.formats import by_seed, in_percent
from fashionreg.data.images import CLASS_NAMES
from fashionreg.files import whole_file
from fashionreg.models.classifier import Classifier


class Evaluation(Callback):
    """Gathers what a checkpoint gets right and wrong while `trainer.test` runs.

    With several replicas the tables by class pool the answers of all of them; the ensemble is the class with the
    largest mean of their probabilities.

    Attributes:
        metrics: For each split the metrics of each replica, float `(S,)`; see `Totals.means`.
        ensemble: For each split, the accuracy (0 to 1) of the ensemble.
        by_class: For each split, a table with one row for each class: precision, recall, f1 (0 to 1) and images.
        confusion: For each split, counts `(K, K)`: row true class, column predicted class.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, dict[str, Tensor]] = {}
        self.ensemble: dict[str, float] = {}
        self.by_class: dict[str, pd.DataFrame] = {}
        self.confusion: dict[str, Tensor] = {}
        self._pooled: dict[str, MetricCollection] = {}
        self._ensemble: dict[str, Metric] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the batch to its split."""
        split = list(trainer.test_dataloaders)[dataloader_idx]  # type: ignore[arg-type]
        replicas, count, classes = outputs.shape
        if split not in self._pooled:
            task: dict[str, Any] = {"task": "multiclass", "num_classes": classes}
            pooled = MetricCollection(
                {
                    "precision": Precision(average="none", **task),
                    "recall": Recall(average="none", **task),
                    "f1": F1Score(average="none", **task),
                    "confusion": ConfusionMatrix(**task),
                }
            )
            self._pooled[split] = pooled.to(outputs.device)
            self._ensemble[split] = Accuracy(**task).to(outputs.device)
        labels = batch[1]
        self._pooled[split].update(outputs.flatten(0, 1), labels.expand(replicas, count).flatten())
        self._ensemble[split].update(outputs.softmax(dim=-1).mean(dim=0), labels)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the tables."""
        assert isinstance(pl_module, Classifier)
        self._seeds = pl_module.seeds
        self.metrics = pl_module.results()
        for split, pooled in self._pooled.items():
            self.ensemble[split] = self._ensemble[split].compute().item()
            values = {name: value.cpu() for name, value in pooled.compute().items()}
            self.confusion[split] = confusion = values["confusion"]
            columns = {name: values[name] for name in ("precision", "recall", "f1")}
            names = CLASS_NAMES if len(confusion) == len(CLASS_NAMES) else range(len(confusion))
            self.by_class[split] = pd.DataFrame(
                columns | {"images": confusion.sum(dim=1) // len(self._seeds)}, index=pd.Index(names, name="class")
            )

    def describe(self) -> str:
        """The report as text: loss and accuracy of each split, the generalization gap, the test split by class."""
        lines = []
        for split, metrics in self.metrics.items():
            numbers = f"loss {metrics['loss'].mean():.4f}   accuracy {in_percent(metrics['acc'])}"
            lines.append(f"{split:<8}{numbers}   calibration error {in_percent(metrics['ece'])}")
            if len(self._seeds) > 1:
                lines.append(by_seed(self._seeds, metrics["acc"]))
                lines.append(f"  ensemble of {len(self._seeds)} seeds: {100 * self.ensemble[split]:.2f}%")
        if {"train", "test"} <= self.metrics.keys():
            gap = self.metrics["train"]["acc"] - self.metrics["test"]["acc"]
            lines.append(f"generalization gap (train - test): {in_percent(gap, unit=' points')}")
        table = self.by_class["test"].to_string(float_format="{:.3f}".format, index_names=False)
        return "\n".join([*lines, "", "test by class", table])

    def table(self) -> pd.DataFrame:
        """Seed (or `ensemble`), split, metric and value, one row for each number."""
        rows: list[tuple[int | str, str, str, float]] = []
        for split, metrics in self.metrics.items():
            for metric, values in metrics.items():
                rows += [(seed, split, metric, value) for seed, value in zip(self._seeds, values.tolist(), strict=True)]
            if len(self._seeds) > 1:
                rows.append(("ensemble", split, "acc", self.ensemble[split]))
        return pd.DataFrame(rows, columns=["seed", "split", "metric", "value"])

    def write(self, folder: Path) -> None:
        """Write `metrics.csv`, `by_class.csv` and `confusion_matrix.png` (of the test split) into `folder`."""
        from fashionreg.figures import confusion_matrix

        by_class = pd.concat(self.by_class, names=["split"])
        for name, text in (("metrics", self.table().to_csv(index=False)), ("by_class", by_class.to_csv())):
            with whole_file(folder / f"{name}.csv") as file:
                file.write(text.encode())
        figure = confusion_matrix(self.confusion["test"].numpy(), list(map(str, self.by_class["test"].index)))
        with whole_file(folder / "confusion_matrix.png") as file:
            figure.savefig(file, format="png", dpi=120)
