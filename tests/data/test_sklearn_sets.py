"""The data sets of scikit-learn: scaled as scikit-learn scales them, and usable from training to predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import fashionreg as fr
from fashionreg.data.datamodules import SklearnDataModule
from fashionreg.data.images import ImagesBySeed
from fashionreg.errors import UserError
from fashionreg.runs.checkpoint import read_checkpoint
from fashionreg.runs.contents import check_contents
from samples import message

TABLES = ["breast_cancer", "wine", "iris"]
EPS = np.finfo(np.float32).eps


@pytest.mark.parametrize("name", TABLES)
def test_features_are_standardized_by_the_training_split_as_scikit_learn_does_it(name):
    module = SklearnDataModule(name, test_size=0.2, split_seed=3)
    given = getattr(datasets, f"load_{name}")()
    rows = np.arange(len(given.data))
    count = round(0.2 * len(rows))
    test, _ = train_test_split(rows, train_size=count, random_state=3, stratify=given.target)
    train = np.setdiff1d(rows, test)
    scaler = StandardScaler().fit(given.data[train])
    for part, index in ((module.splits.train, train), (module.splits.test, test)):
        expected = scaler.transform(given.data[index])
        # mean and deviation are rounded to float32: an error of eps of a value, in units of the deviation
        bound = 2 * EPS * (1 + np.abs(given.data / scaler.scale_).max())
        assert part.images.dtype == torch.float32
        np.testing.assert_allclose(part.images.numpy(), expected, rtol=4 * EPS, atol=bound)
        np.testing.assert_array_equal(part.labels, given.target[index])
    assert module.class_names == tuple(given.target_names)
    assert module.image_shape == (given.data.shape[1],)


def test_digits_are_pictures_of_0_to_1():
    module = SklearnDataModule("digits", test_size=97)
    given = datasets.load_digits()
    assert module.image_shape == (8, 8)
    assert module.pixel_range == (0.0, 1.0)
    assert module.class_names == tuple("0123456789")
    rows = {image.tobytes() for image in (given.images / 16).astype(np.float32)}
    found = torch.cat([module.splits.train.images, module.splits.test.images])
    assert {image.numpy().tobytes() for image in found} == rows


def test_each_seed_has_its_own_split_standardized_by_its_own_training_rows_alone_and_among_others():
    together = SklearnDataModule("wine", val_size=20, split="by_seed", seeds=[4, 9]).splits
    for replica, seed in enumerate([4, 9]):
        alone = SklearnDataModule("wine", val_size=20, split="by_seed", seeds=[seed]).splits
        for name in ("train", "val", "test"):
            one, other = getattr(alone, name), getattr(together, name)
            assert isinstance(other, ImagesBySeed)
            assert torch.equal(one.of(0).images, other.of(replica).images)
            assert torch.equal(one.of(0).labels, other.of(replica).labels)
        train = together.train.of(replica).images.double()
        np.testing.assert_allclose(train.mean(dim=0), 0, atol=1e-5)
        np.testing.assert_allclose(train.std(dim=0, correction=0), 1, atol=1e-5)
    assert not torch.equal(together.test.of(0).images, together.test.of(1).images)


CONFIG = """\
name: own
model: {class_path: RegularizedMLP, init_args: {hidden_sizes: [8], optimizer: {class_path: SGD, init_args: {lr: 0.1}}}}
trainer:
  max_epochs: 30
  accelerator: cpu
  callbacks: [fashionreg.callbacks.TrainingImages, fashionreg.callbacks.TestFigures]
