"""Whether compiling the training step is worth its time."""

import math
from typing import Any, Literal

#: Seconds that a first compilation takes, and that a compiled step saves: in all, and for each image in it. Measured by
#: `make bench` on two cores of an AMD EPYC: 14 to 16 s; 0.6 ms (64 images) and 1.1 ms (640) with the network of the
#: batch norm study, 1.0 ms (32) and 2.0 ms (320) with that of lecture 7.
COMPILATION, SAVED_PER_STEP, SAVED_PER_IMAGE = 15.0, 7e-4, 1e-6

#: Seconds to compile when torch's cache already holds the graph: 3 to 4 measured, 6 assumed.
COMPILATION_FROM_CACHE = 6.0


def decide(option: bool | Literal["auto"], steps: float, images: int, *, on_cpu: bool, fits: int = 1) -> bool:
    """Return whether the steps of a fit are to be compiled.

    Args:
        option: True and False are heeded; auto compiles on a CPU where there is a C++ compiler and compiling costs less
            time than it saves. On other devices that was not measured.
        steps: Steps to come.
        images: Images in a step, of all replicas together: S * B.
        on_cpu: Whether the fit runs on a CPU.
        fits: How many fits of the same step there are, one after the other: the first leaves in torch's cache on disk
            what the others need.
    """
    if option != "auto":
        return option
    saved = steps * (SAVED_PER_STEP + images * SAVED_PER_IMAGE)
    return on_cpu and fits * saved > COMPILATION + (fits - 1) * COMPILATION_FROM_CACHE and has_compiler()


def has_compiler() -> bool:
    """Return whether torch finds a C++ compiler: the variable `CXX` may name one, with arguments."""
    # torch's own search; imported here, as it takes a second and only a fit that is worth compiling needs it
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        return False
    return True


def steps_to_come(options: Any, images: int, batch_size: int) -> float:
    """Return the number of steps that the options of a trainer allow: infinite without a limit, 0 with one in time."""
    if options.max_time is not None:
        return 0
    per_epoch = -(-images // batch_size)
    if (limit := options.limit_train_batches) is not None:
        per_epoch = min(per_epoch, limit) if isinstance(limit, int) else int(per_epoch * limit)
    steps = math.inf if options.max_epochs in (None, -1) else options.max_epochs * per_epoch
    return steps if options.max_steps == -1 else min(steps, options.max_steps)
