"""A network written for one seed computes, stacked, what it computes alone."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models import StackedClassifier, StackedNetwork
from fashionreg.training.fit import EXPECTED_WARNINGS
from samples import PIXELS, rounding

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))


#: How far two computations in double precision may lie apart.
DOUBLE = rounding(PIXELS, 1000, torch.float64)


class Own(nn.Module):
    """Layer norm, GELU and a residual connection, which this project does not implement."""

    def __init__(self, inputs, classes, width=12):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.block = nn.Linear(width, width)
        self.last = nn.Linear(width, classes)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        x = nn.functional.gelu(self.norm(self.first(x)))
        return self.last(x + self.scale * self.block(x))


class WithBatchNorm(nn.Sequential):
    def __init__(self, inputs, classes):
        super().__init__(nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, classes))


class WithDropout(nn.Sequential):
    def __init__(self, inputs, classes):
        super().__init__(nn.Linear(inputs, classes), nn.Dropout(0.5))


class Unregistered(nn.Linear):
    """A random tensor that is no buffer."""

    def __init__(self, inputs, classes):
        super().__init__(inputs, classes)
        self.offset = torch.randn(classes)

    def forward(self, x):
        return super().forward(x) + self.offset


class InAList(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.layers = [nn.Linear(inputs, 5)]
        self.last = nn.Linear(5, classes)

    def forward(self, x):
        return self.last(self.layers[0](x))


class Tied(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.one = self.other = nn.Linear(inputs, inputs)
        self.last = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.last(self.other(self.one(x)))


class NoArgs(nn.Linear):
    def __init__(self):
        super().__init__(9, 4)


class Frozen(nn.Module):
    """A frozen random projection, an unused layer, and a random buffer that is not kept in checkpoints."""

    def __init__(self, inputs, classes):
        super().__init__()
        self.projection = nn.Linear(inputs, 6).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.last = nn.Linear(6, classes)
        self.register_buffer("scale", torch.rand(6), persistent=False)

    def forward(self, x):
        return self.last(self.projection(x) * self.scale)


@pytest.mark.parametrize("kind", [Own, WithBatchNorm])
@pytest.mark.parametrize("training", [True, False])
def test_every_replica_computes_what_its_plain_network_computes(kind, training):
    # in double precision: sums of at most 12 terms, whose sum of absolute values stays below 1000
    net = StackedNetwork(kind, 9, 4, [5, 2, 8]).double().train(training)
    net.plain.double()
    exact = {"rtol": 0, "atol": rounding(12, 1000, torch.float64)}
    plain = [net.replica(k).train(training) for k in range(3)]
    x = torch.randn(3, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = net(x)
    y.square().sum().backward()
    for k in range(3):
        expected = plain[k](x[k])
        torch.testing.assert_close(y[k], expected, **exact)
        expected.square().sum().backward()
        stacked = dict(net.stacked.named_parameters())
        for name, parameter in plain[k].named_parameters():
            torch.testing.assert_close(stacked[name].grad[k], parameter.grad, **exact)
        for name, buffer in plain[k].named_buffers():
            torch.testing.assert_close(dict(net.stacked.named_buffers())[name][k], buffer, **exact)


def test_a_replica_starts_the_same_whichever_seeds_run_beside_it_and_others_differently():
    together, alone = StackedNetwork(Own, 9, 4, [5, 2]), StackedNetwork(Own, 9, 4, [2])
    for name, value in alone.state_dict().items():
        assert torch.equal(value[0], together.state_dict()[name][1]), name
    assert not torch.equal(*together.state_dict()["stacked.first.weight"])


@pytest.mark.parametrize("seeds", [[4], [4, 2]])
def test_what_is_frozen_stays_frozen_and_an_exported_network_has_every_buffer(seeds):
    net = StackedNetwork(Frozen, 9, 4, seeds).eval()
    assert not net.stacked.projection.weight.requires_grad
    x = torch.rand(3, 9, generator=torch.Generator().manual_seed(0))
    for k in range(len(seeds)):
        torch.testing.assert_close(net.replica(k)(x), net(x)[k], rtol=1e-4, atol=1e-5)


def test_building_changes_no_statistics():
    net = StackedNetwork(WithBatchNorm, 9, 4, [0, 1])
    buffers = dict(net.stacked.named_buffers())
    assert buffers["1.num_batches_tracked"].tolist() == [0, 0]
    assert (buffers["1.running_var"] == 1).all()


def test_building_leaves_the_global_generator_as_it_was():
    state = torch.get_rng_state()
    StackedNetwork(Own, 9, 4, [5, 2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_replica_among_others_trains_as_alone():
    def fit(seeds):
        model = StackedClassifier(Own, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9), seeds=seeds)
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 2}
        options |= {"enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
        options["precision"] = "64-true"
        data = SyntheticDataModule(train_size=200, test_size=50, batch_size=64, seeds=seeds)
        Trainer(**options).fit(model, datamodule=data)
        return model.state_dict()

    together, alone = fit([4, 1, 6]), fit([1])
    for name, value in alone.items():
        # sums over the pixels, of absolute values below 1000, whose differences eight steps carry on
        torch.testing.assert_close(together[name][1], value[0], rtol=0, atol=DOUBLE, msg=name)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (WithDropout, "draws random numbers in training"),
        (lambda inputs, classes: nn.Linear(inputs, classes + 1), r"must give 4 logits for each image.*got \(2, 5\)"),
        (lambda inputs, classes: nn.Conv2d(1, 2, 3), "network: cannot run side by side"),
        (lambda inputs, classes: 3, "must make a torch.nn.Module, got int"),
        (NoArgs, "^network: NoArgs must take the number of inputs and of classes$"),
        (lambda inputs, classes: nn.Linear("a", classes), "^network: TypeError: "),
        (lambda inputs, classes: nn.LazyLinear(classes), "^network: LazyLinear gets its shape from the first batch"),
        (lambda inputs, classes: nn.Sequential(nn.LazyLinear(classes)), r"^network: LazyLinear \(0\) gets its shape"),
        (Unregistered, "register every tensor of it as a parameter or with register_buffer"),
        (InAList, "keep layers in nn.ModuleList"),
        (Tied, "two of its layers share a parameter"),
    ],
)
def test_what_cannot_be_stacked_is_refused_in_one_line(make, fault):
    with pytest.raises(UserError, match=fault) as error:
        StackedNetwork(make, 9, 4, [0, 1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("callback", ["Histograms", "ActivationDrift"])
def test_an_observer_of_activations_is_refused_with_what_works(callback, workplace, refusal, monkeypatch):
    words = ["--model", "StackedClassifier", f"--model.init_args.network={__name__}.Own"]
    words += ["--trainer.callbacks+", callback]
    text = (workplace / "tiny.yaml").read_text()
    (workplace / "tiny.yaml").write_text("name: tiny\n" + text[text.index("data:") :])
    monkeypatch.setattr(StackedClassifier, "training_step", lambda *args: pytest.fail("a step was made"))
    _, line = refusal("fit", "--config", "tiny.yaml", *words)
    assert line.endswith(
        "Own: a stacked network does not show its activations; leave out ActivationDrift and Histograms, or write a "
        "ReplicaNetwork (docs/extend.md)"
    )
    assert not (workplace / "logs/tiny/version_0").exists()


def test_a_class_that_does_not_take_the_shape_is_refused_in_one_line(workplace, refusal):
    words = ["--model", "StackedClassifier", f"--model.init_args.network={__name__}.NoArgs"]
    (workplace / "tiny.yaml").write_text("data: {class_path: SyntheticDataModule}\n")
    _, line = refusal("fit", "--config", "tiny.yaml", *words)
    assert line == "fashionreg: error: network: NoArgs must take the number of inputs and of classes"
