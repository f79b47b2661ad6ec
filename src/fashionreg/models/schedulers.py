"""Learning rate schedulers: when they step, and the lengths that a user leaves to the run."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from fashionreg.errors import UserError
from fashionreg.text import counted

Interval = Literal["step", "epoch"]

#: From an interval to how many of them the run has: infinite where it has no planned end.
RunLength = Callable[[Interval], float]

#: The argument that says how long a scheduler acts; left out, it is the whole run, or the part of it in a sequence.
LENGTHS: dict[type, str] = {
    OneCycleLR: "total_steps",
    CosineAnnealingLR: "T_max",
    PolynomialLR: "total_iters",
    LinearLR: "total_iters",
    ConstantLR: "total_iters",
}

#: Schedulers that are made to step after each training step.
BY_STEP = (OneCycleLR, CyclicLR)

#: A length for a scheduler that is made without a run, to see which state it has.
ANY_LENGTH = 1000

_INTERVAL_HELP = (
    "Whether it steps after each training step or after each epoch; by default by epoch where its arguments count "
    "something, and by step where they leave all lengths to the run, and with OneCycleLR and CyclicLR."
)
_LENGTH_HELP = "How many steps or epochs it acts, see interval; by default to the end of the run, or of its part."


def options_of(kind: type) -> dict[str, dict[str, Any]]:
    """Return the options of a scheduler that are this project's own, or in place of torch's, by name, for a parser."""
    if not issubclass(kind, LRScheduler) or issubclass(kind, ReduceLROnPlateau):
        return {}
    # it is told apart from version 0.1, where all stepped by epoch
    default = "step" if issubclass(kind, BY_STEP) else None
    options: dict[str, dict[str, Any]] = {
        "interval": {"type": Interval | None, "default": default, "help": _INTERVAL_HELP}
    }
    if kind in LENGTHS:
        options[LENGTHS[kind]] = {"type": int | None, "help": _LENGTH_HELP}
    if kind is SequentialLR:
        options["schedulers"] = {"type": list[LRSchedulerCallable] | None, "help": "One scheduler after another."}
        text = "Where each but the first begins: a share of the run (0.1), or a number of steps or epochs."
        options["milestones"] = {"type": list[int | float] | None, "help": text}
    return options


class Schedule:
    """Makes a learning rate scheduler, with the lengths of the run where a user has left them out.

    Args:
        factory: Makes the scheduler from the optimizer. Where it is a class, or `functools.partial` of one as the
            parser makes it, lengths may be left out, and a further argument `interval` says when the scheduler steps.
            Any other factory makes a scheduler that steps after each epoch.

    Attributes:
        interval: Whether it steps after each training step or after each epoch.
        follows_run: Whether its rates depend on how long the run is.

    Raises:
        UserError: If a sequence of schedulers is none, or it is not clear when it steps.
    """

    def __init__(self, factory: LRSchedulerCallable) -> None:
        self._factory = factory
        self.interval = _interval_of(factory)
        self.follows_run = _follows_run(factory)

    def __call__(self, optimizer: Optimizer, run_length: RunLength | None = None) -> LRScheduler:
        """Make the scheduler.

        Args:
            optimizer: The optimizer.
            run_length: The length of the run; None where the scheduler does not depend on it.

        Raises:
            UserError: If the scheduler refuses its arguments, or they do not fit the length of the run or need one.
        """
        if run_length is None and self.follows_run:
            raise UserError(
                "lr_scheduler: leaves its length to the run, and is made without one; give the length, or let "
                "configure_optimizers of Classifier make the scheduler"
            )
        length, ends = None, OneCycleLR in _kinds(self._factory)
        if run_length is not None and (self.follows_run or ends):
            length = run_length(self.interval)
            if self.follows_run and length == math.inf:
                raise UserError(
                    "lr_scheduler: leaves its length to the run, which has no planned end; give "
                    f"{' or '.join(sorted({*LENGTHS.values()}))}, or set trainer.max_epochs"
                )
            if length == math.inf:
                raise UserError(
                    "lr_scheduler: OneCycleLR has an end, and the run has no planned one; set trainer.max_epochs"
                )
        return self._checked(optimizer, length)

    def without_run(self, optimizer: Optimizer) -> LRScheduler:
        """Make the scheduler with any length, to see which state it has; its rates are not those of a run.

        Raises:
            UserError: If the scheduler refuses its arguments.
        """
        return self._checked(optimizer, None)

    def _checked(self, optimizer: Optimizer, length: float | None) -> LRScheduler:
        """Make the scheduler; what it refuses is a mistake of the user."""
        try:
            return self._make(self._factory, optimizer, length)
        except UserError:
            raise
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise UserError(f"lr_scheduler: {error}") from error

    def describe(self, scheduler: LRScheduler) -> str:
        """Describe a scheduler that was made here: `CosineAnnealingLR (T_max 1200), by step`."""
        return f"{_description(scheduler)}, by {self.interval}"

    def _make(self, factory: LRSchedulerCallable, optimizer: Optimizer, length: float | None) -> LRScheduler:
        """Make a scheduler for a run, or for a part of it, that has so many steps or epochs."""
        kind, arguments = _parts(factory)
        if kind is None:
            return factory(optimizer)
        arguments = {name: value for name, value in arguments.items() if name != "interval"}
        if kind is SequentialLR:
            arguments |= self._sequence(optimizer, length, **arguments)
        elif _leaves_length(kind, arguments):
            arguments[LENGTHS[kind]] = int(ANY_LENGTH if length is None else length)
        # of `partial`, which holds arguments that are left out
        make = partial(factory.func, *factory.args) if isinstance(factory, partial) else kind
        scheduler: LRScheduler = make(optimizer, **arguments)
        if isinstance(scheduler, OneCycleLR) and length is not None and scheduler.total_steps < length:
            raise UserError(
                f"lr_scheduler: OneCycleLR: total_steps: is {scheduler.total_steps}, and there are {length:,} "
                f"{self.interval}s to go through; leave it out, and it is that"
            )
        return scheduler

    def _sequence(
        self,
        optimizer: Optimizer,
        length: float | None,
        schedulers: Sequence[LRSchedulerCallable],
        milestones: Sequence[int | float],
        **others: Any,
    ) -> dict[str, Any]:
        """Make schedulers that act one after another, each for its part of the run."""
        end = int(ANY_LENGTH if length is None else length)
        # a share of a short run may round to nothing
        begins = [max(1, round(each * end)) if each < 1 else int(each) for each in milestones]
        if length is not None and (late := [each for each in milestones if each >= end]):
            raise UserError(
                f"lr_scheduler: SequentialLR: milestones: {late[0]} is not within the run, which has "
                f"{counted(end, self.interval)}; a number below 1 is a share of the run"
            )
        if begins != sorted(begins):
            raise UserError(
                f"lr_scheduler: SequentialLR: milestones: must increase; in this run {milestones} are {begins}"
            )
        parts = zip(schedulers, [0, *begins], [*begins, end], strict=True)
        made = [self._make(factory, optimizer, max(1, last - first)) for factory, first, last in parts]
        return {"schedulers": made, "milestones": begins}


def _parts(factory: LRSchedulerCallable) -> tuple[type | None, dict[str, Any]]:
    """Return the class of which a factory makes schedulers, and the arguments that it holds; None where it hides it."""
    named = [factory.func, *factory.args] if isinstance(factory, partial) else [factory]
    arguments = dict(factory.keywords) if isinstance(factory, partial) else {}
    kinds = [each for each in named if isinstance(each, type) and issubclass(each, LRScheduler)]
    return (kinds[0] if kinds else None), arguments


def _kinds(factory: LRSchedulerCallable) -> set[type | None]:
    """Return the class of a scheduler, and of those in a sequence."""
    kind, arguments = _parts(factory)
    return {kind}.union(*map(_kinds, arguments["schedulers"] if kind is SequentialLR else []))


def _leaves_length(kind: type | None, arguments: Mapping[str, Any]) -> bool:
    if kind is OneCycleLR and arguments.get("epochs") is not None:
        return False
    return kind in LENGTHS and arguments.get(LENGTHS[kind]) is None


def _follows_run(factory: LRSchedulerCallable) -> bool:
    kind, arguments = _parts(factory)
    if kind is not SequentialLR:
        return _leaves_length(kind, arguments)
    shares = any(each < 1 for each in arguments["milestones"])
    return shares or any(map(_follows_run, arguments["schedulers"]))


def _interval_of(factory: LRSchedulerCallable) -> Interval:
    """Return when a scheduler steps: what it was given, else what its arguments count."""
    kind, arguments = _parts(factory)
    if kind is SequentialLR:
        _check_sequence(**arguments)
    counted_in = _counts(factory)
    if len(counted_in) > 1:
        raise UserError(
            "lr_scheduler: SequentialLR: some of its numbers count steps, others epochs; say which by interval: step "
            "or interval: epoch"
        )
    return counted_in.pop() if counted_in else "step"


def _counts(factory: LRSchedulerCallable) -> set[Interval]:
    """Return what the arguments of a scheduler count: steps, epochs, nothing, or both."""
    kind, arguments = _parts(factory)
    if given := arguments.get("interval"):
        return {given}
    if kind is not None and issubclass(kind, BY_STEP):
        return {"step"}
    if kind is SequentialLR:
        own: set[Interval] = {"epoch"} if any(each >= 1 for each in arguments["milestones"]) else set()
        return own.union(*map(_counts, arguments["schedulers"]))
    return set() if _leaves_length(kind, arguments) else {"epoch"}


def _check_sequence(schedulers: Any = None, milestones: Any = None, **others: Any) -> None:
    """Refuse a sequence of schedulers without all that it needs."""
    where = "lr_scheduler: SequentialLR"
    if not schedulers or milestones is None:
        raise UserError(
            f"{where}: needs schedulers and milestones, as in schedulers: [LinearLR, CosineAnnealingLR] and "
            "milestones: [0.1]"
        )
    if not all(isinstance(each, partial | type) and _parts(each)[0] for each in schedulers):
        raise UserError(f"{where}: schedulers: must be classes of schedulers with their arguments")
    if nested := [kind for each in schedulers if (kind := _parts(each)[0]) in (SequentialLR, ReduceLROnPlateau)]:
        raise UserError(f"{where}: schedulers: cannot have {nested[0].__name__} among them")
    if len(milestones) != len(schedulers) - 1:
        raise UserError(
            f"{where}: milestones: must be {len(schedulers) - 1} for {counted(len(schedulers), 'scheduler')}, as the "
            f"first begins at once; got {len(milestones)}"
        )
    if min(milestones, default=1) <= 0 or any(each >= 1 and each != int(each) for each in milestones):
        raise UserError(f"{where}: milestones: must be shares of the run (0.1) or whole numbers, got {milestones}")
    if list(milestones) != sorted(milestones):
        raise UserError(f"{where}: milestones: must increase, got {milestones}")


def _description(scheduler: LRScheduler) -> str:
    name = type(scheduler).__name__
    if isinstance(scheduler, SequentialLR):
        first, *later = map(_description, scheduler._schedulers)
        begins = [f"from {begin:,} on {text}" for begin, text in zip(scheduler._milestones, later, strict=True)]
        return ", ".join([first, *begins])
    length = LENGTHS.get(type(scheduler))
    return name if length is None else f"{name} ({length} {getattr(scheduler, length)})"
