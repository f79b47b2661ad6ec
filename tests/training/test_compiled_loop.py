"""The Python code around the compiled step: groups of replicas, when a step is made anew, and messages.

The step itself is called as it is, not compiled, unless a test says otherwise: that takes no compilation, and shows
errors of the code around it just as well.
"""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch._inductor.exc import InvalidCxxCompiler
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR
from torch.utils._pytree import tree_leaves

from fashionreg.data.batches import IndexedBatch, ResidentImages
from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.models import BaselineMLP, RegularizedMLP
from fashionreg.regularizers import Regularizer, ReplicaLayer
from fashionreg.training import loop as loop_module
from fashionreg.training import step as step_module
from fashionreg.training.fit import EXPECTED_WARNINGS
from fashionreg.training.loop import DirectEpochLoop
from fashionreg.training.step import CompiledStep, replica_groups
from samples import random_images

pytestmark = pytest.mark.filterwarnings(*(f"ignore:.*{message}" for message in EXPECTED_WARNINGS))

#: Steps of an epoch, and those of them that can be compiled.
STEPS, BETWEEN = 4, 2


def without_guards(model, step):
    """Call a step as a compiled one without guards runs it: with Python's values as they were at its first call."""
    modules = [*model.network.modules()]
    kept = [dict(vars(module)) for module in modules]

    def plain(values):
        return {name: x for name, x in values.items() if isinstance(x, bool | float)}

    def call(*arguments):
        now = [dict(vars(module)) for module in modules]
        for module, values in zip(modules, kept, strict=True):
            vars(module).update(plain(values))
        try:
            return step(*arguments)
        finally:
            for module, values in zip(modules, now, strict=True):
                vars(module).update(plain(values))

    return call


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """The steps that were made, none of them compiled."""
    made = []

    def compiled(model, step):
        made.append(step)
        return without_guards(model, step)

    monkeypatch.setattr(step_module, "compiled", compiled)
    return made


def fit(
    *,
    compiling=True,
    batch_norm=True,
    callbacks=(),
    optimizer=None,
    lr_scheduler=None,
    regularizers=None,
    kind=RegularizedMLP,
    batch_size=64,
    **options,
):
    """Train for three epochs, of four steps unless batches have another size."""
    model = kind(
        hidden_sizes=[8],
        batch_norm=batch_norm,
        regularizers=dict(regularizers or {}),
        optimizer=optimizer or partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        lr_scheduler=lr_scheduler,
        seeds=[0, 5],
    )
    data = SyntheticDataModule(train_size=200, test_size=50, batch_size=batch_size, seeds=[0, 5])
    options = {"accelerator": "cpu", "max_epochs": 3, "num_sanity_val_steps": 0} | options
    trainer = Trainer(
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=list(callbacks),
        **options,
    )
    DirectEpochLoop.install(trainer, compiling=compiling)
    trainer.fit(model, data)
    return trainer


def steps(trainer):
    return trainer.fit_loop.epoch_loop.compiled_steps


