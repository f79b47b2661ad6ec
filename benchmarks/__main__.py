"""`python -m benchmarks`: measure, print one table, write it as Markdown and JSON with a figure."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: What `--only` takes besides names of contenders.
SECTIONS = ("table", "scaling", "startup", "compilation", "memory", "studies")


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--epochs", type=int, default=1, help="epochs to time in each run, after one that is not timed")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--train_size", type=int, help="training images, for a trial; all by default")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help=f"parts of it: {', '.join(SECTIONS)}, or contenders as results.json names them: notebook fit-10 ...",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the results; by default this package's, and none for a part or a trial"
    )
    options = parser.parse_args(args)
    for name in ("epochs", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(args: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Args:
        args: The options; those of the process by default.

    Returns:
        The exit code.
    """
    options = parse(args)

    # torch, torchvision, scikit-learn and Lightning: seconds, after --help
    import torch

    from benchmarks import measure, processes, report
    from benchmarks.contenders import all_contenders, has_jax
    from benchmarks.requirements import check_requirements
    from benchmarks.work import Work
    from fashionreg.data.location import data_root
    from fashionreg.data.sources import fetch_fashion_mnist, read_fashion_mnist
    from fashionreg.errors import UserError

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # that there is no GPU, where a step is compiled for the CPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    root = data_root().absolute()
    try:
        fetch_fashion_mnist(root)
        all_images = len(read_fashion_mnist(root, train=True))
    except UserError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 1
    if options.train_size is not None and not 1 <= options.train_size <= all_images:
        print(f"benchmarks: error: --train_size must be from 1 to {all_images}", file=sys.stderr)
        return 2
    work = Work(root, options.epochs, options.train_size or all_images, all_images)
    jax = has_jax()
    contenders = all_contenders(work, cuda=torch.cuda.is_available(), jax=jax)
    names = [*SECTIONS, *(contender.name for contender in contenders)]
    wanted = options.only or list(SECTIONS)
    if unknown := [name for name in wanted if name not in names]:
        print(f"benchmarks: error: --only: no {', '.join(unknown)}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    if not jax:
        print("benchmarks: JAX is not installed (the extra `bench`); its rows are left out", file=sys.stderr)
    chosen = [
        contender
        for contender in contenders
        if contender.name in wanted
        or (contender.in_table and "table" in wanted)
        or (contender.setting is not None and "scaling" in wanted)
    ]
    started = time.perf_counter()
    results = measure.surroundings(options.repeats, work, options.only)
    results["startup"] = processes.measure_startup(work, options.repeats) if "startup" in wanted else []
    results["compilation"] = processes.measure_compilation(work) if "compilation" in wanted else []
    results["memory"] = processes.measure_memory(work) if "memory" in wanted else []
    results["studies"] = processes.measure_studies(work) if "studies" in wanted else []
    results["epochs"] = measure.measure(chosen, work, options.repeats)
    results["requirements"] = check_requirements(results)
    results["minutes"] = round((time.perf_counter() - started) / 60, 1)
    print(report.tables(results))
    if out := options.out or (None if report.is_trial(results) else Path(__file__).parent):
        report.write(results, out)
        print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
