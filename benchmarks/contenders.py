"""Everything that is timed, each run once by a call that says how it went."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.compiled_baseline import compiled_loop
from benchmarks.fits import fit
from benchmarks.limit import limit
from benchmarks.work import WARM_UP_EPOCHS, Contender, Outcome, Work


def baseline(name: str, label: str, train: Callable[..., list[float]], **options: Any) -> Contender:
    """Wrap a function that trains with a timer that it calls after every epoch."""
    seeds: dict[str, int] = {"seeds": options["seeds"]} if "seeds" in options else {}

    def run(work: Work, repeat: int) -> Outcome:
        times = [time.perf_counter()]
        accuracies = train(
            work.root,
            work.total_epochs,
            lambda: times.append(time.perf_counter()),
            train_size=work.first_images,
            seed=repeat,
            device=options.get("device", "cpu"),
            **seeds,
        )
        seconds = [end - start for start, end in pairwise(times)]
        return Outcome(seconds[WARM_UP_EPOCHS:], accuracies[-options.get("seeds", 1) :])

    return Contender(name, label, run, **options)


def has_jax() -> bool:
    """Return whether JAX is installed."""
    return find_spec("jax") is not None


def jax_scan(seeds: int) -> Contender:
    """Wrap `benchmarks.jax_baseline`, run in a process of its own."""

    def run(work: Work, repeat: int) -> Outcome:
        arguments = {
            "root": work.root.absolute(),
            "epochs": work.total_epochs,
            "seeds": seeds,
            "seed": repeat,
            "train_size": work.train_size,
        }
        command = [sys.executable, "-m", "benchmarks.jax_baseline"]
        for name, value in arguments.items():
            command += [f"--{name}", str(value)]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        outcome = json.loads(done.stdout.splitlines()[-1])
        return Outcome(outcome["seconds"][WARM_UP_EPOCHS:], outcome["accuracies"])

    return Contender(f"jax-{seeds}", f"JAX, a whole epoch jitted, S = {seeds}", run, seeds=seeds, compiled=True)


def all_contenders(work: Work, *, cuda: bool, jax: bool) -> list[Contender]:
    """Return the contenders of the tables, then those of the figure only.

    Args:
        work: What all are to do.
        cuda: Whether to add those on a CUDA GPU.
        jax: Whether to add JAX, on the CPU.
    """
    lightning = "plain LightningModule (torchmetrics and self.log in every step)"

    def both(seeds: int, name: str = "fit-{}", where: str = "", **options: Any) -> list[Contender]:
        name, label = name.format(seeds), f"`fashionreg fit`, S = {seeds:,}{where}"
        return [
            fit(name, work, seeds, label=f"{label}, eager", in_table=True, **options),
            fit(f"{name}-compiled", work, seeds, label=f"{label}, compiled", in_table=True, compiled=True, **options),
        ]

    contenders = [
        baseline("notebook", "the notebook's own loop", baselines.notebook),
        baseline("lightning", lightning, baselines.plain_lightning),
        baseline("bare", "bare PyTorch loop on resident tensors", baselines.bare_loop),
        baseline("bare-1-thread", "bare PyTorch loop, one CPU thread", baselines.bare_loop, threads=1),
        *(
            baseline(
                f"bare-{seeds}-compiled",
                f"bare compiled PyTorch loop, S = {seeds}",
                compiled_loop,
                seeds=seeds,
                threads=threads,
                compiled=True,
            )
            for seeds, threads in ((1, 1), (10, None))
        ),
        *(jax_scan(seeds) for seeds in (1, 10) if jax),
        *(contender for seeds in (1, 10, 50) for contender in both(seeds)),
        *(limit(seeds) for seeds in (1, 10, 50)),
        limit(10, one_by_one=True),
        baseline(
            "sklearn",
            "scikit-learn's MLPClassifier, **no batch norm**, no test per epoch",
            baselines.scikit_learn,
            batch_norm=False,
        ),
        fit(
            "fit-10-baseline",
            work,
            10,
            label="`fashionreg fit`, S = 10, eager, **no batch norm**",
            config="baseline",
            in_table=True,
        ),
        fit(
            "fit-10-unwatched",
            work,
            10,
            label="`fashionreg fit`, S = 10, eager, without the configuration's callbacks",
            in_table=True,
            callbacks=None,
        ),
        fit(
            "fit-10-watched",
            work,
            10,
            label="`fashionreg fit`, S = 10, eager, with those of the study too (ActivationDrift)",
            in_table=True,
            callbacks=[{"class_path": "fashionreg.callbacks.ActivationDrift"}],
        ),
        *(contender for seeds in (1, 10) for contender in both(seeds, "lecture7-{}", config="lecture7")),
    ]
    if cuda:
        contenders += [
            baseline("notebook-cuda", "the notebook's own loop, moved to CUDA", baselines.notebook, device="cuda"),
            baseline("lightning-cuda", f"{lightning}, CUDA", baselines.plain_lightning, device="cuda"),
            baseline("bare-cuda", "bare PyTorch loop on resident tensors, CUDA", baselines.bare_loop, device="cuda"),
            *(
                contender
                for seeds in (1, 10, 100, 1000)
                for contender in both(seeds, "fit-{}-cuda", ", CUDA", device="cuda")
            ),
            # eager only: no step of lower precision is compiled
            fit(
                "fit-1000-cuda-bf16",
                work,
                1000,
                label="`fashionreg fit`, S = 1,000, CUDA, bfloat16, eager",
                device="cuda",
                in_table=True,
                options={"trainer.precision": "bf16-mixed"},
            ),
        ]
    contenders += [fit(f"fit-{s}", work, s) for s in (2, 5, 20)]
    contenders += [fit(f"fit-{s}-compiled", work, s, compiled=True) for s in (2, 5, 20)]
    for s in (1, 10):
        contenders += [
            fit(f"fit-{s}-width-{width}-compiled", work, s, width=width, compiled=True) for width in (16, 32, 128, 256)
        ]
        for share in (0.1, 0.25, 0.5):
            images = round(share * work.train_size)
            contenders.append(fit(f"fit-{s}-images-{images}-compiled", work, s, train_size=images, compiled=True))
    return contenders