"""
LAST = "logs/own/version_0/checkpoints/last.ckpt"


def fit(run, dataset, *options):
    Path("own.yaml").write_text(CONFIG)
    words = ["--data", "SklearnDataModule", "--data.init_args.dataset", dataset]
    return run("fit", "--config", "own.yaml", *words, *options)


@pytest.mark.parametrize("split", ["fixed", "by_seed"])
def test_a_table_is_trained_tested_predicted_and_exported_under_its_own_classes(run, workplace, split):
    by_split = ["--data.init_args.split", split, "--data.init_args.val_size", 60]
    code, out, err = fit(run, "breast_cancer", "--seeds", "[3, 8]", *by_split)
    assert (code, err) == (0, "")
    assert "on scikit-learn breast_cancer" in out
    code, out, err = run("test", "--ckpt_path", LAST)
    assert code == 0, err
    table = pd.read_csv("logs/own/test_0/by_class.csv").query("split == 'test'")
    assert table["class"].tolist() == ["malignant", "benign"]
    # a linear model is right about 97%
    assert pd.read_csv("logs/own/test_0/metrics.csv").query("split == 'test' and metric == 'acc'").value.min() > 0.9

    given = datasets.load_breast_cancer(as_frame=True)
    given.data.to_csv("rows.csv", index=False)
    code, out, err = run("predict", "--ckpt_path", LAST, "--images", "rows.csv")
    assert code == 0, err
    predicted = pd.read_csv("predictions.csv")
    assert (predicted.label == given.target).mean() > 0.95
    # the plain network of a seed takes the numbers as they are
    rows = torch.tensor(given.data.to_numpy(), dtype=torch.float32)
    plain = [fr.Run.load("logs/own/version_0").network(seed)(rows).softmax(dim=1) for seed in (3, 8)]
    mean = torch.stack(plain).mean(dim=0).detach().numpy()
    # inputs are off by eps times their mean over their deviation, which is below 20; the network does little to that
    np.testing.assert_allclose(predicted[["malignant", "benign"]].to_numpy(), mean, atol=1e-4)
    code, out, err = run("export", "--ckpt_path", LAST, "--format", "torch", "--out", "net.pt")
    assert code == 0, err
    assert "the numbers as they are in the data" in out


def test_digits_are_trained_with_regularizers_of_pictures_and_tables_are_refused_to_these(run, workplace, refusal):
    shift = ["--model.init_args.regularizers={shift: {class_path: RandomShift, init_args: {pixels: 1}}}"]
    code, _, err = fit(run, "digits", *shift)
    assert (code, err) == (0, "")
    Path("logs").rename("before")
    words = ["--data", "SklearnDataModule", "--data.init_args.dataset", "wine"]
    _, line = refusal("fit", "--config", "own.yaml", *words, *shift)
    assert "shift" in line
    assert "needs images with height and width, and the data have 13 inputs" in line


def test_a_study_of_a_table_is_carried_out(run, workplace):
    Path("own.yaml").write_text(CONFIG.replace("30", "2") + "data: {class_path: SklearnDataModule}\n")
    Path("study.yaml").write_text(
        "name: own\nseeds: 2\nshared: [own.yaml, {data: {init_args: {dataset: iris, split: by_seed}}}]\n"
        "variants: {plain: [], bn: [{model: {init_args: {batch_norm: true}}}]}\n"
    )
    code, _, err = run("study", "study.yaml")
    assert code == 0, err
    assert "scikit-learn iris" in Path("logs/studies/own/report.md").read_text()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,b,c\n1,2,3\n", "line 1: 3 columns, expected 4, as the network takes inputs, and at most one of classes"),
        ("a,b,c,d\n1,2,3\n", "line 2: 3 values, expected 4"),
        ("a,b,c,d\n1,2,3,4\n1,,3,4\n", "line 3, column 'b': no value, expected a number"),
        ("a,b,c,d\n1,NaN,3,4\n", "line 2, column 'b': value 'NaN', expected a number"),
        ("a,b,c,d\n1,2,1e99,4\n", "line 2, column 'c': value '1e99', expected a number"),
        ("a,b,c,d\n", "line 1 is the only one"),
    ],
)
def test_rows_that_the_network_does_not_take_are_refused(iris_run, refusal, text, fault):
    Path("rows.csv").write_text(text)
    _, line = refusal("predict", "--ckpt_path", LAST, "--images", "rows.csv")
    assert "rows.csv: " in line
    assert fault in line


@pytest.fixture
def iris_run(run, workplace):
    code, _, err = fit(run, "iris", "--trainer.max_epochs", 1)
    assert code == 0, err


def test_pictures_are_not_given_to_a_network_of_features(iris_run, refusal):
    Path("x.png").write_bytes(b"")
    _, line = refusal("predict", "--ckpt_path", LAST, "--images", "x.png")
    assert line.endswith(
        "images: x.png: the network takes 4 features, and a picture becomes 784 pixels; give CSV files of them"
    )


@pytest.mark.parametrize(
    "value",
    [
        3,
        torch.ones(2, 1, 5).double(),
        torch.ones(2, 1, 4),
        torch.zeros(2, 1, 4).double(),
        torch.full((2, 1, 4), torch.nan).double(),
    ],
)
def test_a_checkpoint_with_another_scaling_is_refused(iris_run, value):
    checkpoint = read_checkpoint(Path(LAST))
    check_contents(checkpoint, "x")
    with pytest.raises(UserError) as error:
        check_contents(checkpoint | {"fashionreg_scaling": value}, "x")
    assert "fashionreg_scaling" in message(error)


@pytest.mark.parametrize("value", [3, ["a", "b"], ["a", "b", "a"], ["a", "b", 3]])
def test_a_checkpoint_with_other_names_of_classes_is_refused(iris_run, value):
    checkpoint = read_checkpoint(Path(LAST))
    with pytest.raises(UserError) as error:
        check_contents(checkpoint | {"fashionreg_classes": value}, "x")
    assert "its fashionreg_classes must be 3 different names" in message(error)
