import numpy as np
import pytest
import torch

from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import CSVDataModule, FashionMNISTDataModule, SyntheticDataModule
from fashionreg.data.images import LabelledImages
from fashionreg.errors import UserError
from samples import message, random_images, same

COUNT = 600


@pytest.fixture
def csv(tmp_path):
    data = random_images(COUNT)
    write_csv(LabelledImages(data.images, torch.arange(COUNT) % 10), tmp_path / "small.csv")
    return tmp_path / "small.csv"


@pytest.fixture
def fashion_mnist(monkeypatch):
    """FashionMNISTDataModule over small random images in place of the official ones."""
    data = {True: random_images(COUNT), False: random_images(100, seed=1)}
    monkeypatch.setattr("fashionreg.data.datamodules.fashion_mnist.read_fashion_mnist", lambda root, train: data[train])
    return FashionMNISTDataModule, data


def rows(data):
    return {image.numpy().tobytes() for image in data.images}


def test_csv_is_split_into_disjoint_parts_with_equal_shares_of_classes(csv):
    splits = CSVDataModule(str(csv), test_size=0.2, val_size=0.25).splits
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [360, 120, 120]
    for part in (splits.train, splits.val, splits.test):
        assert part.labels.bincount().tolist() == [len(part) // 10] * 10
    assert len(rows(splits.train) | rows(splits.val) | rows(splits.test)) == COUNT


def test_split_depends_on_split_seed_alone(csv):
    first, other_seeds, other_split = (
        CSVDataModule(str(csv), **arguments).splits.test
        for arguments in ({"seeds": [0]}, {"seeds": [5, 6]}, {"split_seed": 1})
    )
    assert same(first, other_seeds)
    assert not same(first, other_split)


def test_official_test_images_are_the_test_split_and_nothing_else(fashion_mnist):
    module, data = fashion_mnist
    splits = module(train_size=300, val_size=100).splits
    assert same(splits.test, data[False])
    assert (len(splits.train), len(splits.val)) == (200, 100)
    assert len(rows(splits.train) | rows(splits.val)) == 300
    assert rows(splits.train) | rows(splits.val) <= rows(data[True])


@pytest.mark.parametrize(
    ("size", "images"), [(None, 600), (1.0, 600), (600, 600), (300, 300), (300.0, 300), (0.5, 300)]
)
def test_train_size_is_a_number_of_images_or_a_share(fashion_mnist, size, images):
    module, _ = fashion_mnist
    assert len(module(train_size=size).splits.train) == images


def test_no_synthetic_image_is_in_two_splits():
    splits = SyntheticDataModule(train_size=300, test_size=100, val_size=50).splits
    assert len(rows(splits.train) | rows(splits.val) | rows(splits.test)) == 400


@pytest.mark.parametrize("normalize", [False, True])
def test_batches_hold_the_images_that_the_sampler_names(csv, normalize):
    module = CSVDataModule(str(csv), batch_size=100, normalize=normalize, seeds=[2, 3, 4])
    loader = module.train_dataloader()
    train = module.splits.train
    pixels = train.images.flatten(1).numpy().astype(np.float32) / 255
    expected = (pixels - 0.2860) / 0.3530 if normalize else pixels
    batches = list(loader)
    assert [tuple(labels.shape) for _, labels in batches] == [(3, 100)] * 4 + [(3, 80)]
    for (images, labels), index in zip(batches, loader.sampler, strict=True):
        assert images.dtype == torch.float32
        assert torch.equal(labels, train.labels[index])
        np.testing.assert_allclose(images.numpy(), expected[index.numpy()], rtol=1e-5, atol=1e-6)


def test_evaluation_shows_every_image_once_in_its_own_order(monkeypatch, csv):
    monkeypatch.setattr("fashionreg.data.batches.EVALUATION_CHUNK", 50)
    module = CSVDataModule(str(csv))
    loaders = module.test_dataloader()
    assert list(loaders) == ["test", "train"]
    labels = torch.cat([labels for _, labels in loaders["test"]])
    assert torch.equal(labels, module.splits.test.labels)


def test_val_is_evaluated_where_there_is_one(csv):
    assert list(CSVDataModule(str(csv)).val_dataloader()) == ["test"]
    assert list(CSVDataModule(str(csv), val_size=60).val_dataloader()) == ["val", "test"]


def test_description_says_source_sizes_and_fingerprints(csv):
    module = CSVDataModule(str(csv), val_size=60)
    about = module.describe()
    assert about["source"] == "CSV small.csv"
    assert about["sizes"] == {"train": 420, "val": 60, "test": 120}
    assert about["fingerprints"]["test"] == module.splits.test.fingerprint()
    assert len(set(about["fingerprints"].values())) == 3


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"batch_size": 0}, "batch_size: must be at least 1, got 0"),
        ({"val_size": -1}, "val_size: must not be negative, got -1"),
        ({"test_size": 601}, "test_size: must be a number of images from 2 to 600 or a share between 0 and 1, got 601"),
        ({"test_size": 1.0}, "small.csv: test_size: must leave some of the 600 images, got 1.0"),
        ({"test_size": 5}, "test_size: cannot draw 5 of 600 images stratified by 10 classes"),
        ({"val_size": 480}, "val_size: must leave some of the 480 images, got 480"),
    ],
)
def test_an_impossible_option_of_the_csv_is_named(csv, arguments, fault):
    with pytest.raises(UserError) as error:
        CSVDataModule(str(csv), **arguments).setup("fit")
    assert fault in message(error)


def test_a_class_too_rare_to_split_is_named_with_the_file(tmp_path):
    data = random_images(41)
    write_csv(LabelledImages(data.images, torch.tensor([3] + [0, 1] * 20)), tmp_path / "rare.csv")
    with pytest.raises(UserError) as error:
        CSVDataModule(str(tmp_path / "rare.csv")).setup("fit")
    assert "rare.csv: test_size: class 3 has a single image" in message(error)


@pytest.mark.parametrize("field", ["train_size", "test_size"])
def test_an_empty_synthetic_split_is_refused(field):
    with pytest.raises(UserError, match=f"{field}"):
        SyntheticDataModule(**{field: 0})


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("split", ["fixed", "by_seed"])
def test_data_say_what_an_image_is_and_what_black_and_white_are_as_inputs(csv, normalize, split):
    data = CSVDataModule(str(csv), normalize=normalize, split=split)
    assert data.image_shape == (28, 28)
    assert data.inputs == 784
    # of 470,000 random pixels some are 0, and some 255
    inputs, _ = data.resident(LabelledImages(random_images(COUNT).images, torch.arange(COUNT)))[torch.arange(COUNT)]
    assert data.pixel_range == (inputs.min().item(), inputs.max().item())


def test_drawn_images_that_are_changed_are_not_those_that_another_module_gets():
    one, other = (SyntheticDataModule(train_size=30, test_size=10, data_seed=7) for _ in range(2))
    before = one.splits.train.images.clone()
    one.splits.train.images.zero_()
    assert torch.equal(other.splits.train.images, before)
