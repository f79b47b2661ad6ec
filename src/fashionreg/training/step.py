"""The training step of S networks as one pure function, compiled by torch (inductor).

One compiled graph converts the images and computes losses, gradients, running statistics, metrics and the update of the
parameters. `Objective` defines the losses. Gradient hooks and clipping are written here again, as are the updates in
`training/updates.py`; tests compare them with the ordinary step. Learning rates and other rates of the optimizer are
tensors in the graph, so that a scheduler that changes them does not start another compilation.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import is_
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value
from torch.optim import Optimizer

from fashionreg.data.batches import IndexedBatch, to_network_input
from fashionreg.models.classifier import Classifier
from fashionreg.models.networks import MLP
from fashionreg.models.objective import StepLosses, chosen_gradients, gradients_key
from fashionreg.randomness import Key, fold_in
from fashionreg.regularizers.base import Regularizer, Tensors, per_replica, with_hook
from fashionreg.regularizers.gradient_clipping import clipping_scale
from fashionreg.training.updates import Update, rates_of, update_of

#: Bytes of parameters of the replicas that take a step together on a CPU: more leave its caches, fewer pay the call of
#: the compiled function more often.
GROUP_BYTES = 5_500_000

#: Packages whose modules are assumed not to change the step through Python attributes.
_KNOWN = ("fashionreg.", "torch.")

#: Methods of a model that make up its step; where one is overridden, its steps are not those of this module.
STEP_METHODS = ("training_step", "backward", "optimizer_step", "configure_gradient_clipping", "after_step")

Step = Callable[..., Tensor]

# names for the types within `step`: the compiler reads annotations there, and knows no subscripts
Point = Mapping[str, Tensor]
Outcome = tuple[Tensor, tuple[StepLosses, Tensors]]


def obstacle(model: Classifier, optimizer: Optimizer) -> str | None:
    """Return why the steps of a model are not those that this module compiles; None if they are."""
    for method in STEP_METHODS:
        if getattr(type(model), method) is not getattr(Classifier, method):
            return f"{type(model).__name__} has its own {method}"
    if any(update_of(optimizer, group) is None for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} with these options is not among the optimizers whose update is compiled"
    # gradients are taken without autograd's accumulation, and the update is not `Optimizer.step`
    if any(x._backward_hooks or x._post_accumulate_grad_hooks for x in model.network.parameters()):
        return "a parameter has a hook for its gradient"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return f"{type(optimizer).__name__} has a hook for its step"
    return None


def is_of_compiler(error: Exception) -> bool:
    """Return whether an error of the first compiled step says that it cannot be compiled.

    There is no C++ compiler, for example, or the folder of torch's cache cannot be written.
    """
    return isinstance(error, OSError) or type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))


class CompiledStep:
    """The step of a model and its optimizer, compiled at its first call.

    It is made after the optimizer's first step, which creates the optimizer's state.

    Args:
        model: With its network built, in training mode.
        optimizer: One without an `obstacle`.
        clipping: The largest norm, or value, of the gradients, and "norm" or "value".
    """

    def __init__(self, model: Classifier, optimizer: Optimizer, clipping: tuple[float | None, str | None]) -> None:
        self._model, self._optimizer = model, optimizer
        self._assumed = assumptions(model, optimizer, clipping)
        trained = {name: x for name, x in model.network.named_parameters() if x.requires_grad}
        positions = {x: position for position, x in enumerate(trained.values())}
        self._updates = [(_known(update_of(optimizer, group)), group) for group in optimizer.param_groups]
        groups = [
            (update, [positions[x] for x in group["params"] if x in positions]) for update, group in self._updates
        ]
        hooks = with_hook(model.regularizers_by_name(), "after_step")
        # those of a user may count in Python, which a compiled step would not do
        self._after_step_compiled = all(_is_known(hook) for hook in hooks.values())
        self._make = partial(
            make_step, model, groups, clipping, list(hooks.values()) if self._after_step_compiled else []
        )
        self._step: Step | None = None
        self._shape: torch.Size | None = None
        self._rates: list[float] = []
        self._rate_tensor = torch.empty(0)
        self._no_keys = torch.empty(0, len(model.seeds), 2, dtype=torch.int32, device=model.device)
        self._numbers: Sequence[Tensor] = ()
        states = [
            {name: value for name, value in optimizer.state[x].items() if value is not None} for x in trained.values()
        ]
        self._counters = [state["step"] for state in states if "step" in state]
        self._replica_groups = replica_groups(model)
        # what each group of replicas changes: parameters, buffers, and the state of the optimizer
        self._tensors = [
            (
                [select_replicas(replicas, x) for x in trained.values()],
                [select_replicas(replicas, x) for x in model.network.buffers()],
                [{name: select_replicas(replicas, x) for name, x in state.items()} for state in states],
            )
            for replicas in self._replica_groups
        ]

    def is_valid(self, clipping: tuple[float | None, str | None]) -> bool:
        """Return whether everything is still as it was when this step was made.

        A callback may have frozen parameters, added a group to the optimizer or loaded its state.

        Args:
            clipping: As the constructor is given it.
        """
        objects, values = assumptions(self._model, self._optimizer, clipping)
        own_objects, own_values = self._assumed
        same = len(objects) == len(own_objects) and all(map(is_, objects, own_objects))
        return same and values == own_values

    def accepts(self, batch: Any) -> bool:
        """Return whether a batch is of the kind and shape that this step was compiled for."""
        if not isinstance(batch, IndexedBatch):
            return False
        if self._shape is None:
            self._shape = batch.index.shape
        return batch.index.shape == self._shape

    @torch.no_grad()
    def __call__(self, batch: IndexedBatch, number: int) -> Tensor:
        """Change the network and the state of its optimizer, add to the metrics, and return the sum of the losses.

        Args:
            batch: The batch.
            number: Which step of the epoch this is, from 0.
        """
        model, source = self._model, batch.source
        while len(self._numbers) <= number:
            self._numbers = torch.arange(2 * len(self._numbers) + 64, dtype=torch.int32, device=model.device).unbind()
        rates = [rate for update, group in self._updates for rate in rates_of(update, group)]
        if rates != self._rates:
            self._rates = rates
            self._rate_tensor = torch.tensor(rates, dtype=torch.float64, device=model.device)
        shapes: AbstractContextManager[object] = nullcontext()
        if self._step is None:
            self._step = compiled(model, self._make(normalize=source.normalize))
            # this call compiles; shapes are constants, whatever an earlier step had: `torch.compile(dynamic=False)`
            # sets the same option again in each call, which takes a notable part of the time of a small step
            shapes = torch._dynamo.config.patch(automatic_dynamic_shapes=False)
        totals, number_of_step = model.totals("train"), self._numbers[number]
        keys = self._no_keys if model.epoch_keys is None else model.epoch_keys
        total: Tensor | None = None
        for replicas, tensors in zip(self._replica_groups, self._tensors, strict=True):
            pixels, labels = source.fetch(select_replicas(replicas, batch.index))
            own_keys = keys if replicas is None else keys[:, replicas]
            sums = select_replicas(replicas, totals.loss), select_replicas(replicas, totals.correct)
            with shapes:
                loss = self._step(*tensors, self._rate_tensor, pixels, labels, own_keys, number_of_step, *sums)
            total = loss if total is None else total + loss
        if self._counters:
            torch._foreach_add_(self._counters, 1)
        totals.count += batch.index.shape[1]
        if not self._after_step_compiled:
            model.after_step()
        assert total is not None
        return total


def assumptions(
    model: Classifier, optimizer: Optimizer, clipping: tuple[float | None, str | None]
) -> tuple[list[object], list[object]]:
    """Return what a compiled step relies on and a callback can change: objects, and values.

    The objects are the tensors that the step changes, and the groups of the optimizer with their parameters. The values
    are what is not a tensor: plain attributes of the modules, as `training`, which known modules are compiled without
    checks of, which parameters are trained, options of the optimizer, and clipping.
    """
    groups, modules = optimizer.param_groups, [*model.network.modules(), *model.regularizers.modules()]
    parameters = list(model.network.parameters())
    states = [optimizer.state.get(x, {}) for x in parameters]
    objects: list[object] = [
        *parameters,
        *model.network.buffers(),
        *(x for state in states for x in state.values()),
        *(x for group in groups for x in (group, *group["params"])),
    ]
    values: list[object] = [
        clipping,
        [x.requires_grad for x in parameters],
        [list(state) for state in states],
        [{name: x for name, x in group.items() if isinstance(x, bool)} for group in groups],
        [
            {name: x for name, x in vars(module).items() if isinstance(x, bool | int | float | str)}
            for module in modules
            if _is_known_class(module)
        ],
    ]
    return objects, values


def replica_groups(model: Classifier) -> list[slice | None]:
    """Return which replicas take a step together: all of them, None, or as many as a CPU's caches hold.

    Replicas are independent, so that one graph serves all groups in turn; these must be of equal size. Networks and
    layers of a user, and regularizers that keep tensors of all replicas, are not divided.
    """
    replicas = len(model.seeds)
    keeping = [
        one
        for one in model.regularizers_by_name().values()
        if one.overrides("after_step") or any(x.shape[:1] == (replicas,) for x in one.buffers())
    ]
    mine = type(model.network) is MLP and _is_known(model) and not keeping
    bytes_each = sum(x.nbytes for x in model.network.parameters()) / replicas
    # a replica that is larger than the caches takes its step alone
    limit = max(1, int(GROUP_BYTES // bytes_each))
    if model.device.type != "cpu" or not mine or replicas <= limit:
        return [None]
    size = max((n for n in range(1, limit + 1) if replicas % n == 0), default=0)
    # with a number of replicas that has no such divisor, many small groups would cost more than they save
    if 2 * size < limit:
        return [None]
    return [slice(first, first + size) for first in range(0, replicas, size)]


def select_replicas(replicas: slice | None, x: Tensor) -> Tensor:
    """Return the replicas of a group; a tensor without axes belongs to all."""
    return x if replicas is None or not x.dim() else x.detach()[replicas]


def _known(update: Update | None) -> Update:
    assert update is not None
    return update


def _is_known(module: nn.Module) -> bool:
    return all(map(_is_known_class, module.modules()))


def _is_known_class(module: nn.Module) -> bool:
    return type(module).__module__.startswith(_KNOWN)


def compiled(model: Classifier, step: Step) -> Step:
    """Return the compiled function of a model's training step."""
    assert isinstance(step, FunctionType)
    # torch keeps what it compiles with the code of a function: with a copy, the step of one model is never mistaken for
    # that of another, whatever is checked before a call
    step = FunctionType(step.__code__.replace(), step.__globals__, step.__name__, None, step.__closure__)
    options: dict[str, Any] = {}
    if _is_known(model):
        # nothing but the arguments changes from step to step: checking that costs a third of a small step
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    function: Step = torch.compile(step, fullgraph=True, options=options)
    return function


