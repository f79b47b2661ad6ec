"""Each seed has its own split: the same alone and among others, in parts that share nothing, and evaluated on them."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from sklearn.model_selection import train_test_split

from fashionreg.config import cache_key
from fashionreg.data.csv_files import write_csv
from fashionreg.data.datamodules import CSVDataModule, FashionMNISTDataModule, SyntheticDataModule
from fashionreg.data.images import LabelledImages
from fashionreg.errors import UserError
from fashionreg.runs.export import load_classifier
from samples import PIXELS, message, random_images, rounding, same

COUNT, CLASSES = 600, 10
PARTS = ("train", "val", "test")


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """Makes each datamodule, `csv`, `fashion` or `synthetic`, with images of its own for validation."""
    data = {True: random_images(COUNT), False: random_images(100, seed=1)}
    data = {key: LabelledImages(each.images, torch.arange(len(each)) % CLASSES) for key, each in data.items()}
    for module in ("fashion_mnist", "csv_file"):
        place = f"fashionreg.data.datamodules.{module}.read_fashion_mnist"
        monkeypatch.setattr(place, lambda root, train: data[train])
    write_csv(data[True], tmp_path / "small.csv")
    make = {
        "csv": lambda **more: CSVDataModule(str(tmp_path / "small.csv"), val_size=0.25, **more),
        "fashion": lambda **more: FashionMNISTDataModule(train_size=400, val_size=100, **more),
        "synthetic": lambda **more: SyntheticDataModule(train_size=300, test_size=100, val_size=50, **more),
    }

    def sources(kind, **more):
        return make[kind](**{"split": "by_seed"} | more)

    sources.data = data
    sources.file = tmp_path / "small.csv"
    return sources


def rows(data):
    return [image.numpy().tobytes() for image in data.images]


@pytest.mark.parametrize("kind", ["csv", "fashion", "synthetic"])
def test_a_seed_has_the_same_split_alone_and_among_ten(sources, kind):
    together = sources(kind, seeds=range(10)).splits
    for seed in (0, 7):
        alone = sources(kind, seeds=[seed]).splits
        for name in PARTS if kind != "fashion" else PARTS[:2]:
            assert same(getattr(alone, name).of(0), getattr(together, name).of(seed))
    assert same(together.train.of(0), together.train.of(0))
    assert not same(together.train.of(0), together.train.of(1))


@pytest.mark.parametrize("kind", ["csv", "fashion", "synthetic"])
def test_the_parts_of_a_seed_share_no_image_and_are_stratified_and_as_large_as_those_of_every_other(sources, kind):
    splits = sources(kind, seeds=[3, 8, 21]).splits
    sizes = {"csv": (360, 120, 120), "fashion": (300, 100, 100), "synthetic": (250, 50, 100)}[kind]
    assert tuple(len(getattr(splits, name)) for name in PARTS) == sizes
    for replica in range(3):
        drawn = [getattr(splits, name).of(replica) for name in PARTS[: 2 if kind == "fashion" else 3]]
        if kind == "fashion":
            assert same(splits.test, sources.data[False])
        together = [row for part in drawn for row in rows(part)]
        assert len(set(together)) == len(together) == sum(map(len, drawn))
        pool = splits.train.pool.labels.bincount(minlength=CLASSES)
        for part in drawn:
            # of every class its share, rounded up or down in each of at most three draws
            exact = pool * len(part) / pool.sum()
            assert ((part.labels.bincount(minlength=CLASSES) - exact).abs() < 3).all()


def test_another_split_seed_gives_every_seed_another_split(sources):
    first, second = (sources("csv", seeds=[0, 1], split_seed=number).splits for number in (0, 1))
    for replica in range(2):
        assert not same(first.test.of(replica), second.test.of(replica))
    with pytest.raises(UserError, match="seed -1 is out of range, expected 0 to 4294967295"):
        sources("csv", split_seed=-1).setup("fit")


def test_splits_follow_the_seeds_that_a_run_is_given_later(sources):
    module = sources("csv", seeds=[0])
    assert module.splits.train.index.shape == (1, 360)
    module.seeds = [4, 5]
    assert same(module.splits.train.of(1), sources("csv", seeds=[5]).splits.train.of(0))


def test_a_fixed_split_is_the_one_of_scikit_learn_that_earlier_versions_drew(sources):
    splits = sources("csv", split="fixed", split_seed=3).splits
    data, every = sources.data[True], torch.arange(COUNT).numpy()
    test, _ = train_test_split(every, train_size=120, random_state=3, stratify=data.labels.numpy())
    rest = torch.ones(COUNT, dtype=torch.bool)
    rest[test] = False
    rest = data[rest]
    val, _ = train_test_split(every[:480], train_size=120, random_state=3, stratify=rest.labels.numpy())
    assert same(splits.test, data[torch.from_numpy(test)])
    assert same(splits.val, rest[torch.from_numpy(val)])


def test_every_replica_trains_on_each_of_its_own_images_once_an_epoch(sources):
    module = sources("csv", seeds=[2, 9], batch_size=100)
    train = module.splits.train
    batches = list(module.train_dataloader())
    images, labels = (torch.cat(each, dim=1) for each in zip(*batches, strict=True))
    assert labels.shape == (2, 360)
    for replica in range(2):
        own = train.of(replica)
        seen = sorted(zip(images[replica].mul(255).round().byte().tolist(), labels[replica].tolist(), strict=True))
        assert seen == sorted(zip(own.images.flatten(1).tolist(), own.labels.tolist(), strict=True))


def test_every_replica_is_shown_its_own_test_images_in_their_order(sources):
    module = sources("csv", seeds=range(50))
    # 50 replicas: more than one batch
    batches = list(module.test_dataloader()["test"])
    assert len(batches) > 1
    images, labels = (torch.cat(each, dim=1) for each in zip(*batches, strict=True))
    for replica in (0, 49):
        own = module.splits.test.of(replica)
        assert torch.equal(labels[replica], own.labels)
        assert torch.equal(images[replica].mul(255).round().byte(), own.images.flatten(1))
    shown = module.first_images(module.splits.train, 16)
    assert torch.equal(shown[3].mul(255).round().byte(), module.splits.train.of(3)[:16].images.flatten(1))


def test_the_description_depends_on_no_seed_and_says_what_is_drawn(sources):
    descriptions = [sources("csv", seeds=seeds).describe() for seeds in ([0], [5], range(10))]
    assert descriptions[0] == descriptions[1] == descriptions[2]
    assert descriptions[0]["by_seed"] == ["train", "val", "test"]
    assert descriptions[0]["sizes"] == {"train": 360, "val": 120, "test": 120}
    first = sources("csv", seeds=[0]).splits
    assert descriptions[0]["fingerprints"] == {name: getattr(first, name).of(0).fingerprint() for name in PARTS}
    assert sources("fashion").describe()["by_seed"] == ["train", "val"]
    assert sources("csv", split="fixed").describe()["by_seed"] == []
    # all images are used, and none is set aside: there is nothing to draw
    assert FashionMNISTDataModule(split="by_seed").describe()["by_seed"] == []


def test_what_every_run_did_before_identifies_nothing_and_the_rest_does():
    def key(**options):
        return cache_key({"data": {"init_args": {"path": "x.csv"} | options}}, {"train": "0"})

    assert key() == key(split="fixed") == key(test="own")
    assert len({key(), key(split="by_seed"), key(test="official")}) == 3


# --- the official test images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["fixed", "by_seed"])
def test_a_csv_file_is_tested_on_the_official_images_and_trained_as_before(sources, split):
    own, official = (sources("csv", split=split, test=test, seeds=[1, 2]) for test in ("own", "official"))
    assert same(official.splits.test, sources.data[False])
    for name in ("train", "val"):
        before, after = (getattr(module.splits, name) for module in (own, official))
        assert same(before, after) if split == "fixed" else same(before.of(1), after.of(1))
    assert official.describe()["source"] == "CSV small.csv, tested on Fashion-MNIST"
    assert official.describe()["by_seed"] == (["train", "val"] if split == "by_seed" else [])


def test_the_whole_file_can_be_trained_on_where_others_are_tested_on(sources):
    module = CSVDataModule(str(sources.file), test_size=0, test="official")
    assert same(module.splits.train, sources.data[True])
    with pytest.raises(UserError, match="test_size: must be a number of images from 2 to 600"):
        CSVDataModule(str(sources.file), test_size=0).setup("fit")


def test_a_file_that_holds_official_test_images_is_not_tested_on_them(sources, tmp_path):
    train, test = sources.data[True], sources.data[False]
    images = torch.cat([train.images[:590], test.images[:10]])
    write_csv(LabelledImages(images, train.labels), tmp_path / "leak.csv")
    with pytest.raises(UserError) as error:
        CSVDataModule(str(tmp_path / "leak.csv"), test="official").setup("fit")
    assert message(error).endswith(
        "leak.csv: test: official: 10 of its 600 images are official test images, which must not be trained on; cut "
        "the file from the training images"
    )


# --- runs ------------------------------------------------------------------------------------------------------------

BY_SEED = "data: {init_args: {split: by_seed, val_size: 40, evaluate_train: true}}\n"
LAST = Path("logs/tiny/version_0/checkpoints/last.ckpt")


def fitted_by_seed(run, *options):
    Path("by_seed.yaml").write_text(BY_SEED)
    code, out, err = run("fit", "--config", "tiny.yaml", "--config", "by_seed.yaml", *options)
    assert code == 0, err
    return out


def module_of(run_folder, seeds):
    options = yaml.safe_load((run_folder / "config.yaml").read_text())["data"]["init_args"]
    return SyntheticDataModule(**options | {"seeds": seeds})


def test_metrics_of_a_seed_are_those_of_plain_torch_on_its_own_images(run):
    out = fitted_by_seed(run, "--seeds", "[4, 2, 9]")
    assert "(train 160, val 40, test 50; each seed has its own split)" in out
    model, _ = load_classifier(LAST)
    record = pd.read_csv("logs/tiny/version_0/record.csv").query("epoch == 2").set_index(["seed", "split", "metric"])
    splits = module_of(LAST.parents[1], [4, 2, 9]).splits
    for replica, seed in enumerate([4, 2, 9]):
        network = model.network.replica(replica).eval()
        for name in PARTS:
            data = getattr(splits, name).of(replica)
            with torch.no_grad():
                logits = network(data.images.flatten(1).float() / 255)
            right = (logits.argmax(dim=1) == data.labels).double().mean().item()
            assert record.value[seed, name, "acc"] == pytest.approx(right, abs=1e-12)
            loss = torch.nn.functional.cross_entropy(logits, data.labels).item()
            assert record.value[seed, name, "loss"] == pytest.approx(loss, rel=rounding(PIXELS, 1))
    # the report of the checkpoint is on the same images
    code, out, err = run("test", "--ckpt_path", LAST)
    assert code == 0, err
    metrics = pd.read_csv("logs/tiny/test_0/metrics.csv").set_index(["seed", "split", "metric"]).value
    for seed in (4, 2, 9):
        assert metrics[seed, "test", "acc"] == pytest.approx(record.value[seed, "test", "acc"], abs=1e-12)
    assert "ensemble" not in out
    by_class = pd.read_csv("logs/tiny/test_0/by_class.csv").set_index("split")
    labels = torch.cat([splits.test.of(replica).labels for replica in range(3)])
    assert by_class.loc["test"].images.tolist() == labels.bincount(minlength=CLASSES).tolist()


def test_a_seed_trains_the_same_alone_and_among_others(run):
    fitted_by_seed(run, "--seeds", 4)
    fitted_by_seed(run, "--seeds", "[2]")
    four, one = (pd.read_csv(f"logs/tiny/version_{number}/record.csv") for number in range(2))
    four = four[four.seed == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(four, one, rtol=1e-4, atol=1e-6)


def test_the_command_line_and_yaml_mean_the_same(run):
    fitted_by_seed(run, "--seeds", 2)
    options = ["--data.init_args.split", "by_seed", "--data.init_args.val_size", 40]
    options += ["--data.init_args.evaluate_train", "true"]
    code, _, err = run("fit", "--config", "tiny.yaml", "--seeds", 2, *options)
    assert code == 0, err
    first, second = (Path(f"logs/tiny/version_{number}/record.csv").read_bytes() for number in range(2))
    assert first == second


def test_a_wrong_split_is_named(refusal):
    code, line = refusal("fit", "--config", "tiny.yaml", "--data.init_args.split", "by_sed")
    assert code == 2
    assert "split" in line
    assert "by_sed" in line


def test_observers_show_the_images_of_a_seed_that_has_its_own(run):
    Path("watched.yaml").write_text(
        "trainer:\n  callbacks:\n"
        + "".join(
            f"    - class_path: fashionreg.callbacks.{name}\n"
            for name in ("TrainingImages", "TestFigures", "Histograms", "ActivationDrift")
        )
    )
    fitted_by_seed(run, "--config", "watched.yaml", "--seeds", 3)
    assert Path("logs/tiny/version_0/drift.csv").is_file()


def test_a_run_is_not_resumed_with_another_split(run, refusal):
    fitted_by_seed(run, "--seeds", 2)
    _, line = refusal("fit", "--ckpt_path", LAST, "--trainer.max_epochs", 3, "--data.init_args.split", "fixed")
    assert "data.init_args.split: the run in" in line


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_fit_by_seed_has_the_numbers_of_an_ordinary_one(run):
    # four steps an epoch, of which the second and third are compiled
    for mode in ("false", "true"):
        out = fitted_by_seed(run, "--seeds", 3, "--compile", mode, "--data.init_args.batch_size", 40)
        assert ("compiled" in out) == (mode == "true")
    plain, compiled = (pd.read_csv(f"logs/tiny/version_{number}/record.csv") for number in range(2))
    pd.testing.assert_frame_equal(compiled, plain, rtol=1e-4, atol=1e-5)
