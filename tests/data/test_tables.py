"""CSV files of any kind, under their own classes; what will not do is refused in one line."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits

from fashionreg.config import cache_key
from fashionreg.data.csv_files import read_csv, write_csv
from fashionreg.data.datamodules import CSVDataModule, SklearnDataModule
from fashionreg.data.images import LabelledImages
from fashionreg.data.tables import read_table
from fashionreg.errors import UserError
from samples import message, random_images, same

DIGITS = load_digits()
PIXELS = (DIGITS.data * 15).astype(int)
CANCER = load_breast_cancer(as_frame=True)
TWELVE = [f"kind {letter}" for letter in "abcdefghijkl"]


def pixel_table(names, label="label", at=0, classes=DIGITS.target):
    frame = pd.DataFrame(PIXELS, columns=names)
    frame.insert(at, label, classes)
    return frame


@pytest.mark.parametrize(
    "frame",
    [
        pixel_table([f"pixel{number}" for number in range(1, 65)]),
        pixel_table(range(64)),
        pixel_table(range(64), at=64),
        pixel_table(range(64), label="class", at=64),
        pixel_table(range(64), label="Label"),
        pixel_table([f"{row}x{column}" for row in range(1, 9) for column in range(1, 9)], label="digit"),
        pixel_table(range(64)).set_index(np.arange(len(PIXELS))),
    ],
    ids=["from 1", "0..63", "last", "class last", "Label", "row x column", "index"],
)
def test_pixels_of_any_size_are_read_whatever_the_columns_are_called(workplace, frame):
    # pandas writes the numbers of rows as a column without a name, unless told not to
    frame.to_csv("x.csv", index=frame.columns[0] == 0)
    table = read_table("x.csv", "pixels")
    np.testing.assert_array_equal(table.values, PIXELS)
    np.testing.assert_array_equal(table.labels, DIGITS.target)
    assert table.class_names == tuple("0123456789")
    module = CSVDataModule("x.csv")
    assert module.image_shape == (8, 8)
    assert module.splits.train.images.dtype == torch.uint8


def test_features_of_a_file_are_those_of_the_data_set_itself(workplace):
    # text classes stand in the order of the alphabet; in another order the same seed draws other rows
    frame = CANCER.data.assign(diagnosis=np.array(["bad", "good"])[CANCER.target])
    with gzip.open("x.csv.gz", "wt") as file:
        frame.to_csv(file, index=False)
    ours = CSVDataModule("x.csv.gz", kind="features").splits
    theirs = SklearnDataModule("breast_cancer").splits
    assert ours.train.class_names == ("bad", "good")
    assert torch.equal(ours.train.labels, theirs.train.labels)
    assert torch.equal(ours.train.images, theirs.train.images)
    assert torch.equal(ours.test.images, theirs.test.images)


def test_integer_classes_are_ordered_by_their_value(workplace):
    classes = np.array([-2, 5, 10, 100])[DIGITS.target % 4]
    pixel_table(range(64), classes=classes).to_csv("x.csv", index=False)
    table = read_table("x.csv", "pixels")
    assert table.class_names == ("-2", "5", "10", "100")
    np.testing.assert_array_equal(np.array([-2, 5, 10, 100])[table.labels], classes)


@pytest.mark.parametrize(
    "names", [range(784), [f"pixel{number}" for number in range(1, 785)]], ids=["0..783", "kaggle"]
)
def test_a_file_of_twelve_text_classes_is_trained_tested_predicted_and_studied_under_them(run, workplace, names):
    images = random_images(240).images.flatten(1).numpy()
    frame = pd.DataFrame(images, columns=names)
    frame.insert(0, "label", np.array(TWELVE)[np.arange(240) % 12])
    frame.to_csv("mine.csv", index=False)
    Path("mine.yaml").write_text(
        "name: mine\ndata: {class_path: CSVDataModule, init_args: {path: mine.csv, split: by_seed}}\n"
        "model: {class_path: BaselineMLP, init_args: {hidden_sizes: [4]}}\ntrainer: {max_epochs: 1, accelerator: cpu}\n"
    )
    code, _, err = run("fit", "--config", "mine.yaml")
    assert code == 0, err
    last = "logs/mine/version_0/checkpoints/last.ckpt"
    code, out, err = run("test", "--ckpt_path", last)
    assert code == 0, err
    assert all(name in out for name in TWELVE)
    frame.drop(columns="label").head().to_csv("new.csv", index=False)
    for file in ("mine.csv", "new.csv"):
        code, _, err = run("predict", "--ckpt_path", last, "--images", file, "--force")
        assert code == 0, err
        assert set(pd.read_csv("predictions.csv")["class"]) <= set(TWELVE)
    Path("study.yaml").write_text(
        "name: mine\nseeds: 2\nshared: [mine.yaml]\nvariants: {a: [], b: [{trainer: {max_epochs: 2}}]}\n"
    )
    code, _, err = run("study", "study.yaml")
    assert code == 0, err


@pytest.mark.realdata
@pytest.mark.parametrize("options", [{}, {"label": "label"}])
def test_the_lectures_file_gives_what_its_own_reader_gives(real_data, tmp_path, options):
    from fashionreg.data.sources import read_fashion_mnist

    data = read_fashion_mnist(real_data, train=False)[:1000]
    write_csv(data, tmp_path / "small.csv")
    pool, test = CSVDataModule(str(tmp_path / "small.csv"), **options).load()
    assert same(pool, read_csv(tmp_path / "small.csv"))
    assert test is None
    assert pool.class_names == data.class_names


def changed(line, column, value):
    """A file in the lecture's form with one field changed."""
    data = random_images(60)
    data = LabelledImages(data.images, torch.arange(60) % 10)
    write_csv(data, "x.csv")
    lines = [row.split(",") for row in Path("x.csv").read_text().splitlines()]
    lines[line - 1][column] = value
    Path("x.csv").write_text("\n".join(",".join(row) for row in lines))


