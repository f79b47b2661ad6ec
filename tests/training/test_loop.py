"""The direct way from batch to step against Lightning's own loop."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from fashionreg import callbacks
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.models import RegularizedMLP
from fashionreg.training.fit import EXPECTED_WARNINGS
from fashionreg.training.loop import DirectEpochLoop, EpochCheckpoint

SEEDS = [0, 5]

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))


def make_model(kind=RegularizedMLP):
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3)
    scheduler = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    return kind(
        hidden_sizes=[8], batch_norm=True, dropout=0.2, optimizer=optimizer, lr_scheduler=scheduler, seeds=SEEDS
    )


class StepLog(RegularizedMLP):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("step_loss", loss, on_step=True, on_epoch=True)
        return loss


def fit(folder, *, direct, model=None, data=SyntheticDataModule, callbacks=(), **options):
    """The checkpoint after two epochs of four steps, and the trainer."""
    seed_everything(0)
    checkpoint = EpochCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    options = {"accelerator": "cpu", "max_epochs": 2, "num_sanity_val_steps": 0, "log_every_n_steps": 1} | options
    trainer = Trainer(
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[checkpoint, *callbacks],
        **options,
    )
    if direct:
        DirectEpochLoop.install(trainer)
    datamodule = data(train_size=200, test_size=50, batch_size=64, seeds=SEEDS)
    trainer.fit(model or make_model(), datamodule)
    path = folder / "last.ckpt"
    return (torch.load(path, weights_only=False) if path.exists() else None), trainer


def assert_same(a, b, where=""):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}/{index}")
    else:
        assert a == b, where


class Listener(Callback):
    def __init__(self):
        self.calls = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.calls.append(("start", trainer.global_step, batch_idx, batch[0].shape))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        norm = sum(parameter.grad.norm() for parameter in pl_module.parameters())
        self.calls.append(("step", trainer.global_step, norm.item()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.calls.append(("end", trainer.global_step, batch_idx, outputs["loss"].item()))


class Logger(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        pl_module.log("grad_norm", sum(parameter.grad.norm() for parameter in pl_module.parameters()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log("batch_loss", outputs["loss"], on_step=False, on_epoch=True)


class OwnClipping(RegularizedMLP):
    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        for parameter in self.parameters():
            parameter.grad.clamp_(-0.001, 0.001)


class OwnBackward(RegularizedMLP):
    def backward(self, loss):
        (0.5 * loss).backward()


class SilentSGD(torch.optim.SGD):
    """An optimizer that keeps the loss to itself, and calls for it twice."""

    def step(self, closure=None):
        if closure is not None:
            closure()
        super().step(closure)


class AfterBackward(Callback):
    calls = 0

    def on_after_backward(self, trainer, pl_module):
        self.calls += 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_clip_val": 0.05},
        {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
        {"val_check_interval": 2},
        {"max_steps": 6},
        {"limit_train_batches": 3},
    ],
    ids=str,
)
def test_everything_a_checkpoint_holds_is_the_same_as_with_lightnings_own_loop(tmp_path, options):
    (ours, trainer), (theirs, plain) = (
        fit(tmp_path / str(direct), direct=direct, callbacks=[Listener()], **options) for direct in (True, False)
    )
    assert trainer.fit_loop.epoch_loop._direct
    assert trainer.global_step == plain.global_step
    assert_same(trainer.lightning_module.state_dict(), plain.lightning_module.state_dict())
    assert_same(trainer.callback_metrics, plain.callback_metrics)
    if theirs is not None:
        for checkpoint in (ours, theirs):
            checkpoint["callbacks"].pop("EpochCheckpoint")  # holds its path
            del checkpoint["hyper_parameters"]
        assert {"state_dict", "optimizer_states", "lr_schedulers", "loops"} <= ours.keys()
        assert_same(ours, theirs)


def test_callbacks_hear_of_every_step_as_they_do_from_lightning(tmp_path):
    ours, theirs = Listener(), Listener()
    fit(tmp_path / "a", direct=True, callbacks=[ours])
    fit(tmp_path / "b", direct=False, callbacks=[theirs])
    assert ours.calls == theirs.calls
    assert len(ours.calls) == 3 * 2 * 4


def test_what_a_model_logs_in_a_step_is_the_same(tmp_path):
    metrics = [
        fit(tmp_path / str(direct), direct=direct, model=make_model(StepLog))[1].callback_metrics
        for direct in (True, False)
    ]
    assert {"step_loss_step", "step_loss_epoch"} <= metrics[0].keys()
    assert_same(*metrics)


def test_what_a_callback_logs_in_a_step_is_the_same(tmp_path):
    metrics = [
        fit(tmp_path / str(direct), direct=direct, callbacks=[Logger()])[1].callback_metrics for direct in (True, False)
    ]
    assert {"grad_norm", "batch_loss"} <= metrics[0].keys()
    assert_same(*metrics)


@pytest.mark.parametrize("changed", ["clipping", "backward", "optimizer"])
def test_a_users_clipping_backward_and_optimizer_are_heeded(tmp_path, changed):
    states = []
    for direct in (True, False):
        model = make_model({"clipping": OwnClipping, "backward": OwnBackward}.get(changed, RegularizedMLP))
        if changed == "optimizer":
            model.optimizer = partial(SilentSGD, lr=0.1)
        _, trainer = fit(tmp_path / str(direct), direct=direct, model=model, callbacks=[Listener()])
        states.append(trainer.lightning_module.state_dict())
    plain = fit(tmp_path / "plain", direct=True)[1].lightning_module.state_dict()
    assert_same(*states)
    assert any(not torch.equal(states[0][name], value) for name, value in plain.items())


def test_a_checkpoint_within_an_epoch_is_lightnings(tmp_path):
    for name, direct in (("a", True), ("b", False)):
        every = ModelCheckpoint(tmp_path / name, "{step}", every_n_train_steps=3, save_top_k=-1)
        fit(tmp_path / name / "own", direct=direct, callbacks=[every])
    ours, theirs = (
        {path.name: torch.load(path, weights_only=False) for path in (tmp_path / name).glob("*.ckpt")} for name in "ab"
    )
    assert set(ours) == {"step=3.ckpt", "step=6.ckpt"}
    for name in ours:
        assert_same(ours[name]["state_dict"], theirs[name]["state_dict"])
        assert_same(ours[name]["loops"], theirs[name]["loops"])


class OwnAfterBackward(RegularizedMLP):
    def on_after_backward(self):
        for parameter in self.parameters():
            parameter.grad.mul_(0.5)


class Noisy(SyntheticDataModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] * 0.9, batch[1]


class Dimmed(SyntheticDataModule):
    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return batch[0] * 0.9, batch[1]


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [AfterBackward()]},
        {"precision": "bf16-mixed"},
        {"accumulate_grad_batches": 2},
        {"profiler": "simple"},
        {"model": OwnAfterBackward},
        {"data": Noisy},
        {"data": Dimmed},
    ],
    ids=["callback", "precision", "accumulation", "profiler", "module", "after transfer", "transfer"],
)
def test_where_something_stands_between_the_steps_are_lightnings(tmp_path, options, capsys):
    kind = options.get("model", RegularizedMLP)
    options = {name: value for name, value in options.items() if name != "model"}
    results = [
        fit(tmp_path / str(direct), direct=direct, model=make_model(kind), **options)[1] for direct in (True, False)
    ]
    assert not results[0].fit_loop.epoch_loop._direct
    assert_same(*(trainer.lightning_module.state_dict() for trainer in results))
    for callback in options.get("callbacks", []):
        assert callback.calls == 2 * 2 * 4


def test_the_models_and_callbacks_of_the_package_go_the_direct_way(fitted, monkeypatch):
    ways = []
    start = DirectEpochLoop.on_run_start

    def watched(self, data_fetcher):
        start(self, data_fetcher)
        ways.append(self._direct)

    monkeypatch.setattr(DirectEpochLoop, "on_run_start", watched)
    assert fitted("fit", "--config", "tiny.yaml")[0] == 0
    words = [f"--trainer.callbacks+=fashionreg.callbacks.{name}" for name in callbacks.__all__]
    assert fitted("fit", "--config", "tiny.yaml", *words)[0] == 0
    assert ways == [True] * 4
