"""Replica k of a run computes what the network with that seed computes alone, in an ordinary torch.nn loop."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import nn, optim

from fashionreg.data.datamodules import CSVDataModule, SyntheticDataModule
from fashionreg.models import BaselineMLP, RegularizedMLP
from fashionreg.randomness import Key, fold_in, generator, replica_keys
from fashionreg.training.fit import EXPECTED_WARNINGS

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))

HIDDEN = [12, 9]
SGD = partial(optim.SGD, lr=0.05)

CASES = {
    "baseline": (BaselineMLP, {"optimizer": SGD}, {}),
    "batch norm": (RegularizedMLP, {"batch_norm": True, "optimizer": SGD}, {}),
    "dropout": (RegularizedMLP, {"dropout": 0.3, "optimizer": SGD}, {}),
    "weight decay": (BaselineMLP, {"optimizer": partial(SGD, weight_decay=0.01)}, {}),
    "momentum": (BaselineMLP, {"optimizer": partial(SGD, momentum=0.9)}, {}),
    "Adam": (BaselineMLP, {"optimizer": partial(optim.Adam, lr=0.01)}, {}),
    "clipping": (BaselineMLP, {"optimizer": SGD}, {"gradient_clip_val": 0.1}),
    "all": (
        RegularizedMLP,
        {"batch_norm": True, "dropout": 0.3, "optimizer": partial(SGD, momentum=0.9, weight_decay=0.01)},
        {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "norm"},
    ),
}


def fit(case, data, seeds, epochs=2, **trainer):
    model_class, arguments, extra = CASES[case]
    model = model_class(hidden_sizes=HIDDEN, seeds=seeds, **arguments)
    options = {"max_epochs": epochs, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
    Trainer(**options, **extra, **trainer).fit(model, datamodule=data(seeds))
    return model


def synthetic(seeds):
    # 330 images in batches of 64: the last of an epoch holds 10
    return SyntheticDataModule(train_size=330, test_size=100, batch_size=64, seeds=seeds)


def alone_in_plain_torch(case, seed, epochs=2):
    """The notebook's loop in double precision, given the replica's start, its data order and its dropout masks."""
    model_class, arguments, extra = CASES[case]
    net = model_class(hidden_sizes=HIDDEN, seeds=[seed], **arguments).build(784, 10).network.replica(0).double()
    optimizer = arguments["optimizer"](net.parameters())
    data = synthetic([seed]).splits
    images, labels = (data.train.images.flatten(1).float() / 255).double(), data.train.labels
    for epoch in range(epochs):
        keys = [fold_in(replica_keys([seed], f"dropout/{layer}", epoch), 0) for layer in range(1, len(HIDDEN) + 1)]
        order = torch.randperm(len(labels), generator=generator(seed, "order", epoch))
        for step, index in enumerate(order.split(64)):
            masks = iter(
                Key(fold_in(key, step)).bernoulli(0.7, len(index) * width)[0]
                for key, width in zip(keys, HIDDEN, strict=True)
            )
            x = images[index]
            for layer in net:
                dropped = isinstance(layer, nn.Dropout)
                x = x * next(masks).view(x.shape) / 0.7 if dropped else layer(x)
            optimizer.zero_grad()
            F.cross_entropy(x, labels[index]).backward()
            if extra:
                nn.utils.clip_grad_norm_(net.parameters(), extra["gradient_clip_val"])
            optimizer.step()
    net.eval()
    logits = net((data.test.images.flatten(1).float() / 255).double())
    return net, {
        "loss": F.cross_entropy(logits, data.test.labels).item(),
        "acc": (logits.argmax(dim=1) == data.test.labels).double().mean().item(),
    }


@pytest.mark.parametrize("case", CASES)
def test_a_replica_among_others_computes_what_plain_torch_computes_for_it_alone(case):
    seeds = [4, 0, 7]
    model = fit(case, synthetic, seeds, precision="64-true")
    for index, seed in enumerate(seeds):
        plain, expected = alone_in_plain_torch(case, seed)
        trained = model.network.replica(index).state_dict()
        for name, value in plain.state_dict().items():
            if "num_batches" not in name:
                torch.testing.assert_close(trained[name], value, rtol=1e-6, atol=1e-9, msg=f"{case} {name}")
        results = model.results()["test"]
        assert results["loss"][index].item() == pytest.approx(expected["loss"], rel=1e-6)
        assert results["acc"][index].item() == pytest.approx(expected["acc"], abs=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("source", ["synthetic", "csv"])
def test_a_replica_among_ten_equals_the_run_of_its_seed_alone(case, source, tmp_path):
    if source == "csv":
        from fashionreg.data.csv_files import write_csv

        write_csv(synthetic([0]).splits.train, tmp_path / "small.csv")

    def data(seeds):
        # 264 images of the CSV to train on, in batches of 50: the last of an epoch holds 14
        return (
            CSVDataModule(str(tmp_path / "small.csv"), batch_size=50, seeds=seeds)
            if source == "csv"
            else synthetic(seeds)
        )

    # in double precision, as Adam divides a gradient by its size and amplifies a rounding of 1e-9 to a whole step
    together = fit(case, data, list(range(10)), precision="64-true")
    for seed in (0, 6):
        alone = fit(case, data, [seed], precision="64-true")
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name][seed], value[0], rtol=1e-6, atol=1e-9, msg=f"{name}")
        for split, metrics in alone.results().items():
            torch.testing.assert_close(together.results()[split]["loss"][seed], metrics["loss"][0], rtol=1e-5, atol=0)
            assert together.results()[split]["acc"][seed] == metrics["acc"][0]


def test_the_order_of_images_differs_between_seeds_and_epochs():
    loader = synthetic([0, 1]).train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        orders.append(torch.cat(list(loader.sampler), dim=1))
    for order in (*orders[0], *orders[1]):
        assert order.sort().values.tolist() == list(range(330))
    distinct = {tuple(order.tolist()) for order in (*orders[0], *orders[1])}
    assert len(distinct) == 4
