"""The training step of S networks as one pure function, compiled by torch (inductor).

What a step computes is said once, by `Objective`; this module only changes how it is carried out. Images are converted,
losses, gradients, running statistics and metrics are computed in one compiled graph, the update of the optimizer in
another (`Optimizer.step` always begins a new graph). Learning rates are tensors, so that a scheduler that changes them
does not start another compilation. The last batch of an epoch, if it is smaller, takes the ordinary way: compiling it
costs more than it saves.
"""

import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call, grad, grad_and_value
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from fashionreg.data.batches import IndexedBatch, to_network_input
from fashionreg.models.classifier import Classifier
from fashionreg.models.objective import Objective, StepLosses, gradients_key
from fashionreg.models.optimization import make_rates_tensors
from fashionreg.randomness import Key, fold_in
from fashionreg.regularizers.base import Tensors

#: Optimizers whose update is known to compile as a whole.
OPTIMIZERS = (SGD, Adam, AdamW, RMSprop, Adagrad)

#: Seconds that a first compilation takes at most, and that a compiled step saves at least: in all, and for each image
#: in it. Measured on two cores of an AMD EPYC: 8 to 11 s; 0.55 ms (64 images) and 1.0 ms (640) with the network of the
#: batch norm study, 0.9 ms (32) and 1.9 ms (320) with that of lecture 7.
COMPILATION, SAVED_PER_STEP, SAVED_PER_IMAGE = 15.0, 7e-4, 1e-6

#: Modules of classes that hold nothing in Python which changes what a step computes.
_KNOWN = ("fashionreg.", "torch.")

Step = Callable[..., list[Tensor]]

# names for the types within `step`: the compiler reads annotations there, and knows no subscripts
Point = Mapping[str, Tensor]
Outcome = tuple[Tensor, tuple[StepLosses, Tensors]]


def can_compile(model: Classifier, optimizer: Optimizer) -> bool:
    """Return whether the steps of a model are those that this module compiles."""
    own = type(model)
    ways = ("training_step", "backward", "optimizer_step")
    return type(optimizer) in OPTIMIZERS and all(getattr(own, way) is getattr(Classifier, way) for way in ways)


def decide(wish: bool | Literal["auto"], steps: float, images: int, *, on_cpu: bool) -> bool:
    """Return whether the steps of a fit are to be compiled.

    Args:
        wish: True and False are heeded; auto compiles on a CPU where there is a C++ compiler and compiling costs less
            time than it saves. On other devices that was not measured.
        steps: Steps to come.
        images: Images in a step, of all replicas together: S * B.
        on_cpu: Whether the fit runs on a CPU.
    """
    if wish != "auto":
        return wish
    saved = steps * (SAVED_PER_STEP + images * SAVED_PER_IMAGE)
    return on_cpu and saved > COMPILATION and shutil.which(os.environ.get("CXX", "g++")) is not None


def steps_to_come(options: Any, images: int, batch_size: int) -> float:
    """Return the number of steps that the options of a trainer allow: infinite without a limit, 0 with one in time."""
    if options.max_time is not None:
        return 0
    per_epoch = -(-images // batch_size)
    if (limit := options.limit_train_batches) is not None:
        per_epoch = min(per_epoch, limit) if isinstance(limit, int) else int(per_epoch * limit)
    steps = math.inf if options.max_epochs in (None, -1) else options.max_epochs * per_epoch
    return steps if options.max_steps == -1 else min(steps, options.max_steps)


def is_of_compiler(error: Exception) -> bool:
    """Return whether an error says that something cannot be compiled, for example without a C++ compiler."""
    return type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))


