"""The drawn garments: well-formed, reproducible, all different, and neither trivial nor impossible to tell apart."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.data.garments import draw_garments
from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.errors import UserError

SIZE = 10_000


@pytest.fixture(scope="module")
def garments() -> LabelledImages:
    return draw_garments(SIZE, seed=0)


def different_images(images: torch.Tensor) -> set[bytes]:
    return {image.tobytes() for image in images.numpy()}


def test_images_are_28x28_bytes_and_labels_are_class_indices(garments):
    assert len(garments) == SIZE
    assert garments.images.shape == (SIZE, 28, 28)
    assert garments.images.dtype == torch.uint8
    assert garments.images.is_contiguous()
    assert garments.labels.shape == (SIZE,)
    assert garments.labels.dtype == torch.int64
    assert set(garments.labels.tolist()) == set(range(len(CLASS_NAMES)))


def test_garments_are_bright_on_black_background(garments):
    images = garments.images
    assert images.max() == 255
    assert (images == 0).float().mean() > 0.3
    assert (images.amax(dim=(1, 2)) > 50).all(), "every image shows something"
    assert 0.15 < images.float().mean() / 255 < 0.35, "of the order of 0.286, the mean of Fashion-MNIST"


def test_garments_are_centred(garments):
    mean = garments.images.float().mean(dim=0)
    position = torch.arange(28.0)
    assert (mean.sum(dim=0) @ position / mean.sum()).item() == pytest.approx(13.5, abs=1)
    assert (mean.sum(dim=1) @ position / mean.sum()).item() == pytest.approx(13.5, abs=2)


@pytest.mark.parametrize("size", [1, 7, 10, 1003])
def test_class_counts_differ_by_at_most_one(size):
    labels = draw_garments(size, seed=3).labels
    counts = torch.bincount(labels, minlength=len(CLASS_NAMES))
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1


def test_classes_come_in_shuffled_order(garments):
    neighbours_alike = (garments.labels[1:] == garments.labels[:-1]).float().mean().item()
    assert neighbours_alike == pytest.approx(0.1, abs=0.02)


def test_same_size_and_seed_give_the_same_garments():
    assert draw_garments(200, seed=5).fingerprint() == draw_garments(200, seed=5).fingerprint()


def test_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)
    torch.manual_seed(1)
    before = draw_garments(20, seed=5)
    numbers = np.random.rand(), torch.rand(1).item()
    np.random.seed(1)
    torch.manual_seed(1)
    assert (np.random.rand(), torch.rand(1).item()) == numbers
    assert draw_garments(20, seed=5).fingerprint() == before.fingerprint()


def test_no_two_images_of_a_draw_are_equal(garments):
    assert len(different_images(garments.images)) == SIZE


def test_draws_that_differ_in_seed_or_size_share_no_image(garments):
    images = different_images(garments.images)
    assert images.isdisjoint(different_images(draw_garments(2000, seed=1).images))
    assert images.isdisjoint(different_images(draw_garments(2000, seed=0).images))


@pytest.mark.parametrize(
    ("size", "seed", "message"),
    [
        (0, 0, "size must be at least 1, got 0"),
        (-3, 0, "size must be at least 1, got -3"),
        (10, -1, "seed must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named_with_what_would_be_right(size, seed, message):
    with pytest.raises(UserError) as error:
        draw_garments(size, seed)
    assert str(error.value) == message


def test_task_is_learnable_but_neither_trivial_nor_linear_in_the_means(garments):
    pixels, labels = garments.images.flatten(1).numpy() / np.float32(255), garments.labels.numpy()
    train, test = slice(0, 3000), slice(3000, 4000)

    means = np.stack([pixels[train][labels[train] == label].mean(axis=0) for label in range(len(CLASS_NAMES))])
    distances = np.linalg.norm(pixels[test][:, None] - means, axis=2)
    nearest_mean = (distances.argmin(axis=1) == labels[test]).mean()

    network = MLPClassifier((64,), batch_size=50, early_stopping=True, n_iter_no_change=5, random_state=0)
    accuracy = network.fit(pixels[train], labels[train]).score(pixels[test], labels[test])

    assert 0.3 < nearest_mean < accuracy - 0.05
    assert 0.65 < accuracy < 0.95


def test_images_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    whole = draw_garments(200, 3)
    monkeypatch.setattr("fashionreg.data.garments.AT_ONCE", 7)
    assert torch.equal(draw_garments(200, 3).images, whole.images)


def test_drawing_needs_no_more_memory_than_expected(monkeypatch):
    monkeypatch.setattr("fashionreg.data.garments.AT_ONCE", 10)
    expected = SyntheticDataModule(train_size=3000, test_size=100).expected_bytes
    tracemalloc.start()
    try:
        draw_garments(3100, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected / 2 < peak < expected
