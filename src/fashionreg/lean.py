"""What makes a step inside Lightning cheaper without changing anything that it does.

A step of these networks is so small that Lightning's bookkeeping, the same for every model, is half of it. Each part of
it that is left out here was found by profiling (see `benchmarks/README.md`).
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.profilers import PassThroughProfiler


class EpochCallback(Callback):
    """A callback with nothing to do within an epoch.

    Lightning calls every hook of every callback in every step, also the empty ones, each under a profiler and with a
    name made for it. It asks first whether the hook can be called: None costs nothing.
    """

    on_train_batch_start = None  # type: ignore[assignment]
    on_train_batch_end: Callable[..., None] | None = None  # type: ignore[assignment]
    on_before_zero_grad = None  # type: ignore[assignment]
    on_before_backward = None  # type: ignore[assignment]
    on_after_backward = None  # type: ignore[assignment]
    on_before_optimizer_step = None  # type: ignore[assignment]


class EpochCheckpoint(EpochCallback, ModelCheckpoint):  # type: ignore[misc]
    """A `ModelCheckpoint` that saves at the end of epochs alone."""

    @property
    def state_key(self) -> str:
        """A key of its own: one that a user adds with the same settings is another checkpoint."""
        return type(self).__name__


class NoProfiler(PassThroughProfiler):
    """A profiler that does nothing, as Lightning's default does, without making a context for each nothing."""

    _nothing = contextlib.nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """The same empty context for every action."""
        return self._nothing
