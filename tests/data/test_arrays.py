"""Own arrays: from files and from Python, trained, tested and shown under their own classes; faults in one line."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler

from fashionreg.data.datamodules import ArrayDataModule
from fashionreg.errors import UserError
from fashionreg.models import BaselineMLP
from fashionreg.training.fit import EXPECTED_WARNINGS
from samples import message

DIGITS = load_digits()
PIXELS = (DIGITS.images * 15).astype(np.uint8)


def every(module):
    """All rows as a network sees them with their classes, in no order."""
    parts = [part for part in (module.splits.train, module.splits.val, module.splits.test) if part is not None]
    names = np.array(module.class_names)
    return {
        (image.numpy().tobytes(), str(names[label]))
        for part in parts
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }


EXPECTED = {(image.tobytes(), f"digit {label}") for image, label in zip(PIXELS, DIGITS.target, strict=True)}
NAMES = [f"digit {number}" for number in range(10)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ArrayDataModule(images=PIXELS, labels=DIGITS.target, class_names=NAMES),
        lambda: ArrayDataModule(images=torch.tensor(PIXELS), labels=torch.tensor(DIGITS.target), class_names=NAMES),
        lambda: ArrayDataModule(images=PIXELS, labels=np.array(NAMES)[DIGITS.target]),
        lambda: ArrayDataModule(images=PIXELS, labels=pd.Series(np.array(NAMES)[DIGITS.target])),
        lambda: ArrayDataModule("named.npz"),
        lambda: ArrayDataModule("images.npy", "labels.npy", class_names=NAMES),
    ],
    ids=["arrays", "tensors", "texts", "pandas", "npz", "npy"],
)
def test_images_and_names_of_classes_come_through_from_everywhere(workplace, make):
    np.savez("named.npz", images=PIXELS, labels=DIGITS.target, class_names=NAMES)
    np.save("images.npy", PIXELS)
    np.save("labels.npy", DIGITS.target)
    module = make()
    assert module.image_shape == (8, 8)
    assert every(module) == EXPECTED
    assert not {"images", "labels"} & module.hparams.keys()


def test_labels_that_are_no_row_of_numbers_from_0_are_classes_by_their_numbers():
    module = ArrayDataModule(images=PIXELS, labels=DIGITS.target * 5 - 10)
    assert module.class_names == tuple(str(5 * number - 10) for number in range(10))


@pytest.mark.parametrize("standardize", [True, False])
def test_features_are_standardized_or_left_as_they_are(standardize):
    given = load_wine()
    module = ArrayDataModule(images=given.data, labels=given.target, standardize=standardize, val_size=20)
    train = module.splits.train.images
    names = {tuple(row) for row in given.data.astype(np.float32).tolist()}
    if not standardize:
        assert {tuple(row) for row in train.tolist()} <= names
        return
    shift, scale = module.splits.scaling[:, 0].numpy()
    raw = train.double().numpy() * scale + shift
    scaler = StandardScaler().fit(raw)
    # float32 keeps a value to eps; the largest feature is 1,680
    np.testing.assert_allclose(scaler.mean_, shift, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(scaler.scale_, scale, rtol=1e-6)


def test_a_file_is_trained_tested_and_shown_under_its_own_classes(run, workplace):
    np.savez("mine.npz", images=PIXELS, labels=DIGITS.target, class_names=NAMES)
    Path("mine.yaml").write_text(
        "name: mine\ndata: {class_path: ArrayDataModule, init_args: {path: mine.npz, split: by_seed}}\n"
        "model: {class_path: RegularizedMLP, init_args: {hidden_sizes: [16]}}\n"
        "trainer: {max_epochs: 1, accelerator: cpu, callbacks: [fashionreg.callbacks.TestFigures]}\n"
    )
    code, out, err = run("fit", "--config", "mine.yaml", "--seeds", 2)
    assert (code, err) == (0, "")
    assert "on NumPy file mine.npz" in out
    last = "logs/mine/version_0/checkpoints/last.ckpt"
    assert run("test", "--ckpt_path", last)[0] == 0
    assert pd.read_csv("logs/mine/test_0/by_class.csv")["class"][:10].tolist() == NAMES
    pd.DataFrame(PIXELS[:5].reshape(5, 64)).to_csv("rows.csv", index=False)
    code, _, err = run("predict", "--ckpt_path", last, "--images", "rows.csv")
    assert code == 0, err
    assert set(pd.read_csv("predictions.csv")["class"]) <= set(NAMES)


def saved(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def pickled():
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([{}, {}], dtype=object), labels=np.arange(2))
    return buffer.getvalue()


SOME = np.zeros((40, 3))
LABELS = np.arange(40) % 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"nothing", "is not a NumPy file of numbers or texts"),
        (b"", "is not a NumPy file of numbers or texts"),
        (saved(images=SOME, labels=LABELS)[:-60], "is not a NumPy file of numbers or texts"),
        (saved(images=SOME), "has no array 'labels'"),
        (pickled(), "images: cannot be read: Object arrays cannot be loaded"),
        (saved(images=SOME, labels=LABELS[:39]), "labels: must be one for each of 40 images, got shape (39,)"),
        (saved(images=SOME, labels=LABELS / 2), "labels: must be integers or texts, got float64"),
        (saved(images=SOME, labels=LABELS * 0), "labels: all are 0, expected 2 classes or more"),
        (saved(images=SOME[:, 0], labels=LABELS), "images: must be (N, height, width) or (N, D), got shape (40,)"),
        (saved(images=SOME.astype(complex), labels=LABELS), "images: must be uint8 or numbers, got complex128"),
        (saved(images=SOME * np.nan, labels=LABELS), "images[0, 0]: is nan, expected a finite number"),
        (
            saved(images=SOME, labels=LABELS, class_names=["a"]),
            "labels[1]: is 1, expected 0 to 0, as there are",
        ),
        (saved(images=SOME, labels=LABELS, class_names=["a", "a"]), "class_names[1]: 'a' is there twice"),
        (saved(images=SOME, labels=LABELS, class_names=[1, 2]), "class_names: must be texts"),
    ],
)
def test_a_file_that_will_not_do_is_refused_in_one_line(tmp_path, content, fault):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        ArrayDataModule(str(path)).setup("fit")
    assert fault in message(error)


def test_no_more_is_unpacked_than_a_file_may_have(tmp_path, monkeypatch):
    monkeypatch.setattr("fashionreg.data.datamodules.arrays.MAX_FILE", 100_000)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(10_000_000))
        archive.writestr("labels.npy", b"")
    with pytest.raises(UserError) as error:
        ArrayDataModule(str(tmp_path / "x.npz")).setup("fit")
    assert message(error).endswith("x.npz: has more than 100,000 bytes, unpacked; split it into smaller files")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "path: must name an .npz or .npy file"),
        ({"path": "a.npz", "images": SOME}, "path: must name an .npz or .npy file"),
        ({"images": SOME}, "labels: must be given with images"),
        ({"path": "a.npy"}, "labels_path: must name the .npy file of the labels of a.npy"),
        ({"path": "a.npz", "labels_path": "b.npy"}, "labels_path: a.npz holds the labels; leave it out"),
        ({"path": "a.npz"}, "a.npz: no such NumPy file"),
        ({"images": SOME, "labels": LABELS, "class_names": ["a", "b", "c"]}, "class_names: must be 2"),
    ],
)
def test_options_that_do_not_go_together_are_refused(workplace, options, fault):
    with pytest.raises(UserError) as error:
        ArrayDataModule(**options).setup("fit")
    assert fault in message(error)


@pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))
def test_arrays_train_in_python_with_lightnings_trainer(workplace):
    data = ArrayDataModule(images=PIXELS, labels=np.array(NAMES)[DIGITS.target], val_size=0.1)
    model = BaselineMLP([16])
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=1, num_sanity_val_steps=0, default_root_dir=workplace, **options)
    trainer.fit(model, datamodule=data)
    assert model.shape == (64, 10)
    # the checkpoint holds no arrays
    (path,) = workplace.rglob("*.ckpt")
    assert not {"images", "labels"} & torch.load(path, weights_only=True)["datamodule_hyper_parameters"].keys()
