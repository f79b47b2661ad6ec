"""What holds for every regularizer of the package: they are found here by themselves."""

import re

import pandas as pd
import pytest
import torch
import yaml

from fashionreg import regularizers
from fashionreg.regularizers.base import Regularizer, constructor_arguments
from samples import LAST

KINDS = {name: kind for name, kind in vars(regularizers).items() if isinstance(kind, type)}
KINDS = {name: kind for name, kind in KINDS.items() if issubclass(kind, Regularizer) and kind is not Regularizer}

#: A network with two hidden layers, a residual connection and validation images, for those that need any of these.
SMALL = {
    "name": "small",
    "seeds": 3,
    "model": {
        "class_path": "RegularizedMLP",
        "init_args": {
            "hidden_sizes": [8, 8],
            "residual": True,
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}},
        },
    },
    "data": {
        "class_path": "SyntheticDataModule",
        "init_args": {"train_size": 300, "test_size": 50, "val_size": 44, "batch_size": 64},
    },
    "trainer": {"max_epochs": 2, "accelerator": "cpu"},
}


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


#: All, but of the two that choose an epoch the one that also stops.
TOGETHER = {snake(name): name for name in KINDS if name != "BestCheckpoint"}


@pytest.fixture
def fit(run, workplace):
    """Fits a small network with regularizers, and returns its record and what the console says."""
    (workplace / "small.yaml").write_text(yaml.safe_dump(SMALL))

    def fit(named, *options):
        model = {"model": {"init_args": {"regularizers": named}}}
        (workplace / "regularizers.yaml").write_text(yaml.safe_dump(model))
        code, out, err = run("fit", "--config", "small.yaml", "--config", "regularizers.yaml", *options)
        assert code == 0, err
        folder = next(line.split()[1] for line in out.splitlines() if line.startswith("logs"))
        return pd.read_csv(f"{folder}/record.csv"), out + err

    return fit


def assert_same_to_rounding(one, other):
    # float32 sums of up to 784 terms in another order, over eight steps; an accuracy changes by whole images
    pd.testing.assert_frame_equal(one.drop(columns="value"), other.drop(columns="value"))
    assert one.value.to_numpy() == pytest.approx(other.value.to_numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_it_trains_by_its_short_name_with_its_defaults_and_is_exported(run, fit, name):
    record, out = fit({snake(name): name}, "--trainer.max_epochs", 1)
    assert KINDS[name]().describe() in out
    assert len(record) == len(record.dropna(subset="value"))
    # the checkpoint is understood without trust in it
    assert run("export", "--ckpt_path", LAST.replace("tiny", "small"), "--out", "net.pt")[0] == 0


@pytest.mark.parametrize("name", KINDS)
def test_its_card_says_source_default_and_range(name):
    card = KINDS[name].__doc__
    module = __import__(KINDS[name].__module__, fromlist=[name]).__doc__
    assert re.search(r"\(?(19|20)\d\d\)?", card + module), "names no paper"
    for argument in constructor_arguments(KINDS[name]):
        assert argument.default is not argument.empty
        assert re.search(rf"^ +{argument.name}: ", card, flags=re.MULTILINE), argument.name


def test_every_class_has_a_file_of_its_own_and_a_line_in_the_how_to():
    from test_docs import PAGES

    for name, kind in KINDS.items():
        package, _, file = kind.__module__.rpartition(".")
        assert (package, file.replace("_", "")) == ("fashionreg.regularizers", name.lower())
        assert re.search(rf"^\| `{name}` ", PAGES["docs/how-to.md"], flags=re.MULTILINE), name


@pytest.fixture
def traced(monkeypatch):
    """Steps that are traced as one graph and run by torch's own kernels: C++ for all of them takes a minute."""
    torch._dynamo.reset()
    graphs = []

    def compiled(model, step):
        graphs.append(step)
        return torch.compile(step, backend="eager", fullgraph=True)

    monkeypatch.setattr("fashionreg.training.step.compiled", compiled)
    return graphs


def test_all_of_them_together_are_one_graph_and_replicas_stay_independent(fit, traced):
    compiled, out = fit(TOGETHER, "--compile", "true")
    assert ", compiled" in out
    assert "training goes on without it" not in out
    assert len(traced) == 1
    plain, out = fit(TOGETHER, "--compile", "false")
    assert "compiled" not in out
    assert_same_to_rounding(compiled, plain)
    alone, _ = fit(TOGETHER, "--compile", "false", "--seeds", "[1]")
    assert_same_to_rounding(alone, compiled[compiled.seed == 1].reset_index(drop=True))


def test_all_of_them_train_in_mixed_precision(fit):
    mixed = ["--trainer.precision", "bf16-mixed"]
    records = [fit(TOGETHER, *words)[0] for words in ([], mixed, [*mixed, "--seeds", "[1]"])]
    full, among, alone = (one.query("metric == 'loss' and seed == 1").value.to_numpy() for one in records)
    # each of eight steps rounds logits, which are of the size of 1, to eight binary digits
    assert among == pytest.approx(full, rel=0, abs=8 * 2**-8)
    assert alone == pytest.approx(among, rel=0, abs=8 * 2**-8)
