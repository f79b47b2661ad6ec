"""Noise on inputs, hidden units and gradients: its distribution, and what it is added to."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.randomness import Key, replica_keys
from fashionreg.regularizers import ActivationNoise, GaussianDropout, GradientNoise, InputDropout, InputNoise
from fashionreg.regularizers.activation_noise import ReplicaNoise

SEEDS = [0, 1, 2, 3]
KEY = Key(replica_keys(SEEDS, "noise"))

#: Images with 40,000 pixels for each of four replicas.
IMAGES, LABELS = torch.full((4, 100, 400), 2.0), torch.zeros(4, 100, dtype=torch.int64)

#: Five standard errors, as a multiple of the standard deviation: a fair draw passes but for one in a million.
ERROR = 5 / math.sqrt(40_000)


def assert_normal(noise, std):
    """Each replica's draws `(S, ...)` are normal of mean 0 with this standard deviation, and no two replicas' equal."""
    for own in noise.flatten(1).double().numpy():
        # Kolmogorov and Smirnov: exceeded by one fair draw in a million
        assert stats.kstest(own / std, "norm").statistic < stats.kstwobign.isf(1e-6) / math.sqrt(own.size)
    correlation = np.corrcoef(noise.flatten(1).double().numpy())
    assert abs(correlation - np.eye(len(noise))).max() < ERROR


@pytest.mark.parametrize("p", [0.05, 0.2, 0.7])
def test_input_dropout_drops_a_share_p_of_the_inputs_and_keeps_the_mean(p):
    images, labels = InputDropout(p).batch(IMAGES, LABELS, KEY)
    assert labels is LABELS
    dropped = (images == 0).double().mean(dim=(1, 2))
    assert abs(dropped - p).max() < ERROR * math.sqrt(p * (1 - p))
    torch.testing.assert_close(images[images != 0].unique(), torch.tensor([2 / (1 - p)]))


@pytest.mark.parametrize("std", [0.05, 0.3])
def test_input_noise_is_normal_of_its_standard_deviation(std):
    images, labels = InputNoise(std).batch(IMAGES, LABELS, KEY)
    assert labels is LABELS
    assert_normal(images - IMAGES, std)


def test_activation_noise_is_added_whatever_the_value_of_a_unit():
    layer = ActivationNoise(0.3).after_activation(400, SEEDS)
    for x in (torch.zeros(4, 100, 400), IMAGES):
        assert_normal(layer(x, KEY) - x, 0.3)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_gaussian_dropout_has_the_variance_of_dropout(p):
    layer = GaussianDropout(p).after_activation(400, SEEDS)
    assert_normal(layer(IMAGES, KEY) / IMAGES - 1, math.sqrt(p / (1 - p)))
    assert torch.equal(layer(torch.zeros(4, 100, 400), KEY), torch.zeros(4, 100, 400))
    # dropout's factor is 0 with probability p and else 1 / (1 - p): its variance by hand
    assert p * 1 + (1 - p) * (1 / (1 - p) - 1) ** 2 == pytest.approx(p / (1 - p))


@pytest.mark.parametrize("relative", [True, False])
def test_there_is_no_noise_in_evaluation_and_training_needs_a_key(relative):
    layer = ReplicaNoise(0.5, relative=relative)
    x = torch.rand(2, 3, 4)
    with pytest.raises(ValueError, match="noise in training needs a key"):
        layer(x)
    assert layer.eval()(x) is x
    assert layer.replica(1)(x) is x


def test_the_strength_0_changes_nothing():
    for kind in (InputDropout, InputNoise):
        assert torch.equal(kind(0.0).batch(IMAGES, LABELS, KEY)[0], IMAGES)
    for kind in (ActivationNoise, GaussianDropout):
        assert torch.equal(kind(0.0).after_activation(400, SEEDS)(IMAGES, KEY), IMAGES)


def test_the_types_of_mixed_precision_are_kept():
    half = IMAGES.bfloat16()
    assert InputDropout().batch(half, LABELS, KEY)[0].dtype == torch.bfloat16
    assert InputNoise().batch(half, LABELS, KEY)[0].dtype == torch.bfloat16
    assert ActivationNoise().after_activation(400, SEEDS)(half, KEY).dtype == torch.bfloat16
    assert GaussianDropout().after_activation(400, SEEDS)(half, KEY).dtype == torch.bfloat16


def test_gradient_noise_has_the_variance_of_the_paper_and_is_other_noise_for_each_parameter():
    net = MLP([300, 130, 10], SEEDS)
    noise = GradientNoise(eta=0.3, gamma=0.55)
    noise.attach(net, SEEDS)
    parameters = dict(net.named_parameters())
    for step in range(3):
        found = noise.gradients(lambda at: {name: 2 * x for name, x in at.items()}, parameters, KEY.fold_in(step))
        drawn = torch.cat([(found[name] - 2 * x).detach().flatten(1) for name, x in parameters.items()], dim=1)
        # sqrt(eta / (1 + t) ** gamma) with the numbers of steps before: 0, 1, 2
        assert_normal(drawn[:, :40_000], [0.5477226, 0.4526750, 0.4048963][step])
        noise.after_step(net)
    first, last = (found[name].detach() - 2 * parameters[name] for name in ("layers.0.bias", "layers.2.bias"))
    assert not torch.equal(first[:, :10], last)


def test_a_resumed_run_goes_on_with_the_noise_where_it_stopped(run):
    options = ["--config", "tiny.yaml", "--seeds", 2, "--model.init_args.regularizers", "{noise: GradientNoise}"]
    for name, epochs in (("whole", 4), ("part", 2)):
        assert run("fit", *options, "--name", name, "--trainer.max_epochs", epochs)[0] == 0
    assert run("fit", "--ckpt_path", "last", "--name", "part", "--trainer.max_epochs", 4)[0] == 0
    whole, part = (
        torch.load(f"logs/{path}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for path in ("whole/version_0", "part/version_1")
    )
    assert whole["regularizers.noise.steps"] == 4 * 4
    for key, value in whole.items():
        assert torch.equal(value, part[key]), key


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: InputDropout(1.0), "input_dropout: p: must be at least 0 and below 1, got 1.0"),
        (lambda: GaussianDropout(-0.1), "gaussian_dropout: p: must be at least 0 and below 1, got -0.1"),
        (lambda: InputNoise(-1), "input_noise: std: must be at least 0 and finite, got -1"),
        (lambda: ActivationNoise(float("nan")), "activation_noise: std: must be at least 0 and finite, got nan"),
        (lambda: GradientNoise(-0.1), "gradient_noise: eta: must be at least 0 and finite, got -0.1"),
        (lambda: GradientNoise(gamma=float("inf")), "gradient_noise: gamma: must be at least 0 and finite, got inf"),
    ],
)
def test_a_strength_out_of_range_is_refused(make, fault):
    with pytest.raises(UserError, match=f"^{fault}$"):
        make()
