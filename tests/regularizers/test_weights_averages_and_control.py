"""All of normalization, weights, averaging, optimization and control at once, through YAML and the command line."""

import pandas as pd
import pytest
import torch
import yaml

from samples import rounding

REGULARIZERS = {
    "norm": {"class_path": "LayerNorm"},
    "ghost": {"class_path": "GhostBatchNorm", "init_args": {"size": 16, "place": "after_activation"}},
    "length": {"class_path": "WeightNorm"},
    "spectrum": {"class_path": "SpectralNorm"},
    "connect": {"class_path": "DropConnect", "init_args": {"p": 0.2}},
    "lasso": {"class_path": "L1", "init_args": {"strength": 1e-4}},
    "orthogonal": {"class_path": "OrthogonalPenalty"},
    "decay": {"class_path": "DecoupledWeightDecay", "init_args": {"strength": 1e-3}},
    "stop": {"class_path": "EarlyStopping", "init_args": {"patience": 1, "min_delta": 0.02}},
    "short": {"class_path": "MaxNorm", "init_args": {"limit": 2.0}},
    "clip": {"class_path": "WeightClipping", "init_args": {"limit": 1.5}},
    "slow": {"class_path": "Lookahead", "init_args": {"steps": 3}},
    "mean": {"class_path": "SWA", "init_args": {"start": 1}},
    "sharp": {"class_path": "SAM", "init_args": {"rho": 0.02}},
    "limit": {"class_path": "GradientClipping", "init_args": {"limit": 0.5, "kind": "adaptive"}},
}

ALL = {
    "name": "all",
    "seeds": 3,
    "model": {
        "class_path": "RegularizedMLP",
        "init_args": {
            "hidden_sizes": [8],
            "regularizers": REGULARIZERS,
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}},
        },
    },
    "data": {
        "class_path": "SyntheticDataModule",
        "init_args": {"train_size": 300, "test_size": 60, "val_size": 60, "batch_size": 64},
    },
    "trainer": {"max_epochs": 4, "accelerator": "cpu"},
}


@pytest.fixture
def fit(run, workplace):
    """Fits all at once, and returns record, state of the last checkpoint and its path."""
    (workplace / "all.yaml").write_text(yaml.safe_dump(ALL))

    def fit(*options):
        code, out, err = run("fit", *options)
        assert code == 0, err
        folder = next(line.split()[1] for line in out.splitlines() if line.startswith("logs"))
        path = f"{folder}/checkpoints/last.ckpt"
        state = torch.load(path, weights_only=True)["state_dict"]
        return pd.read_csv(f"{folder}/record.csv"), state, path

    return fit


def assert_same_to_rounding(one, other):
    pd.testing.assert_frame_equal(one.drop(columns="value"), other.drop(columns="value"))
    # float32 sums of up to 784 terms in another order, over sixteen steps; an accuracy changes by whole images
    assert one.value.to_numpy() == pytest.approx(other.value.to_numpy(), rel=1e-3, abs=1e-4)


def test_a_seed_among_others_is_that_seed_alone_and_a_resumed_run_goes_on_as_it_began(fit, run):
    config = ["--config", "all.yaml", "--compile", "false"]
    whole, state, path = fit(*config)
    assert len(whole.groupby(["seed", "split", "metric"]).size().unique()) == 1
    stopped = state["regularizers.stop.stopped"]
    alone, _, _ = fit(*config, "--seeds", "[1]")
    assert_same_to_rounding(alone, whole[whole.seed == 1].reset_index(drop=True))

    fit(*config, "--name", "cut", "--trainer.max_epochs", 2)
    resumed, resumed_state, _ = fit("--ckpt_path", "last", "--name", "cut", "--trainer.max_epochs", 4)
    assert resumed.equals(whole)
    for name, value in state.items():
        assert torch.equal(value, resumed_state[name]), name

    # what is exported is what the best epoch was evaluated with
    assert run("export", "--ckpt_path", path, "--seed", 1, "--out", "net.pt", "--keep_batch_norm")[0] == 0
    exported = torch.load("net.pt", weights_only=True)
    left, right = (state[f"regularizers.spectrum.layers/4/weight/{side}"][1] for side in ("left", "right"))
    kept, length = (state[f"regularizers.stop.layers/4/{name}"][1] for name in ("weight", "weight_length"))
    weights = kept / kept.norm(dim=0) * length
    weights = weights / (left @ weights @ right)
    last = exported[max(name for name in exported if name.endswith("weight"))]
    torch.testing.assert_close(last, weights.T, rtol=0, atol=rounding(8, weights.abs().sum(dim=0).max()))
    assert stopped.dtype == torch.bool
