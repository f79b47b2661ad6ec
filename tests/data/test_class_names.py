"""Class names come from the data, else they are numbers; nothing but Fashion-MNIST is shown under its names."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from fashionreg.data.csv_files import read_csv, write_csv
from fashionreg.data.datamodules import CSVDataModule
from fashionreg.data.garments import draw_garments
from fashionreg.data.images import CLASS_NAMES, LabelledImages, is_fashion_mnist
from fashionreg.data.sources import read_fashion_mnist
from fashionreg.data.splits import stratified_subset
from fashionreg.errors import UserError
from samples import message, random_images

NUMBERS = tuple(map(str, range(10)))


def digits():
    """Real digits of scikit-learn, 8 x 8 pixels of 0 to 16, in the form of Fashion-MNIST."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.zeros(len(labels), 28, 28, dtype=torch.uint8)
    small = torch.from_numpy(pixels).view(-1, 8, 8).mul(255 / 16).round().byte()
    images[:, 2:26, 2:26] = small.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    return LabelledImages(images, torch.from_numpy(labels).long())


@pytest.mark.realdata
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [100, 1000, 6000])
def test_every_stratified_subset_of_fashion_mnist_is_recognized(real_data, train, size):
    data = read_fashion_mnist(real_data, train)
    for seed in range(20):
        part = data[stratified_subset(data.labels, size, seed)]
        assert is_fashion_mnist(part.images, part.labels)
        # the same images under shuffled labels are something else
        assert not is_fashion_mnist(part.images, part.labels.roll(1))


@pytest.mark.parametrize(
    "data", [digits(), draw_garments(2000, 0), random_images(600)], ids=["digits", "drawn", "noise"]
)
def test_other_images_in_the_same_form_have_numbers(tmp_path, data):
    write_csv(data, tmp_path / "other.csv")
    assert read_csv(tmp_path / "other.csv").names == NUMBERS
    module = CSVDataModule(str(tmp_path / "other.csv"), split="by_seed")
    assert module.class_names == NUMBERS


def test_a_file_has_the_classes_that_are_in_it_and_no_others(tmp_path):
    images = random_images(80).images
    write_csv(LabelledImages(images, torch.arange(80) % 4), tmp_path / "four.csv")
    module = CSVDataModule(str(tmp_path / "four.csv"))
    assert module.class_names == ("0", "1", "2", "3")
    named = CSVDataModule(str(tmp_path / "four.csv"), class_names=["ant", "bee", "cat", "dog"])
    assert named.class_names == ("ant", "bee", "cat", "dog")
    assert named.describe()["fingerprints"] == module.describe()["fingerprints"]


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["a", "b"], "class_names: must be 4, as {path} has classes, got 2"),
        (["a", "b", "c", "a"], "class_names[3]: 'a' is there twice; names must differ"),
        (["a", "b", "c", " "], "class_names[3]: must be a name that can be printed, got ' '"),
        (["a", "\x1b[2J", "c", "d"], r"class_names[1]: must be a name that can be printed, got '\x1b[2J'"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, names, fault):
    path = tmp_path / "four.csv"
    write_csv(LabelledImages(random_images(80).images, torch.arange(80) % 4), path)
    with pytest.raises(UserError) as error:
        CSVDataModule(str(path), class_names=names).setup("fit")
    assert message(error) == fault.format(path=path)


def test_a_run_on_digits_shows_digits_from_training_to_predictions(run, workplace):
    data = digits()
    write_csv(data[:500], workplace / "digits.csv")
    write_csv(data[500:503], workplace / "new.csv")
    (workplace / "digits.yaml").write_text(
        "name: digits\ndata: {class_path: CSVDataModule, init_args: {path: digits.csv, batch_size: 64}}\n"
        "model: {class_path: BaselineMLP, init_args: {hidden_sizes: [8]}}\n"
    )
    code, _, err = run("fit", "--config", "digits.yaml", "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu")
    assert code == 0, err
    last = "logs/digits/version_0/checkpoints/last.ckpt"
    code, out, err = run("test", "--ckpt_path", last)
    assert code == 0, err
    assert list(pd.read_csv("logs/digits/test_0/by_class.csv", dtype=str)["class"][:10]) == list(NUMBERS)
    # the data need not be there any more
    Path("digits.csv").unlink()
    code, predicted, err = run("predict", "--ckpt_path", last, "--images", "new.csv")
    assert code == 0, err
    table = pd.read_csv("predictions.csv", dtype={"class": str})
    assert tuple(table.columns[-10:]) == NUMBERS
    assert set(table["class"]) <= set(NUMBERS)
    assert not any(name in out + predicted for name in CLASS_NAMES)
