"""Images in TensorBoard: that they are there, and the numbers in the figures against scikit-learn and brute force."""

import io
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torchmetrics.functional.classification import multiclass_calibration_error

from fashionreg import callbacks
from fashionreg.data import figures as grids
from fashionreg.data.batches import ResidentImages, evaluation_loader
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.models import RegularizedMLP
from fashionreg.runs import figures
from fashionreg.runs.checkpoint import read_checkpoint
from fashionreg.runs.evaluation import Answers, accuracy_by_class, answers, mistakes, reliability
from samples import PIXELS, rounding

WATCHED = """\
trainer:
  callbacks:
    - class_path: fashionreg.callbacks.TrainingImages
    - class_path: fashionreg.callbacks.TestFigures
    - class_path: fashionreg.callbacks.Histograms
"""
AT_THE_END = {"test/confusion_matrix", "test/class_accuracy", "test/worst_mistakes", "test/reliability"}


@pytest.fixture
def watched(run, workplace):
    """Fits `tiny.yaml` with all three callbacks."""
    (workplace / "watched.yaml").write_text(WATCHED)

    def watched(*arguments):
        code, out, err = run("fit", "--config", "tiny.yaml", "--config", "watched.yaml", *arguments)
        assert (code, err) == (0, "")
        return out

    watched.run = run
    return watched