def make_step(
    model: Classifier,
    groups: Sequence[tuple[Update, Sequence[int]]],
    clipping: tuple[float | None, str | None],
    after_step: Sequence[Regularizer],
    *,
    normalize: bool,
) -> Step:
    """Return the training step as a function of tensors, which it changes in place.

    Args:
        model: With its network built.
        groups: The update of each group of the optimizer, and the positions of its parameters.
        clipping: As `CompiledStep` is given it.
        after_step: The regularizers whose hook `after_step` is a part of the step.
        normalize: As `ResidentImages.normalize`.
    """
    objective = model.objective
    network = objective.network
    names = [name for name, x in network.named_parameters() if x.requires_grad]
    buffer_names = [name for name, _ in network.named_buffers()]
    limit, algorithm = clipping

    def step(
        parameters: list[Tensor],
        buffers: list[Tensor],
        states: list[Tensors],
        rates: Tensor,
        pixels: Tensor,
        labels: Tensor,
        epoch_keys: Tensor,
        number: Tensor,
        loss_sum: Tensor,
        correct_sum: Tensor,
    ) -> Tensor:
        """Take a step and return the sum over replicas of what they minimize.

        Args:
            parameters: Each `(S, ...)`; changed in place, as are the next two.
            buffers: Each `(S, ...)`.
            states: What the optimizer keeps for each parameter, by name.
            rates: float64 `(R,)`, the rates of all groups one after the other.
            pixels: uint8 or float32 `(S, B, D)`.
            labels: int64 `(S, B)`.
            epoch_keys: int32 `(C, S, 2)` for the C consumers of random numbers.
            number: int32 scalar, which step of the epoch this is.
            loss_sum: `(S,)`, changed in place, as is the next.
            correct_sum: int64 `(S,)`.
        """
        images = to_network_input(pixels, normalize=normalize)
        words = fold_in(epoch_keys, number).unbind()
        keys = {name: Key(row) for name, row in zip(objective.consumers, words, strict=True)}

        def losses(at: Point) -> Outcome:
            # copies, since the gradient is that of a function without side effects
            state = {name: x.clone() for name, x in zip(buffer_names, buffers, strict=True)}
            named = {f"network.{name}": x for name, x in (dict(at) | state).items()}
            found: StepLosses = functional_call(objective, named, (images, labels, keys))
            return found.total.sum(), (found, state)

        here = {name: x.detach() for name, x in zip(names, parameters, strict=True)}
        plain, (loss, (found, state)) = grad_and_value(losses, has_aux=True)(here)

        def compute(at: Point) -> Tensors:
            moved: Tensors = plain if at is here else grad(lambda x: losses(x)[0])(dict(at))
            return moved

        for name, regularizer in objective.gradient_hooks.items():
            compute = partial(chosen_gradients, name, regularizer, compute, keys[gradients_key(name)])
        by_name = compute(here)
        gradients = [by_name[name] for name in names]
        if limit and algorithm == "value":
            gradients = [gradient.clamp(-limit, limit) for gradient in gradients]
        elif limit:
            scale = clipping_scale(gradients, limit)
            gradients = [gradient * per_replica(scale, gradient) for gradient in gradients]

        for buffer, changed in zip(buffers, state.values(), strict=True):
            buffer.copy_(changed)
        rest = rates.unbind()
        for update, positions in groups:
            named_rates = dict(zip(update.rates, rest, strict=False))
            rest = rest[len(update.rates) :]
            for position in positions:
                update.apply(parameters[position], gradients[position], states[position], named_rates)
        for regularizer in after_step:
            regularizer.after_step(network)

        targets = found.targets.argmax(dim=-1) if found.targets.is_floating_point() else found.targets
        loss_sum += found.losses * pixels.shape[1]
        correct_sum += (found.logits.argmax(dim=-1) == targets).sum(dim=-1)
        total: Tensor = loss
        return total

    return step
