"""A study's folder with plausible numbers that nobody trained: what reports are tested on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: For each variant in turn: final test accuracy, share of it that is missing after epoch 1, and generalization gap.
SHAPES = [(0.842, 0.45, 0.14), (0.861, 0.2, 0.1), (0.853, 0.5, 0.05), (0.8425, 0.4, 0.13), (0.83, 0.6, 0.02)]


def write_study(
    folder: Path,
    variants: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("plain", "bn", "dropout"),
    *,
    seeds: Sequence[int] = tuple(range(10)),
    epochs: int = 12,
    name: str = "fake",
    question: str = "Does batch norm converge faster and end higher?",
    metric: str = "acc",
    split: str = "test",
    targets: Sequence[float] = (0.7, 0.8),
    validation: bool = False,
    evaluate_train: bool = True,
    source: str = "Fashion-MNIST",
    absent: Mapping[str, Sequence[int]] | None = None,
    **more: Any,
) -> Path:
    """Write `study.json` and the records of its runs.

    Args:
        folder: Where to.
        variants: Names, or for each name the levels of its factors. The first is the reference.
        seeds: The seeds of every variant.
        epochs: The number of epochs.
        name: As in `StudyPlan`, like the next ones.
        question: What the study asks.
        metric: The primary metric.
        split: Where it is taken.
        targets: Values of it.
        validation: Whether there are validation images.
        evaluate_train: Whether training numbers were evaluated.
        source: Of the data.
        absent: For each variant the seeds that have no results.
        more: Further keys of `StudyPlan`.
    """
    levels = variants if isinstance(variants, Mapping) else {variant: {} for variant in variants}
    plan = []
    for position, (variant, its_levels) in enumerate(levels.items()):
        config = _config(position, evaluate_train) | {"name": variant, "seeds": list(seeds)}
        plan.append({"name": variant, "key": f"{position:016x}", "levels": dict(its_levels), "config": config})
        present = [seed for seed in seeds if seed not in (absent or {}).get(variant, ())]
        if present:
            _write_run(folder / variant / "version_0", plan[-1], present, epochs, validation, source)
    study = {"name": name, "question": question, "variants": plan, "reference": plan[0]["name"], "seeds": list(seeds)}
    study |= {"metric": metric, "split": split, "targets": list(targets), "source": "configs/studies/fake.yaml"} | more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def _config(position: int, evaluate_train: bool) -> dict[str, Any]:
    init_args = {"hidden_sizes": [64, 32], "batch_norm": position % 2 == 1, "dropout": 0.1 * position}
    return {
        "trainer": {"max_epochs": 12, "accelerator": "auto"},
        "model": {"class_path": "fashionreg.models.RegularizedMLP", "init_args": init_args},
        "data": {
            "class_path": "fashionreg.data.datamodules.FashionMNISTDataModule",
            "init_args": {"batch_size": 64, "evaluate_train": evaluate_train},
        },
        "threads": 1,
    }


def _write_run(
    folder: Path, variant: Mapping[str, Any], seeds: list[int], epochs: int, validation: bool, source: str
) -> None:
    position = int(variant["key"], 16)
    final, missing, gap = SHAPES[position % len(SHAPES)]
    rows = ["seed,epoch,split,metric,value"]
    for seed in seeds:
        # luck of the seed, the same for every variant: that is what pairing takes out
        luck = np.random.default_rng(seed).normal(0, 0.003)
        generator = np.random.default_rng([seed, position])
        end = final - 0.004 * (position // len(SHAPES)) + luck + generator.normal(0, 0.0015)
        for epoch in range(1, epochs + 1):
            progress = 1 - missing * np.exp(-4 * (epoch - 1) / epochs)
            test = end * progress + generator.normal(0, 0.002)
            train = min(test + gap * epoch / epochs + generator.normal(0, 0.001), 1)
            splits = {"train": train, "test": test} | ({"val": test + generator.normal(0, 0.004)} if validation else {})
            for split, accuracy in splits.items():
                loss = -1.3 * np.log(accuracy - 0.01) + 0.1 * (1 - accuracy)
                metrics = {"acc": accuracy, "loss": loss} | ({} if split == "train" else {"ece": (1 - accuracy) / 4})
                rows += [f"{seed},{epoch},{split},{metric},{value:.9g}" for metric, value in metrics.items()]
    folder.mkdir(parents=True)
    (folder / "record.csv").write_text("\n".join(rows) + "\n")
    times = np.random.default_rng(position).uniform(2.4, 2.6, epochs) * (1 + 0.1 * position) * len(seeds) / 10
    about = {
        "name": variant["name"],
        "data": {
            "source": source,
            "sizes": {"train": 60000, "test": 10000},
            "fingerprints": {"train": "1f243a60b4b748a4", "test": "9a494dc49efeb996"},
        },
        "config": variant["config"],
        "status": "finished",
        "key": variant["key"],
        "device": "cpu",
        "versions": {"python": "3.11.7", "fashionreg": "0.1.0", "torch": "2.15.0", "lightning": "2.6.6"},
        "machine": {"system": "Linux", "processor": "x86_64"},
        "git_commit": "153cc6aed419",
        "seeds": seeds,
        "epoch_seconds": [round(float(value), 4) for value in times],
    }
    (folder / "record.json").write_text(json.dumps(about, indent=2))
