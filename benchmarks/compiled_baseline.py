"""S networks in one compiled PyTorch step without a framework, written in full as a user would write it.

The network and the training are those of `benchmarks.baselines`: 784-64-32-10 with batch norm, SGD 0.001, batches of
64. Every parameter has a leading axis of S networks, each of which has its own initialization and its own order.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad_and_value

from benchmarks.baselines import Tick, resident_pixels

SIZES = (784, 64, 32, 10)
RATE, BATCH, MOMENTUM, EPSILON = 0.001, 64, 0.1, 1e-5


def make_parameters(seeds: int) -> tuple[list[Tensor], list[Tensor]]:
    """Draw the parameters as `nn.Linear` and `nn.BatchNorm1d` do.

    Args:
        seeds: Number of networks S.

    Returns:
        Weight `(S, in, out)` and bias `(S, 1, out)` of each layer, followed in the hidden ones by scale and shift of
        the batch norm; and mean and variance `(S, 1, out)` of each batch norm.
    """
    parameters, statistics = [], []
    for inputs, outputs in pairwise(SIZES):
        bound = inputs**-0.5
        parameters += [torch.empty(seeds, size, outputs).uniform_(-bound, bound) for size in (inputs, 1)]
        if outputs != SIZES[-1]:
            parameters += [torch.ones(seeds, 1, outputs), torch.zeros(seeds, 1, outputs)]
            statistics += [torch.zeros(seeds, 1, outputs), torch.ones(seeds, 1, outputs)]
    return parameters, statistics


def forward(
    parameters: list[Tensor], statistics: list[Tensor], pixels: Tensor, train: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return the logits `(S, B, 10)` of uint8 pixels `(S, B, 784)` and, in training, the new running statistics."""
    hidden, left, running, new = pixels.float() / 255, iter(parameters), iter(statistics), []
    for layer in range(len(SIZES) - 1):
        weight, bias = next(left), next(left)
        hidden = torch.baddbmm(bias, hidden, weight)
        if layer == len(SIZES) - 2:
            break
        mean, variance = next(running), next(running)
        if train:
            size = hidden.shape[1]
            found, of = torch.var_mean(hidden, dim=1, keepdim=True, correction=0)
            new += [mean.lerp(of, MOMENTUM), variance.lerp(found * (size / (size - 1)), MOMENTUM)]
            mean, variance = of, found
        hidden = F.relu((hidden - mean) * torch.rsqrt(variance + EPSILON) * next(left) + next(left))
    return hidden, new


def loss(
    parameters: list[Tensor], statistics: list[Tensor], pixels: Tensor, labels: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the sum over networks of the mean cross entropy, and the new running statistics."""
    logits, new = forward(parameters, statistics, pixels, train=True)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1], new


def step(parameters: list[Tensor], statistics: list[Tensor], images: Tensor, labels: Tensor, index: Tensor) -> Tensor:
    """Train on the images of an index `(S, B)`: parameters and statistics change in place; return the loss."""
    gradients, (value, new) = grad_and_value(loss, has_aux=True)(parameters, statistics, images[index], labels[index])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.sub_(gradient, alpha=RATE)
    for old, changed in zip(statistics, new, strict=True):
        old.copy_(changed)
    result: Tensor = value
    return result


def accuracies_of(parameters: list[Tensor], statistics: list[Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the accuracy of each network, `(S,)`."""
    logits, _ = forward(parameters, statistics, images.expand(len(parameters[0]), -1, -1), train=False)
    return (logits.argmax(dim=-1) == labels).float().mean(dim=-1)


@torch.no_grad()
def compiled_loop(
    root: Path,
    epochs: int,
    tick: Tick,
    *,
    train_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    seeds: int = 1,
) -> list[float]:
    """Train S networks; gradients and update are one compiled graph, all images one resident uint8 tensor.

    Returns:
        The test accuracies after the last epoch, one for each network.
    """
    torch.manual_seed(seed)
    # whatever was compiled before belongs to another contender
    torch.compiler.reset()
    images, labels = (tensor.to(device) for tensor in resident_pixels(root, True, train_size))
    test_images, test_labels = (tensor.to(device) for tensor in resident_pixels(root, False))
    parameters, statistics = ([x.to(device) for x in tensors] for tensors in make_parameters(seeds))
    # shapes do not change, so nothing is checked before a call: that saves 6% of an epoch with one network
    options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    compiled = torch.compile(step, fullgraph=True, dynamic=False, options=options)
    evaluate = torch.compile(accuracies_of, fullgraph=True, dynamic=False)
    accuracies = torch.empty(0)
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(images), device=device) for _ in range(seeds)])
        for index in order.split(BATCH, dim=1):
            # a smaller last batch would be compiled anew, for one step an epoch
            (compiled if index.shape[1] == BATCH else step)(parameters, statistics, images, labels, index)
        accuracies = evaluate(parameters, statistics, test_images, test_labels).cpu()
        tick()
    result: list[float] = accuracies.tolist()
    return result
