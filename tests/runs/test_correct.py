"""`correct.npy`: which test images each seed is right about after the last epoch, and what of a file is believed."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fashionreg as fr
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.runs.correct import check_packed, packed, read_correct, write_correct
from fashionreg.runs.export import load_classifier
from fashionreg.runs.schema import SchemaError
from fashionreg.studies.run_files import read_right, read_values
from samples import LAST, message

FOLDER = Path("logs/tiny/version_0")


def test_the_file_says_what_plain_torch_says_of_every_image_and_seed(fitted):
    model, _ = load_classifier(Path(LAST))
    test = SyntheticDataModule(train_size=200, test_size=50).splits.test
    with torch.no_grad():
        logits = [model.network.replica(k).eval()(test.images.flatten(1).float() / 255) for k in range(3)]
    expected = torch.stack([each.argmax(dim=1) == test.labels for each in logits]).numpy()
    found = fr.Run.load(FOLDER).correct
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)
    # a bit for each image
    assert np.load(FOLDER / "correct.npy").shape == (3, 7)
    accuracies = pd.read_csv(FOLDER / "record.csv").query("epoch == 2 and split == 'test' and metric == 'acc'").value
    np.testing.assert_allclose(found.mean(axis=1), accuracies, rtol=0, atol=1e-12)


def test_each_seed_has_the_order_of_its_own_test_images(run):
    code, _, err = run("fit", "--config", "tiny.yaml", "--seeds", "[5, 1]", "--data.init_args.split", "by_seed")
    assert code == 0, err
    assert json.loads((FOLDER / "record.json").read_text())["data"]["by_seed"] == ["train", "test"]
    model, _ = load_classifier(Path(LAST))
    splits = SyntheticDataModule(train_size=200, test_size=50, split="by_seed", seeds=[5, 1]).splits
    found = fr.Run.load(FOLDER).correct
    for replica in range(2):
        own = splits.test.of(replica)
        with torch.no_grad():
            predicted = model.network.replica(replica).eval()(own.images.flatten(1).float() / 255).argmax(dim=1)
        np.testing.assert_array_equal(found[replica], (predicted == own.labels).numpy())


def test_a_resumed_run_has_the_file_of_one_that_was_never_stopped(fitted):
    assert fitted("fit", "--config", "tiny.yaml", "--seeds", 3, "--trainer.max_epochs", 4)[0] == 0
    assert fitted("fit", "--ckpt_path", LAST, "--trainer.max_epochs", 4)[0] == 0
    never_stopped, resumed = (Path(f"logs/tiny/version_{n}/correct.npy").read_bytes() for n in (1, 2))
    assert resumed == never_stopped != (FOLDER / "correct.npy").read_bytes()


def test_a_run_that_only_writes_its_record_anew_takes_the_file_from_the_checkpoint(fitted):
    before = (FOLDER / "correct.npy").read_bytes()
    for name in ("record.csv", "record.json", "correct.npy"):
        (FOLDER / name).unlink()
    assert fitted("fit", "--ckpt_path", LAST)[0] == 0
    assert Path("logs/tiny/version_1/correct.npy").read_bytes() == before


@pytest.mark.parametrize("batches", [0, 0.5])
def test_nothing_is_recorded_where_not_all_test_images_are_evaluated(run, monkeypatch, batches):
    monkeypatch.setattr("fashionreg.data.batches.EVALUATION_CHUNK", 20)
    code, _, err = run("fit", "--config", "tiny.yaml", "--trainer.limit_val_batches", batches)
    assert code == 0, err
    assert json.loads((FOLDER / "record.json").read_text())["config"]["trainer"]["limit_val_batches"] == batches
    assert not (FOLDER / "correct.npy").exists()
    assert fr.Run.load(FOLDER).correct is None


# --- hostile files ----------------------------------------------------------------------------------------------------

SEEDS, IMAGES = 3, 50
RIGHT = np.random.default_rng(0).random((SEEDS, IMAGES)) < 0.8


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


GOOD = npy(np.packbits(RIGHT, axis=1))


def test_what_is_written_is_read_again(tmp_path):
    write_correct(tmp_path, packed(RIGHT))
    assert (tmp_path / "correct.npy").read_bytes() == GOOD
    np.testing.assert_array_equal(read_correct(tmp_path, SEEDS, IMAGES), RIGHT)
    assert read_correct(tmp_path / "elsewhere", SEEDS, IMAGES) is None


class Harmful:
    def __reduce__(self):
        return Path.touch, (Path("harmed"),)


HEADER = b"{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


def made(descr, shape, data=b"", version=b"\x01\x00"):
    header = HEADER % (descr, shape) + b"\n"
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


HOSTILE = {
    "empty": b"",
    "no NumPy file": b"PK\x03\x04" + bytes(60),
    "cut off": GOOD[:-1],
    "longer": GOOD + b"\0",
    "header cut off": GOOD[:20],
    "other shape": npy(np.zeros((3, 8), np.uint8)),
    "other dimensions": npy(np.zeros(21, np.uint8)),
    "other type": npy(np.zeros((3, 7), np.int8)),
    "by columns": npy(np.asfortranarray(np.zeros((3, 7), np.uint8))),
    "objects": npy(np.array([[Harmful()] * 7] * 3, dtype=object), allow_pickle=True),
    "a pickle": pickle.dumps(Harmful()),
    "huge": made(b"|u1", b"(1000000000000, 1000000000)"),
    "negative": made(b"|u1", b"(-3, -7)", bytes(21)),
    "no type": made(b"nonsense", b"(3, 7)", bytes(21)),
    "code": made(b"|u1", b"__import__('os').mkdir('harmed')", bytes(21)),
    "deep": made(b"|u1", b"(" * 300 + b")" * 300, bytes(21)),
    "of Python 2": made(b"|u1", b"(3L, 8L)", bytes(24)),
    "a later version": made(b"|u1", b"(3, 7)", bytes(21), version=b"\x02\x00"),
    "beyond the images": npy(np.full((3, 7), 255, np.uint8)),
    "too large": npy(np.zeros((3, 70_000), np.uint8)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_holds_anything_else_is_refused_in_one_line(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    Path("correct.npy").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_correct(Path(), SEEDS, IMAGES)
    assert "correct.npy" in message(error)
    assert len(message(error)) < 400
    assert not Path("harmed").exists()


def test_sizes_that_no_memory_holds_are_refused_before_it_is_taken(tmp_path):
    (tmp_path / "correct.npy").write_bytes(GOOD)
    for seeds, images in ((10**6, 2**60), (SEEDS, 2**60)):
        with pytest.raises(UserError, match="must hold uint8 of shape"):
            read_correct(tmp_path, seeds, images)
    with pytest.raises(UserError, match="no test images"):
        read_correct(tmp_path, SEEDS, 0)


def test_a_file_that_disagrees_with_the_record_is_refused(fitted):
    about = fr.Run.load(FOLDER).record
    values = read_values(FOLDER, about)
    right = read_right(FOLDER, about, values)
    right[1] = ~right[1]
    write_correct(FOLDER, packed(right))
    with pytest.raises(UserError, match="correct.npy: seed 1: is right about .* of the test images, and record.csv"):
        read_right(FOLDER, about, values)
    (FOLDER / "correct.npy").unlink()
    assert read_right(FOLDER, about, values) is None


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["00"], "right: must have a value for each of 2 seeds"),
        (["00", "0"], "right\\[1\\]"),
        (["0g", "00"], "right\\[0\\]"),
    ],
)
def test_a_checkpoint_with_other_bits_is_refused(rows, fault):
    with pytest.raises(SchemaError, match=fault):
        check_packed(rows, 2)
    check_packed([], 2)
    check_packed(["00ff", "a0b1"], 2)