def assert_same_to_rounding(trainer, plain):
    ours, theirs = (each.lightning_module.state_dict() for each in (trainer, plain))
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        # sums of up to 784 terms in another order, over a dozen steps
        torch.testing.assert_close(x, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


class Change(Callback):
    """Change something before the second epoch."""

    def __init__(self, change):
        self._change = change

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self._change(trainer, pl_module)


def freeze(trainer, module):
    module.network.layers[0].weight.requires_grad_(False)


def evaluate_batch_norm(trainer, module):
    module.network.layers[1].eval()


def slow_batch_norm(trainer, module):
    module.network.layers[1].momentum = 0.9


def add_group(trainer, module):
    # as BackboneFinetuning: parameters come to an optimizer that has trained others
    (optimizer,) = trainer.optimizers
    *others, last = optimizer.param_groups[0]["params"]
    optimizer.param_groups[0]["params"] = others
    optimizer.add_param_group({"params": [last], "lr": 0.01, "nesterov": True})


def load_state(trainer, module):
    (optimizer,) = trainer.optimizers
    state = optimizer.state_dict()
    for each in state["state"].values():
        each["momentum_buffer"] = torch.ones_like(each["momentum_buffer"])
    optimizer.load_state_dict(state)
    optimizer.param_groups[0]["lr"] = 0.02


def clip(trainer, module):
    trainer.gradient_clip_val = 0.01


@pytest.mark.parametrize(
    "change", [freeze, evaluate_batch_norm, slow_batch_norm, add_group, load_state, clip], ids=lambda x: x.__name__
)
def test_what_a_callback_changes_between_epochs_holds_in_the_steps_after_it(change, made):
    trainer = fit(callbacks=[Change(change)])
    assert steps(trainer) == 3 * BETWEEN
    assert len(made) == 2
    assert_same_to_rounding(trainer, fit(compiling=False, callbacks=[Change(change)]))
    assert len(made) == 2


def test_a_step_is_made_once_where_nothing_but_rates_changes(made):
    class Rates(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            (group,) = trainer.optimizers[0].param_groups
            group["lr"] *= 0.5
            group["momentum"] *= 0.9

    trainer = fit(callbacks=[Rates()])
    assert steps(trainer) == 3 * BETWEEN
    assert len(made) == 1
    assert_same_to_rounding(trainer, fit(compiling=False, callbacks=[Rates()]))


def test_a_learning_rate_that_is_a_tensor_is_followed(made):
    class Halve(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            trainer.optimizers[0].param_groups[0]["lr"].mul_(0.5)

    make = lambda parameters: torch.optim.SGD(parameters, lr=torch.tensor(0.1))  # noqa: E731
    trainer = fit(callbacks=[Halve()], optimizer=make)
    assert steps(trainer) == 3 * BETWEEN
    assert_same_to_rounding(trainer, fit(compiling=False, callbacks=[Halve()], optimizer=make))


def test_replicas_that_are_larger_than_a_cpus_caches_take_their_steps_one_by_one(monkeypatch):
    monkeypatch.setattr(step_module, "GROUP_BYTES", 1)
    trainer = fit()
    assert replica_groups(trainer.lightning_module) == [slice(0, 1), slice(1, 2)]
    assert steps(trainer) == 3 * BETWEEN
    assert_same_to_rounding(trainer, fit(compiling=False))


class CountingLayer(ReplicaLayer):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, key=None):
        if self.training:
            self.calls += 1
        return x

    def probe(self, x):
        return x


class Counting(Regularizer):
    def before_activation(self, features, seeds):
        return CountingLayer()


def test_layers_of_a_user_take_the_steps_of_all_replicas_at_once(monkeypatch):
    monkeypatch.setattr(step_module, "GROUP_BYTES", 1)
    trainer = fit(regularizers={"counting": Counting()})
    assert replica_groups(trainer.lightning_module) == [None]
    assert steps(trainer) == 3 * BETWEEN
    assert trainer.lightning_module.network.layers[2].calls == 3 * STEPS


class Stop(Callback):
    """Stop a fit as Lightning's `Timer` does."""

    def __init__(self, after):
        self._after = after

    def needs_gradients(self, trainer):
        return False

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step >= self._after:
            trainer.should_stop = True


@pytest.mark.parametrize("options", [{}, {"min_steps": 7}], ids=str)
def test_a_callback_stops_a_fit_after_the_step_in_which_it_says_so(options, made):
    ours, theirs = (fit(compiling=each, callbacks=[Stop(after=6)], **options) for each in (True, False))
    assert made
    assert ours.global_step == theirs.global_step == options.get("min_steps", 6)
    assert ours.fit_loop.epoch_loop._batches_that_stepped == theirs.fit_loop.epoch_loop._batches_that_stepped
    assert ours.fit_loop.state_dict() == theirs.fit_loop.state_dict()
    assert_same_to_rounding(ours, theirs)


class Hooked(Callback):
    """Have a hook within the step in the second epoch only."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.on_after_backward = lambda *args: None
        elif trainer.current_epoch == 2:
            del self.on_after_backward


def test_only_the_epochs_in_which_something_needs_ordinary_steps_have_them(made, capsys):
    trainer = fit(callbacks=[Hooked()], max_epochs=4)
    assert steps(trainer) == 3 * BETWEEN
    assert len(made) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" need ")[0] for line in said] == [
        "compile: precision, profiler, gradient accumulation or a hook within the step"
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InvalidCxxCompiler(), "InvalidCxxCompiler: No working C++ compiler found"),
        (NotADirectoryError(20, "Not a directory", "cache"), "NotADirectoryError: [Errno 20] Not a directory: 'cache'"),
    ],
)
def test_a_compiler_that_fails_is_asked_once(error, line, monkeypatch, capsys):
    asked = []

    def failing(model, step):
        asked.append(step)
        raise error

    monkeypatch.setattr(step_module, "compiled", failing)
    trainer = fit()
    assert steps(trainer) == 0
    assert len(asked) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"compile: {line}")
    assert said.endswith("; training goes on without it")


class Masked(Regularizer):
    """Leave the first parameter as it is, by a hook of torch."""

    def attach(self, network, seeds):
        next(network.parameters()).register_hook(lambda gradient: gradient * 0)


def test_hooks_for_gradients_are_heard(made, capsys):
    trainer = fit(regularizers={"mask": Masked()})
    assert_same_to_rounding(trainer, fit(regularizers={"mask": Masked()}, compiling=False))
    assert steps(trainer) == 0
    assert not made
    assert capsys.readouterr().err == (
        "compile: a parameter has a hook for its gradient; training goes on without it\n"
    )


def test_hooks_of_the_optimizer_are_heard(made, capsys):
    heard = []

    def optimizer(parameters):
        own = torch.optim.SGD(parameters, lr=0.1)
        own.register_step_post_hook(lambda optimizer, *arguments: heard.append(optimizer))
        return own

    trainer = fit(optimizer=optimizer)
    assert steps(trainer) == 0
    # others make a step when the memory of a fit is estimated
    assert sum(each is trainer.optimizers[0] for each in heard) == 3 * STEPS
    assert capsys.readouterr().err == "compile: SGD has a hook for its step; training goes on without it\n"


def test_an_error_without_a_message_is_named_by_its_type():
    assert loop_module.reason(ValueError()) == "ValueError"
    assert loop_module.reason(ValueError("\n a\nb")) == "ValueError: a"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"val_check_interval": 2}, "evaluation within an epoch (trainer.val_check_interval) needs ordinary steps"),
        ({"val_check_interval": 2, "check_val_every_n_epoch": None}, "evaluation within an epoch"),
        ({"limit_train_batches": 2}, "the first and the last step of an epoch are ordinary, and an epoch has 2 steps"),
        ({"max_steps": 1}, "the first and the last step of an epoch are ordinary, and an epoch has 1 step"),
    ],
    ids=str,
)
def test_where_no_step_can_be_compiled_a_line_says_so(options, line, made, capsys):
    assert steps(fit(**options)) == 0
    assert not made
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"compile: {line}")
    assert said.endswith("; training goes on without it")


def test_batches_come_from_lightning_where_its_iterator_is_not_found():
    class Fetcher:
        fetched = 0
        iterator = SimpleNamespace()

        def __next__(self):
            return "batch", 0, 0

    fetcher = Fetcher()
    assert loop_module._next_batch(fetcher) == "batch"
    fetcher.iterator._iterator = SimpleNamespace(iterators=[iter(["direct"])])
    assert loop_module._next_batch(fetcher) == "direct"
    assert fetcher.fetched == 1


def test_a_step_is_given_tensors_of_the_models_device_only(monkeypatch):
    devices = set()

    def compiled(model, step):
        def call(*arguments):
            devices.update(x.device.type for x in tree_leaves(arguments))
            return torch.zeros((), device=model.device)

        return call

    monkeypatch.setattr(step_module, "compiled", compiled)
    # the device without memory stands for a GPU; this network draws no random numbers
    model = BaselineMLP(hidden_sizes=[8], seeds=[0, 5]).build(784, 10).to("meta")
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.1)
    source = ResidentImages(random_images(4), torch.device("meta"), normalize=True)
    batch = IndexedBatch(source, torch.zeros(2, 3, dtype=torch.int32, device="meta"))
    CompiledStep(model, optimizer, (None, None))(batch, 0)
    assert devices == {"meta"}


class Scale(Regularizer):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def gradients(self, compute, parameters, key):
        return {name: self.factor * x + 0.01 * parameters[name] for name, x in compute(parameters).items()}


class Ascent(Regularizer):
    broken = False

    def gradients(self, compute, parameters, key):
        if self.broken:
            raise ValueError("no way up")
        found = compute(parameters)
        return compute({name: x + 0.05 * found[name] for name, x in parameters.items()})


@pytest.mark.parametrize("names", [("scale", "ascent"), ("ascent", "scale")])
def test_gradient_hooks_follow_one_another_as_in_the_ordinary_step(names):
    make = {"scale": partial(Scale, 0.7), "ascent": Ascent}
    trainer, plain, single = (
        fit(compiling=compiling, regularizers={name: make[name]() for name in chosen})
        for compiling, chosen in ((True, names), (False, names), (False, names[:1]))
    )
    assert steps(trainer) == 3 * BETWEEN
    assert_same_to_rounding(trainer, plain)
    name = "network.layers.0.weight"
    assert not torch.allclose(plain.lightning_module.state_dict()[name], single.lightning_module.state_dict()[name])


def test_an_error_of_a_gradient_hook_in_a_compiled_step_names_the_regularizer():
    class Break(Callback):
        def needs_gradients(self, trainer):
            return False

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            pl_module.regularizers["up"].broken = batch_idx == 1

    with pytest.raises(ValueError, match=r"^regularizers\.up: gradients: ValueError: no way up$"):
        fit(callbacks=[Break()], regularizers={"up": Ascent()})


#: Schedulers that step after each training step, to the end of the run.
SCHEDULERS = {
    "one cycle": partial(OneCycleLR, max_lr=0.1, cycle_momentum=False),
    "warm-up": partial(SequentialLR, schedulers=[LinearLR, CosineAnnealingLR], milestones=[0.2]),
}


class OwnSchedule(RegularizedMLP):
    """A model of a user that makes its scheduler itself, to step after each training step."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)
        scheduler = OneCycleLR(optimizer, 0.1, total_steps=3 * STEPS, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def test_a_scheduler_that_a_model_makes_itself_steps_after_each_compiled_step(monkeypatch):
    monkeypatch.setattr(
        step_module, "compiled", lambda model, step: torch.compile(step, backend="eager", fullgraph=True)
    )
    torch._dynamo.reset()

    class Rates(Callback):
        def __init__(self):
            self.seen = []

        def needs_gradients(self, trainer):
            return False

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    rates = Rates()
    trainer = fit(kind=OwnSchedule, callbacks=[rates])
    assert steps(trainer) == 3 * BETWEEN
    scheduler = OneCycleLR(torch.optim.SGD([torch.zeros(1)], lr=0.01), 0.1, total_steps=3 * STEPS, cycle_momentum=False)
    expected = scheduler.get_last_lr()
    for _ in range(3 * STEPS - 1):
        scheduler.optimizer.step()
        scheduler.step()
        expected += scheduler.get_last_lr()
    assert rates.seen == expected
    assert_same_to_rounding(trainer, fit(compiling=False, kind=OwnSchedule))


def test_a_step_is_traced_for_constant_shapes_whatever_shapes_an_earlier_step_had(monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(any(isinstance(x, torch.SymInt) for x in inputs))
        return graph.forward

    monkeypatch.setattr(step_module, "compiled", lambda model, step: torch.compile(step, backend=backend))
    torch._dynamo.reset()
    for size in (32, 40, 48):
        fit(batch_size=size)
    assert traced == [False] * 3


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.Adam, weight_decay=0.01),
        partial(torch.optim.RMSprop, momentum=0.5),
        torch.optim.Adagrad,
        partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    ],
    ids=["Adam", "RMSprop", "Adagrad", "SGD"],
)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_fit_has_one_graph_whatever_its_optimizer_scheduler_and_clipping(optimizer, scheduler, monkeypatch):
    """Traced as for a compilation, with all guards: those that a compiled step leaves out would have failed never."""
    from torch._dynamo.utils import counters

    monkeypatch.setattr(
        step_module, "compiled", lambda model, step: torch.compile(step, backend="eager", fullgraph=True)
    )
    # what one test has compiled is not handed to the next
    torch._dynamo.reset()
    counters.clear()
    # without batch norm, before which a bias has no gradient but that of rounding, which some of these would scale to 1
    options = {
        "batch_norm": False,
        "lr_scheduler": SCHEDULERS[scheduler],
        "optimizer": optimizer,
        "gradient_clip_val": 0.02,
        "gradient_clip_algorithm": "value",
    }
    trainer = fit(**options)
    assert steps(trainer) == 3 * BETWEEN
    assert counters["stats"]["unique_graphs"] == 1
    assert_same_to_rounding(trainer, fit(compiling=False, **options))
