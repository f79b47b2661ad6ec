"""Histograms in TensorBoard against the numbers of plain networks."""

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fashionreg import callbacks
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP
from samples import PIXELS, message, rounding

HISTOGRAMS = ["--trainer.callbacks+", "fashionreg.callbacks.Histograms"]
LAST = "logs/tiny/version_0/checkpoints/last.ckpt"


@pytest.fixture
def histograms(run):
    """Fits `tiny.yaml` with two hidden layers and the callback; returns the histograms by tag and epoch."""

    def histograms(*arguments):
        sizes = ["--model.init_args.hidden_sizes", "[8, 6]"]
        code, _, err = run("fit", "--config", "tiny.yaml", *sizes, *HISTOGRAMS, *arguments)
        assert (code, err) == (0, "")
        events = EventAccumulator("logs/tiny/version_0", size_guidance={"histograms": 0})
        events.Reload()
        tags = events.Tags()["histograms"]
        return {tag: {event.step: event.histogram_value for event in events.Histograms(tag)} for tag in tags}

    return histograms


def agree(histogram, values, error=0.0):
    """Whether a histogram is one of `values`: as many, with the same sums and extremes, each in its bucket.

    `error` is by how much each of the values may differ from those of the histogram, which are added as float64.
    """
    values = values.detach().double().numpy().ravel()
    size, count = np.abs(values).sum(), len(values)
    assert histogram.num == count == sum(histogram.bucket)
    assert abs(histogram.sum - values.sum()) <= count * error + rounding(count, size, torch.float64)
    squares = (values**2).sum()
    assert abs(histogram.sum_squares - squares) <= (2 * size + count * error) * error + rounding(
        count, squares, torch.float64
    )
    assert abs(histogram.min - values.min()) <= error
    assert abs(histogram.max - values.max()) <= error
    below = np.cumsum(histogram.bucket)
    # the limits between the first and the last bucket; what lies on a limit may be counted on either side
    for counted, limit in zip(below[:-1], histogram.bucket_limit[:-1], strict=True):
        assert (values < limit - error).sum() <= counted <= (values <= limit + error).sum()


@pytest.mark.parametrize("replica", [0, 2])
def test_histograms_are_of_the_chosen_replica(histograms, replica):
    found = histograms("--seeds", 3, "--trainer.callbacks.replica", replica)
    model = RegularizedMLP.load_from_checkpoint(LAST, map_location="cpu")
    plain = model.network.replica(replica).eval()
    names = ["linear1", "batch_norm1", "linear2", "batch_norm2", "linear3"]
    parameters = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    assert found.keys() == {f"{group}/{name}" for group in ("weights", "gradients") for name in parameters} | {
        "pre_activations/relu1",
        "pre_activations/relu2",
    }
    assert all(list(by_epoch) == [1, 2] for by_epoch in found.values())

    for name, value in zip(parameters, plain.parameters(), strict=True):
        agree(found[f"weights/{name}"][2], value)
    inputs = []
    plain.train()
    for layer in plain:
        if isinstance(layer, nn.Dropout):
            layer.eval()
        if isinstance(layer, nn.ReLU):
            layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    data = SyntheticDataModule(train_size=200, test_size=50).splits.train
    plain(data.images[:512].flatten(1) / 255)
    assert len(inputs) == 2
    for number, value in enumerate(inputs, start=1):
        # a sum over the pixels, divided by its standard deviation: at most a few times the largest value
        agree(found[f"pre_activations/relu{number}"][2], value, error=rounding(PIXELS, 3 * value.detach().abs().max()))


def test_computed_weights_are_shown_as_the_network_uses_them(histograms):
    found = histograms("--model.init_args.regularizers.spectral", "SpectralNorm")
    state = torch.load(LAST, weights_only=True)["state_dict"]
    name = "layers.0.weight"
    weights = state[f"network.{name}"][0]
    left, right = (state[f"regularizers.spectral.{name.replace('.', '/')}/{side}"][0] for side in ("left", "right"))
    norm = left @ weights @ right
    assert abs(norm - 1) > 0.05
    agree(found["weights/linear1.weight"][2], weights / norm, error=rounding(PIXELS, weights.abs().max() / norm))


def test_gradients_are_those_of_the_last_step_of_each_epoch(histograms, monkeypatch):
    gradients = []
    step = torch.optim.SGD.step

    def noting(self, closure=None):
        loss = step(self, closure)
        if closure is not None:  # a step of training, not of the check that replicas are independent
            gradients.append(self.param_groups[0]["params"][0].grad[1].clone())
        return loss

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    found = histograms("--seeds", 2, "--trainer.callbacks.replica", 1)
    assert len(gradients) == 8
    for epoch in (1, 2):
        agree(found["gradients/linear1.weight"][epoch], gradients[4 * epoch - 1])


def test_every_n_epochs(histograms):
    found = histograms("--trainer.callbacks.every_n_epochs", 2, "--trainer.max_epochs", 5)
    assert all(list(by_epoch) == [2, 4] for by_epoch in found.values())


def test_gradients_of_a_fit_that_ends_within_an_epoch(histograms):
    found = histograms("--trainer.max_steps", 6)
    assert list(found["gradients/linear1.weight"]) == [1, 2]


def test_a_network_without_hidden_layers_has_no_pre_activations(histograms):
    found = histograms("--model.init_args.hidden_sizes", "[]")
    assert found.keys() == {
        f"{group}/linear1.{kind}" for group in ("weights", "gradients") for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--trainer.callbacks.every_n_epochs", "0"], "every_n_epochs: must be at least 1, got 0"),
        (["--trainer.callbacks.replica", "-1"], "replica: must not be negative, got -1"),
        (["--trainer.callbacks.replica", "2"], "replica: must be 0 to 1, one of 2 trained side by side, got 2"),
    ],
)
def test_arguments_out_of_range_are_refused_in_one_line(refusal, arguments, fault):
    _, line = refusal("fit", "--config", "tiny.yaml", "--seeds", 2, *HISTOGRAMS, *arguments)
    assert fault in line


def test_a_constructor_refuses_what_is_out_of_range():
    with pytest.raises(UserError) as error:
        callbacks.Histograms(every_n_epochs=0)
    assert message(error).startswith("every_n_epochs:")


def test_reading_pre_activations_changes_neither_mode_nor_random_numbers():
    network = (
        RegularizedMLP(hidden_sizes=[8], batch_norm=True, dropout=0.5, seeds=[0, 1]).build(784, 10).network.train()
    )
    state = torch.get_rng_state()
    inputs = network.pre_activations(torch.rand(5, 784, generator=torch.Generator().manual_seed(0)))
    assert [tuple(value.shape) for value in inputs.values()] == [(2, 5, 8)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("sizes", "options", "names"),
    [
        ([], {}, "linear1"),
        ([8], {"dropout": 0.5}, "linear1 relu1 dropout1 linear2"),
        (
            [8, 6],
            {"batch_norm": True, "dropout": 0.5},
            "linear1 batch_norm1 relu1 dropout1 linear2 batch_norm2 relu2 dropout2 linear3",
        ),
    ],
)
def test_layers_are_named_by_kind_and_number(sizes, options, names):
    network = RegularizedMLP(hidden_sizes=sizes, **options).build(784, 10).network
    assert network.layer_names == names.split()
    assert len(names.split()) == len(network.layers)