@pytest.mark.parametrize(
    ("line", "column", "value"), [(3, 5, "256"), (3, 5, ""), (2, 0, "Bag"), (2, 0, "10"), (2, 0, ""), (61, 784, "3.0")]
)
def test_a_fault_in_the_lectures_form_is_named_as_its_own_reader_names_it(workplace, line, column, value):
    changed(line, column, value)
    with pytest.raises(UserError) as expected:
        read_csv("x.csv")
    with pytest.raises(UserError) as found:
        CSVDataModule("x.csv").setup("fit")
    assert message(found) == message(expected)


ROWS = "".join(f"{number},{number / 7},{'yes' if number % 2 else 'no'}\n" for number in range(20))


@pytest.mark.parametrize(
    ("text", "options", "fault"),
    [
        ("a,b,c\n" + ROWS, {}, "line 2, column 'b': value '0.0', expected an integer from 0 to 255, in digits alone"),
        ("a,b,c\n" + ROWS + "1,,no\n", {"kind": "features"}, "line 22, column 'b': no value, expected a number"),
        ("a,b,c\n" + ROWS + "1,NA,no\n", {"kind": "features"}, "line 22, column 'b': value 'NA', expected a number"),
        ("a,b,c\n" + ROWS + "1,inf,no\n", {"kind": "features"}, "line 22, column 'b': value 'inf', expected a number"),
        ("a,b,c\n" + ROWS + "1,1_0,no\n", {"kind": "features"}, "line 22, column 'b': value '1_0', expected a number"),
        (
            "a,b,c\n" + ROWS + "1,2,\n",
            {"kind": "features"},
            "line 22, column 'c': no value, expected the name or number",
        ),
        (
            "a,b,c\n" + ROWS + "1,2,\x07\n",
            {"kind": "features"},
            "line 22, column 'c': value '\\x07', expected the name",
        ),
        (
            "a,b,c\n" + ROWS + "1,2,7\n",
            {"kind": "features"},
            "line 22, column 'c': value '7', expected a text, as in other",
        ),
        ("a,b,c\n" + ROWS + "1,2\n", {"kind": "features"}, "line 22: 2 values, expected 3"),
        ("a,b,c\n" + ROWS + '1,2,"no\n', {"kind": "features"}, "line 22: unexpected end of data"),
        ("a,b,c\n" + ROWS, {"kind": "features", "label": "d"}, "line 1: no column 'd', which the option label names"),
        (
            "a,b\n" + "".join(f"0,{number}\n" for number in range(20)),
            {"kind": "features", "label": "b"},
            "column 'b': 20 different values in 20 rows, which are no c",
        ),
        (
            "a,b,c\n1,2,3\n4,5,6\n",
            {"kind": "features"},
            "no column 'label', and the classes may be in the first column, 'a'",
        ),
        ("a,a,c\n" + ROWS, {"kind": "features"}, "line 1: column 'a' appears more than once"),
        ("0,1.5,2\n" + ROWS, {"kind": "features", "label": "2"}, "line 1: no column names, expected a header line"),
        ("p1,p3,label\n" + ROWS, {"kind": "features"}, "line 1: column 2 is 'p3' in place of 'p2'"),
        (",b,label\n9" + ROWS, {"kind": "features"}, "line 2: column 1 has no name and does not number the rows"),
        ("a,label\n1,x\n2,x\n", {"kind": "features"}, "column 'label': 'x' in all rows, expected 2 classes or more"),
        ("a,label\n" + "1,x\n2,y\n" * 9 + "3,z\n", {"kind": "features"}, "test_size: class z has a single image"),
        ("version https://git-lfs.github.com/spec/v1\n", {"kind": "features"}, "line 1 is the only one"),
    ],
)
def test_a_file_that_will_not_do_is_refused_with_line_and_column(workplace, text, options, fault):
    Path("x.csv").write_text(text)
    with pytest.raises(UserError) as error:
        CSVDataModule("x.csv", **options).setup("fit")
    assert message(error).startswith("x.csv: ")
    assert fault in message(error)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"kind": "features", "normalize": True}, "normalize: is for pixels"),
        ({"kind": "features", "test": "official"}, "test: official: is for a file in the form label,pixel1"),
        ({"label": "a", "test": "official"}, "test: official: is for a file in the form label,pixel1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, fault):
    with pytest.raises(UserError) as error:
        CSVDataModule("x.csv", **options)
    assert fault in message(error)


def test_the_new_options_change_no_study_that_does_not_use_them():
    def key(**options):
        return cache_key({"data": {"init_args": {"path": "x.csv"} | options}}, {"train": "0"})

    assert key() == key(kind="pixels", label=None, class_names=None)
    assert len({key(), key(kind="features"), key(label="a")}) == 3
