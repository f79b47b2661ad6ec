"""S networks in JAX: a whole epoch and its test are one jitted function, written in full as a user would write it.

The network and the training are those of `benchmarks.baselines`: 784-64-32-10 with batch norm, SGD 0.001, batches of
64. One function trains one network for an epoch by `lax.scan` over its batches; `vmap` makes it S networks, each with
its own initialization and its own order of the images in every epoch.

It runs in a process of its own (`python -m benchmarks.jax_baseline --help`), which prints seconds and accuracies as
JSON: its threads are gone when torch's turn comes.
"""

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.baselines import resident_pixels

SIZES = (784, 64, 32, 10)
RATE, BATCH, MOMENTUM, EPSILON = 0.001, 64, 0.1, 1e-5


def initialize(key: Any) -> tuple[list[dict[str, Any]], list[tuple[Any, Any]]]:
    """Draw one network as `nn.Linear` and `nn.BatchNorm1d` do.

    Returns:
        Parameters of each layer, and running mean and variance of each batch norm.
    """
    layers, statistics = [], []
    for inputs, outputs in pairwise(SIZES):
        key, *two = jax.random.split(key, 3)
        bound = inputs**-0.5
        shapes = {"weight": (inputs, outputs), "bias": (outputs,)}
        layer = {
            name: jax.random.uniform(each, shape, minval=-bound, maxval=bound)
            for each, (name, shape) in zip(two, shapes.items(), strict=True)
        }
        if outputs != SIZES[-1]:
            layer |= {"scale": jnp.ones(outputs), "shift": jnp.zeros(outputs)}
            statistics.append((jnp.zeros(outputs), jnp.ones(outputs)))
        layers.append(layer)
    return layers, statistics


def forward(layers: list[dict[str, Any]], statistics: list[tuple[Any, Any]], pixels: Any, train: bool) -> Any:
    """Return the logits `(B, 10)` of uint8 pixels `(B, 784)` and, in training, the new running statistics."""
    hidden, new = pixels.astype(jnp.float32) / 255, []
    for number, layer in enumerate(layers):
        hidden = hidden @ layer["weight"] + layer["bias"]
        if number == len(layers) - 1:
            break
        mean, variance = statistics[number]
        if train:
            of, found, size = hidden.mean(axis=0), hidden.var(axis=0), len(hidden)
            unbiased = found * (size / (size - 1))
            new.append((mean + MOMENTUM * (of - mean), variance + MOMENTUM * (unbiased - variance)))
            mean, variance = of, found
        hidden = (hidden - mean) * jax.lax.rsqrt(variance + EPSILON) * layer["scale"] + layer["shift"]
        hidden = jax.nn.relu(hidden)
    return hidden, new


def loss(layers: list[dict[str, Any]], statistics: list[tuple[Any, Any]], pixels: Any, labels: Any) -> Any:
    """Return the mean cross entropy and the new running statistics."""
    logits, new = forward(layers, statistics, pixels, train=True)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean(), new


def epoch(state: Any, key: Any, images: Any, labels: Any, test_images: Any, test_labels: Any) -> Any:
    """Train one network on all images in a new order, and test it.

    Returns:
        The new parameters and statistics, and the test accuracy.
    """

    def step(state: Any, index: Any) -> Any:
        layers, statistics = state
        of_loss = jax.value_and_grad(loss, has_aux=True)
        (value, statistics), gradients = of_loss(layers, statistics, images[index], labels[index])
        return (jax.tree.map(lambda x, gradient: x - RATE * gradient, layers, gradients), statistics), value

    order = jax.random.permutation(key, len(images))
    whole = len(images) // BATCH * BATCH
    state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, BATCH))
    if whole < len(images):
        state, _ = step(state, order[whole:])
    layers, statistics = state
    logits, _ = forward(layers, statistics, test_images, train=False)
    return state, (logits.argmax(axis=-1) == test_labels).mean()


def train(root: Path, epochs: int, *, seeds: int, seed: int, train_size: int | None) -> tuple[list[float], list[float]]:
    """Train S networks.

    Returns:
        Seconds of each epoch, the first with its compilation, and the test accuracies after the last one.
    """
    data = [
        jnp.asarray(tensor.numpy())
        for part, size in ((True, train_size), (False, None))
        for tensor in resident_pixels(root, part, size)
    ]
    keys = jax.random.split(jax.random.key(seed), seeds)
    state = jax.jit(jax.vmap(initialize))(keys)
    run = jax.jit(jax.vmap(epoch, in_axes=(0, 0, None, None, None, None)), donate_argnums=0)
    seconds, accuracies = [], jnp.zeros(seeds)
    for number in range(epochs):
        started = time.perf_counter()
        state, accuracies = run(state, jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number), *data)
        jax.block_until_ready((state, accuracies))
        seconds.append(time.perf_counter() - started)
    return seconds, [float(value) for value in accuracies]


def main() -> int:
    """Train as the options say, and print the outcome as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jax_baseline", description="Train S networks in JAX.")
    parser.add_argument("--root", type=Path, required=True, help="folder that holds FashionMNIST/raw")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seeds", type=int, required=True, help="how many networks")
    parser.add_argument("--seed", type=int, default=0, help="what the networks are drawn from")
    parser.add_argument("--train_size", type=int, help="the first images only")
    options = parser.parse_args()
    seconds, accuracies = train(
        options.root, options.epochs, seeds=options.seeds, seed=options.seed, train_size=options.train_size
    )
    print(json.dumps({"seconds": seconds, "accuracies": accuracies}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