class CompiledStep:
    """The step of a model and its optimizer, compiled at its first call.

    Args:
        model: With its network built, in training mode.
        optimizer: One of `OPTIMIZERS`; its learning rates become tensors.
    """

    def __init__(self, model: Classifier, optimizer: Optimizer) -> None:
        # each compilation stands for one fit; torch keeps only a few of each function
        torch.compiler.reset()
        # it warns that the profiler's marks within an optimizer are left out
        torch._logging.set_logs(dynamo=logging.ERROR)  # type: ignore[attr-defined]
        self._model = model
        self._parameters = [x for x in model.network.parameters() if x.requires_grad]
        self._inputs = [x.detach() for x in self._parameters]
        self._buffers = list(model.network.buffers())
        self._no_keys = torch.empty(0, len(model.seeds), 2, dtype=torch.int32)
        self._numbers: Sequence[Tensor] = ()
        self._shape: torch.Size | None = None
        self._compiled: dict[bool, Step] = {}
        make_rates_tensors(optimizer)
        self._update = torch.compile(optimizer.step, dynamic=False)

    def takes(self, batch: IndexedBatch) -> bool:
        """Return whether a batch has the shape that this step was compiled for."""
        if self._shape is None:
            self._shape = batch.index.shape
        return batch.index.shape == self._shape

    def update(self) -> None:
        """Let the optimizer change the parameters."""
        self._update()

    @torch.no_grad()
    def gradients(self, batch: IndexedBatch, number: int) -> Tensor:
        """Set the gradients of the parameters, add to the metrics, and return the sum of the losses.

        Args:
            batch: The batch.
            number: Which step of the epoch this is, from 0.
        """
        model, source = self._model, batch.source
        if source.normalize not in self._compiled:
            self._compiled[source.normalize] = compiled(model, normalize=source.normalize)
        while len(self._numbers) <= number:
            self._numbers = torch.arange(2 * len(self._numbers) + 64, dtype=torch.int32, device=model.device).unbind()
        keys = self._no_keys if model.epoch_keys is None else model.epoch_keys
        totals = model.totals("train")
        pixels, labels = source.fetch(batch.index)
        loss, *gradients = self._compiled[source.normalize](
            self._inputs, self._buffers, pixels, labels, keys, self._numbers[number], totals.loss, totals.correct
        )
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        totals.count += labels.shape[1]
        return loss


def compiled(model: Classifier, *, normalize: bool) -> Step:
    """Return the compiled function of a model's training step."""
    step = make_step(model.objective, normalize=normalize)
    assert isinstance(step, FunctionType)
    # torch keeps what it compiles with the code of a function: with a copy, the step of one model is never mistaken for
    # that of another, whatever is checked before a call
    step = FunctionType(step.__code__.replace(), step.__globals__, step.__name__, None, step.__closure__)
    options: dict[str, Any] = {}
    if all(type(one).__module__.startswith(_KNOWN) for one in model.modules()):
        # nothing but the arguments changes from step to step: checking that costs a third of a small step
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    return torch.compile(step, fullgraph=True, dynamic=False, options=options)


def make_step(objective: Objective, *, normalize: bool) -> Step:
    """Return the training step as a pure function, but for sums and buffers, which it changes in place."""
    network = objective.network
    names = [name for name, x in network.named_parameters() if x.requires_grad]
    buffer_names = [name for name, _ in network.named_buffers()]

    def step(
        parameters: list[Tensor],
        buffers: list[Tensor],
        pixels: Tensor,
        labels: Tensor,
        epoch_keys: Tensor,
        number: Tensor,
        loss_sum: Tensor,
        correct_sum: Tensor,
    ) -> list[Tensor]:
        """Compute the loss and the gradient of each parameter.

        Args:
            parameters: Each `(S, ...)`.
            buffers: Each `(S, ...)`; changed in place.
            pixels: uint8 `(S, B, D)`.
            labels: int64 `(S, B)`.
            epoch_keys: int32 `(R, S, 2)`.
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

        here = dict(zip(names, parameters, strict=True))
        plain, (loss, (found, state)) = grad_and_value(losses, has_aux=True)(here)

        def compute(at: Point) -> Tensors:
            moved: Tensors = plain if at is here else grad(lambda x: losses(x)[0])(dict(at))
            return moved

        for name, regularizer in objective.gradient_hooks.items():
            compute = partial(regularizer.gradients, compute, key=keys[gradients_key(name)])
        gradients = compute(here)
        for buffer, changed in zip(buffers, state.values(), strict=True):
            buffer.copy_(changed)
        targets = found.targets.argmax(dim=-1) if found.targets.is_floating_point() else found.targets
        loss_sum += found.losses * pixels.shape[1]
        correct_sum += (found.logits.argmax(dim=-1) == targets).sum(dim=-1)
        return [loss, *(gradients[name] for name in names)]

    return step