def images(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"]}


def steps(folder):
    return {tag: [event.step for event in found] for tag, found in images(folder).items()}


def test_pictures_are_png_images_before_the_first_and_after_the_last_epoch(watched):
    watched("--seeds", 3, "--data.init_args.val_size", 50)
    found = images("logs/tiny/version_0")
    assert found.keys() == AT_THE_END | {"train/images"}
    for tag, events in found.items():
        assert [event.step for event in events] == [0 if tag == "train/images" else 2]
        (event,) = events
        picture = Image.open(io.BytesIO(event.encoded_image_string))
        assert (picture.format, picture.size) == ("PNG", (event.width, event.height))
        assert min(picture.size) >= 500
        assert len(set(picture.convert("L").tobytes())) > 50


def test_a_resumed_run_draws_images_at_its_end_and_its_checkpoints_hold_plain_data(watched):
    watched("--seeds", 2)
    last = Path("logs/tiny/version_0/checkpoints/last.ckpt")
    saved = read_checkpoint(last)["callbacks"].keys()
    assert not {"TrainingImages", "TestFigures", "Histograms"} & saved
    assert watched.run("fit", "--ckpt_path", last, "--trainer.max_epochs", 3)[0] == 0
    assert steps("logs/tiny/version_1") == {tag: [3] for tag in AT_THE_END} | {"train/images": [0]}


@contextmanager
def no_figures():
    """Make every import of the figures fail."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("fashionreg.runs.figures", "fashionreg.data.figures"):
            patch.setitem(sys.modules, module, None)
            patch.delattr(module)
        yield


def test_other_commands_work_on_such_a_run_and_draw_nothing(watched):
    watched()
    last = "logs/tiny/version_0/checkpoints/last.ckpt"
    Image.new("L", (28, 28)).save("one.png")
    with no_figures():
        assert watched.run("validate", "--ckpt_path", last)[0] == 0
        assert watched.run("predict", "--ckpt_path", last, "--images", "one.png")[0] == 0
    assert watched.run("test", "--ckpt_path", last)[0] == 0


def test_training_is_the_same_with_and_without_callbacks(watched):
    watched("--seeds", 2)
    assert watched.run("fit", "--config", "tiny.yaml", "--seeds", 2)[0] == 0
    with_them, without = (Path(f"logs/tiny/version_{n}") for n in (0, 1))
    assert (with_them / "record.csv").read_text() == (without / "record.csv").read_text()
    states = [read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (with_them, without)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.logger", "false"],
        ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "csv"],
        ["--trainer.fast_dev_run", "true"],
    ],
    ids=" ".join,
)
def test_without_tensorboard_nothing_is_drawn(watched, arguments):
    with no_figures():
        watched(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trainer.precision", "bf16-mixed", "--seeds", "2"],
        ["--model.init_args.hidden_sizes", "[]", "--trainer.max_steps", "5", "--trainer.limit_val_batches", "0"],
        ["--data.init_args.test_size", "1", "--data.init_args.train_size", "5"],
    ],
    ids=" ".join,
)
def test_the_trainers_own_options_work_with_pictures(watched, arguments):
    watched(*arguments)
    assert steps("logs/tiny/version_0") == {tag: [2] for tag in AT_THE_END} | {"train/images": [0]}


def test_custom_scalars_show_the_curves_of_all_splits_in_one_chart(run):
    arguments = ["--seeds", 2, "--data.init_args.val_size", 50, "--trainer.max_epochs", 1]
    assert run("fit", "--config", "tiny.yaml", *arguments)[0] == 0
    events = EventAccumulator("logs/tiny/version_0")
    events.Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    curves = events.Tags()["scalars"]
    for title, metric in (("accuracy", "acc"), ("loss", "loss")):
        # the server matches patterns at the beginning of a tag
        drawn = {tag for pattern in charts[title] for tag in curves if re.match(pattern, tag)}
        assert drawn == {f"{split}/{metric}" for split in ("train", "val", "test")}


# ------------------------------------------------------------------------------------- the numbers in the figures


@pytest.fixture
def behind(watched, monkeypatch):
    """Fits with three seeds; returns what each figure was given, and the truth from plain networks."""
    given = {}
    names = {figures: ("confusion_matrix", "class_accuracy", "reliability_diagram")}
    names[grids] = ("worst_mistakes", "image_grid")
    for module, name in ((module, name) for module, several in names.items() for name in several):
        draw = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, name=name, draw=draw, **k: given.update({name: a}) or draw(*a, **k)
        )
    watched("--seeds", 3)
    data = SyntheticDataModule(train_size=200, test_size=50, batch_size=64).splits
    model = RegularizedMLP.load_from_checkpoint("logs/tiny/version_0/checkpoints/last.ckpt", map_location="cpu")
    pixels = data.test.images.flatten(1) / 255
    plain = [model.network.replica(index).eval()(pixels).softmax(dim=1).detach() for index in range(3)]
    return given, data, torch.stack(plain)


def test_numbers_behind_the_pictures_are_those_of_plain_networks(behind):
    given, data, probabilities = behind
    truth, predicted = data.test.labels.numpy(), probabilities.argmax(dim=2).numpy()

    counts, _ = given["confusion_matrix"]
    expected = confusion_matrix(np.tile(truth, 3), predicted.ravel(), labels=range(10))
    np.testing.assert_array_equal(counts, expected)

    accuracy, _ = given["class_accuracy"]
    recalls = [recall_score(truth, row, labels=range(10), average=None, zero_division=np.nan) for row in predicted]
    np.testing.assert_allclose(accuracy, recalls)

    (shown,) = given["image_grid"]
    assert torch.equal(shown.images, data.train.images)

    pictures, wrong, probability = given["worst_mistakes"]
    mean = probabilities.mean(dim=0).numpy()
    ranked = sorted(((mean[n].max(), n) for n in range(50) if mean[n].argmax() != truth[n]), key=lambda pair: -pair[0])[
        :16
    ]
    assert len(ranked) > 3
    np.testing.assert_allclose(probability, [share for share, _ in ranked], rtol=rounding(PIXELS, 1))
    numbers = [n for _, n in ranked]
    assert torch.equal(pictures.images, data.test.images[numbers])
    assert wrong.tolist() == mean[numbers].argmax(axis=1).tolist()

    counts, sure, right = given["reliability_diagram"]
    confidence = probabilities.amax(dim=2).flatten().numpy()
    correct = (predicted == truth).ravel()
    by_bin, mean_confidence = calibration_curve(correct, confidence, n_bins=15)
    assert (len(counts), counts.sum()) == (15, 150)
    np.testing.assert_allclose(right[counts > 0], by_bin)
    np.testing.assert_allclose(sure[counts > 0], mean_confidence, rtol=rounding(PIXELS, 1))


def test_calibration_error_of_one_seed_is_that_of_its_curve(watched, monkeypatch):
    titles = []
    draw = figures.reliability_diagram
    monkeypatch.setattr(
        figures, "reliability_diagram", lambda *a: titles.append(draw(*a).axes[0].get_title()) or draw(*a)
    )
    watched()
    record = pd.read_csv("logs/tiny/version_0/record.csv").query("epoch == 2 and metric == 'ece'")
    assert titles == [f"Expected calibration error: {100 * record.value.item():.2f}%"]


def random_answers(replicas=2, count=400):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(replicas, count, 10, generator=generator).mul(2).softmax(dim=-1)
    confidence, predicted = probabilities.max(dim=-1)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return Answers(labels, predicted, confidence, probabilities.mean(dim=0)), probabilities


def test_reliability_gives_the_calibration_error_of_torchmetrics():
    given, probabilities = random_answers()
    counts, sure, right = reliability(given, 15)
    error = (counts * np.abs(sure - right)).sum() / counts.sum()
    expected = multiclass_calibration_error(probabilities.flatten(0, 1), given.labels.repeat(2), 10, n_bins=15)
    assert error == pytest.approx(expected.item(), abs=rounding(800, 1))
    title = figures.reliability_diagram(counts, sure, right).axes[0].get_title()
    assert title == f"Expected calibration error: {100 * error:.2f}%"


def test_correct_predictions_are_not_among_the_mistakes_even_if_these_are_few():
    given, _ = random_answers(1)
    taken = given.probabilities.argmax(dim=1)
    numbers, _, _ = mistakes(Answers(taken, given.predicted, given.confidence, given.probabilities), 16)
    assert len(numbers) == 0
    one = taken.clone()
    one[7] = (one[7] + 1) % 10
    numbers, predicted, _ = mistakes(Answers(one, given.predicted, given.confidence, given.probabilities), 16)
    assert (numbers.tolist(), predicted.tolist()) == ([7], [taken[7]])


def test_a_class_without_images_has_no_accuracy():
    counts = np.zeros((1, 3, 3), dtype=np.int64)
    counts[0, 0] = [3, 1, 0]
    counts[0, 1, 1] = 2
    np.testing.assert_array_equal(accuracy_by_class(counts), [[0.75, 1, np.nan]])


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_network_is_restored(training):
    network = (
        RegularizedMLP(hidden_sizes=[8], batch_norm=True, dropout=0.5, seeds=[0, 1])
        .build(784, 10)
        .network.train(training)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    test = ResidentImages(SyntheticDataModule(10, 30).splits.test, torch.device("cpu"), normalize=False)
    answers(network, evaluation_loader(test, 2))
    assert all(module.training is training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Diverges(Callback):
    """Set a replica, or all of them, to NaN after the last evaluation."""

    def __init__(self, replicas):
        self.replicas = replicas

    def on_validation_end(self, trainer, pl_module):
        with torch.no_grad():
            pl_module.network.layers[0].weight[self.replicas] = torch.nan


@pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec)")
@pytest.mark.parametrize(
    ("replicas", "pictures", "histograms"),
    [([0], AT_THE_END, {"weights/linear1.bias", "weights/linear2.weight"}), ([0, 1], set(), set())],
)
def test_a_network_that_diverged_is_drawn_as_far_as_it_can_be(tmp_path, replicas, pictures, histograms):
    watching = [
        Diverges(replicas),
        callbacks.TestFigures(),
        callbacks.Histograms(replica=0),
        callbacks.TrainingImages(),
    ]
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=TensorBoardLogger(tmp_path),
        callbacks=watching,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = RegularizedMLP(hidden_sizes=[8], seeds=[0, 1]).build(784, 10)
    trainer.fit(model, datamodule=SyntheticDataModule(200, 50, seeds=[0, 1]))
    folder = tmp_path / "lightning_logs" / "version_0"
    assert images(folder).keys() == pictures | {"test/confusion_matrix", "test/class_accuracy", "train/images"}
    events = EventAccumulator(str(folder))
    events.Reload()
    found = set(events.Tags()["histograms"])
    assert found >= histograms
    assert "gradients/linear1.weight" in found
    assert not {"weights/linear1.weight", "pre_activations/relu1"} & found
