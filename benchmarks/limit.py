"""What the arithmetic of an epoch takes at least: its floating-point operations at the machine's best rate.

The rate is measured with the matrix products that the training consists of, in their own shapes and called as torch
calls them, best of many: so it is not the peak of a data sheet, but what these sizes allow on this machine.
"""

import time
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.work import Contender, Outcome, Work

SIZES = (784, 64, 32, 10)
BATCH = 64

#: Test images, which pass through the network once an epoch.
TEST_IMAGES = 10_000

#: Seconds for each product with each number of threads.
SECONDS = 0.15


Product = tuple[Tensor, Tensor, Tensor]


def products(seeds: int) -> Iterator[Product]:
    """Yield both factors and room for the result of each matrix product of a training step of S networks."""
    for inputs, outputs in pairwise(SIZES):
        x, weight, gradient = (
            torch.rand(seeds, *shape) for shape in ((BATCH, inputs), (inputs, outputs), (BATCH, outputs))
        )
        yield x, weight, torch.empty_like(gradient)
        yield x.transpose(1, 2), gradient, torch.empty_like(weight)
        if inputs != SIZES[0]:  # nothing needs the gradient of the images
            yield gradient, weight.transpose(1, 2), torch.empty_like(x)


def operations(product: Product) -> int:
    """Return the number of multiplications and additions of a batched matrix product."""
    left, right, _ = product
    return 2 * left.numel() * right.shape[-1]


def operations_of_an_epoch(images: int) -> float:
    """Return the floating-point operations of one network's epoch: its training steps, and the test's outputs."""
    step = sum(map(operations, products(1)))
    return step * images / BATCH + 2 * sum(inputs * outputs for inputs, outputs in pairwise(SIZES)) * TEST_IMAGES


def best_seconds(product: Product) -> float:
    """Return the shortest of as many calls as fit into `SECONDS`, after one that is not timed."""
    left, right, out = product
    torch.bmm(left, right, out=out)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < end:
        torch.bmm(left, right, out=out)
        best = min(best, time.perf_counter() - started)
    return best


def limit(seeds: int, *, one_by_one: bool = False) -> Contender:
    """Return the limit of S networks as a contender, whose seconds are computed.

    Args:
        seeds: Number of networks S.
        one_by_one: Take the rate of all products of a step, called one after the other, and not that of the fastest:
            what is left if a step is nothing but its matrix products.
    """

    def run(work: Work, repeat: int) -> Outcome:
        del repeat
        total = seeds * operations_of_an_epoch(work.train_size)
        found = []
        for threads in sorted({1, torch.get_num_threads()}):
            torch.set_num_threads(threads)
            measured = [(operations(product), best_seconds(product)) for product in products(seeds)]
            numbers, seconds = (sum(column) for column in zip(*measured, strict=True))
            rate = numbers / seconds if one_by_one else max(number / taken for number, taken in measured)
            found.append((total / rate, threads))
        best, threads = min(found)
        return Outcome([best], [], {"threads": threads, "operations": total})

    label = f"arithmetic limit, S = {seeds}: all operations at the best rate of these products"
    if one_by_one:
        label = f"nothing but the matrix products, one by one, S = {seeds}"
    return Contender(f"products-{seeds}" if one_by_one else f"limit-{seeds}", label, run, seeds=seeds)
