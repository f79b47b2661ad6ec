import numpy as np
import pytest
import torch

from fashionreg.data.splits import image_count, split_off, stratified_subset
from fashionreg.errors import UserError
from samples import message, random_images

LABELS = torch.arange(10).repeat_interleave(torch.arange(10, 110, 10))[torch.randperm(550)]


def test_subset_holds_every_class_in_its_share():
    drawn = stratified_subset(LABELS, 55, seed=0)
    assert drawn.dtype == torch.int64
    assert len(drawn.unique()) == 55
    assert LABELS[drawn].bincount().tolist() == list(range(1, 11))


def test_subset_is_shuffled():
    labels = LABELS.sort().values
    drawn = stratified_subset(labels, 300, seed=0)
    assert abs(np.corrcoef(np.arange(300), drawn)[0, 1]) < 0.2


@pytest.mark.parametrize("size", [10, 300, 550])
def test_subset_is_fixed_by_its_seed(size):
    assert torch.equal(stratified_subset(LABELS, size, seed=3), stratified_subset(LABELS, size, seed=3))
    assert not torch.equal(stratified_subset(LABELS, size, seed=3), stratified_subset(LABELS, size, seed=4))


def test_subset_of_all_images_is_all_images_in_shuffled_order():
    drawn = stratified_subset(LABELS, 550, seed=0)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn.sort().values, torch.arange(550))


@pytest.mark.parametrize("size", [-1, 0, 9, 541, 549, 551])
def test_subset_of_an_impossible_size_names_the_possible_ones(size):
    with pytest.raises(UserError) as error:
        stratified_subset(LABELS, size, seed=0)
    assert message(error) == (
        f"cannot draw {size} of 550 images stratified by 10 classes: expected 10 to 540, or all 550"
    )


def test_subset_names_a_class_with_too_few_images():
    with pytest.raises(UserError) as error:
        stratified_subset(torch.tensor([0, 0, 3, 1, 1]), 3, seed=0)
    assert message(error) == "class 3 has a single image, a stratified split needs 2 or more of each class"


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_subset_names_a_seed_out_of_range(seed):
    with pytest.raises(UserError, match=f"seed {seed} is out of range, expected 0 to 4294967295"):
        stratified_subset(LABELS, 100, seed)


@pytest.mark.parametrize(
    ("size", "count"), [(0.2, 120), (0.0017, 1), (1, 600), (1.0, 600), (2, 2), (300, 300), (300.0, 300), (600, 600)]
)
def test_a_size_up_to_1_is_a_share_and_above_1_a_number_of_images_however_it_is_written(size, count):
    assert image_count(size, 600, "train_size") == count


@pytest.mark.parametrize("size", [0, -1, -0.5, 0.0001, 1.5, 300.5, 601, float("inf"), float("nan")])
def test_a_size_that_means_no_number_of_images_is_named(size):
    with pytest.raises(UserError) as error:
        image_count(size, 600, "train_size")
    expected = "train_size: must be a number of images from 2 to 600 or a share between 0 and 1, got"
    assert message(error) == f"{expected} {size}"


@pytest.mark.parametrize("size", [1, 1.0, 600])
def test_a_split_off_part_leaves_some_images(size):
    with pytest.raises(UserError) as error:
        split_off(random_images(600), size, 0, "val_size")
    assert message(error) == f"val_size: must leave some of the 600 images, got {size}"
