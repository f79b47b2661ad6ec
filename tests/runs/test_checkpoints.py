"""`fashionreg validate|test|predict` as a user runs them, on a run of three seeds."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.data.images import CLASS_NAMES
from fashionreg.models import RegularizedMLP
from fashionreg.training.fit import EXPECTED_WARNINGS
from samples import LAST, PIXELS, files, rounding


def plain_answers(checkpoint, data, index):
    """Predictions of one replica, computed by plain torch from the checkpoint."""
    network = RegularizedMLP.load_from_checkpoint(checkpoint, map_location="cpu").network.eval()
    with torch.no_grad():
        return network.replica(index)(data.images.flatten(1).float() / 255)


def test_test_reports_what_scikit_learn_computes(fitted):
    code, out, err = fitted("test", "--ckpt_path", LAST)
    assert code == 0, err
    splits = SyntheticDataModule(train_size=200, test_size=50).splits
    metrics = pd.read_csv("logs/tiny/test_0/metrics.csv").set_index(["seed", "split", "metric"]).value
    by_class = pd.read_csv("logs/tiny/test_0/by_class.csv").set_index("split")
    for split in ("test", "train"):
        data = getattr(splits, split)
        logits = [plain_answers(LAST, data, k) for k in range(3)]
        for seed in range(3):
            accuracy = accuracy_score(data.labels, logits[seed].argmax(dim=1))
            assert metrics[str(seed), split, "acc"] == pytest.approx(accuracy)
            loss = torch.nn.functional.cross_entropy(logits[seed], data.labels)
            assert metrics[str(seed), split, "loss"] == pytest.approx(loss.item(), rel=rounding(PIXELS, 1))
        ensemble = torch.stack(logits).softmax(dim=2).mean(dim=0).argmax(dim=1)
        assert metrics["ensemble", split, "acc"] == pytest.approx(accuracy_score(data.labels, ensemble))
        pooled = torch.cat([each.argmax(dim=1) for each in logits])
        expected = precision_recall_fscore_support(data.labels.repeat(3), pooled, labels=range(10), zero_division=0)
        table = by_class.loc[split]
        for name, values in zip(("precision", "recall", "f1", "images"), expected, strict=True):
            assert table[name].tolist() == pytest.approx((values / (3 if name == "images" else 1)).tolist(), abs=1e-6)
    assert "generalization gap" in out
    assert all(name in out for name in CLASS_NAMES)
    with Image.open("logs/tiny/test_0/confusion_matrix.png") as picture:
        assert picture.size[0] > 500


@pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))
def test_confusion_matrix_counts_as_scikit_learn_counts(fitted, workplace):
    from lightning.pytorch import Trainer

    from fashionreg.runs.evaluation import Evaluation

    evaluation = Evaluation()
    model = RegularizedMLP.load_from_checkpoint(LAST, map_location="cpu")
    data = SyntheticDataModule(train_size=200, test_size=50)
    trainer = Trainer(accelerator="cpu", callbacks=[evaluation], logger=False, enable_progress_bar=False)
    trainer.test(model, datamodule=data, verbose=False)
    pooled = torch.cat([plain_answers(LAST, data.splits.test, k).argmax(dim=1) for k in range(3)])
    expected = confusion_matrix(data.splits.test.labels.repeat(3), pooled, labels=range(10))
    assert evaluation.confusion("test").tolist() == expected.tolist()


def test_test_and_validate_do_not_touch_the_run(fitted):
    before = files("logs/tiny/version_0")
    assert fitted("test", "--ckpt_path", LAST)[0] == 0
    assert fitted("test", "--config", "tiny.yaml", "--seeds", 3, "--ckpt_path", "last")[0] == 0
    assert fitted("validate", "--ckpt_path", LAST)[0] == 0
    assert files("logs/tiny/version_0") == before
    assert sorted(path.name for path in Path("logs/tiny").iterdir()) == ["test_0", "test_1", "version_0"]


def test_test_and_validate_agree_with_the_fit(fitted):
    final = re.search(r"test accuracy after .*: (.*)\n", fitted("fit", "--config", "tiny.yaml", "--seeds", 3)[1])[1]
    assert f"accuracy {final}" in fitted("test", "--ckpt_path", LAST)[1]
    assert f"accuracy {final}" in fitted("validate", "--ckpt_path", LAST)[1]


def test_a_flag_wins_over_the_config_in_the_checkpoint(fitted):
    assert fitted("test", "--ckpt_path", LAST, "--data.init_args.test_size", 80)[0] == 0
    assert pd.read_csv("logs/tiny/test_0/by_class.csv").query("split == 'test'").images.sum() == 80


def test_predict_writes_class_names_and_probabilities(fitted, workplace):
    data = SyntheticDataModule(train_size=200, test_size=50).splits.test
    write_csv(data[:20], workplace / "some.csv")
    for k in range(2):
        Image.fromarray(data.images[k].numpy()).save(f"image{k}.png")
    words = ["--images", "some.csv", "image0.png", "image1.png", "--out", "out.csv"]
    code, out, err = fitted("predict", "--ckpt_path", LAST, *words)
    assert code == 0, err
    table = pd.read_csv("out.csv")
    logits = torch.stack([plain_answers(LAST, data[:20], k) for k in range(3)])
    probabilities = logits.softmax(dim=2).mean(dim=0)
    torch.testing.assert_close(
        torch.tensor(table[list(CLASS_NAMES)].to_numpy()[:20]).float(),
        probabilities,
        atol=1e-6 + rounding(PIXELS, 1),
        rtol=0,
    )
    assert table["class"][:20].tolist() == [CLASS_NAMES[k] for k in probabilities.argmax(dim=1)]
    assert table["probability"][:20].tolist() == pytest.approx(
        probabilities.amax(dim=1).tolist(), abs=1e-6 + rounding(PIXELS, 1)
    )
    assert table["image"].tolist() == [f"some.csv:{row}" for row in range(1, 21)] + ["image0.png", "image1.png"]
    # the same pixels as a picture get the same answer
    pd.testing.assert_frame_equal(
        table.loc[[0, 1], list(CLASS_NAMES)],
        table.loc[[20, 21], list(CLASS_NAMES)].set_axis([0, 1]),
        rtol=0,
        atol=1e-6 + rounding(PIXELS, 1),  # six decimals in the file
    )
    assert "22 images: written to out.csv" in out


def test_predict_overwrites_only_when_told(fitted, workplace, refusal):
    Image.new("L", (28, 28)).save("black.png")
    Path("out.csv").write_text("mine")
    _, line = refusal("predict", "--ckpt_path", LAST, "--images", "black.png", "--out", "out.csv")
    assert "out.csv: exists" in line
    assert Path("out.csv").read_text() == "mine"
    assert fitted("predict", "--ckpt_path", LAST, "--images", "black.png", "--out", "out.csv", "--force")[0] == 0
    assert Path("out.csv").read_text() != "mine"
