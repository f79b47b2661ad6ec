"""Moved, mirrored, rotated and covered images: each as torchvision does it, and drawn as it says."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from fashionreg.errors import UserError
from fashionreg.randomness import Key, replica_keys
from fashionreg.regularizers import Cutout, HorizontalFlip, RandomErasing, RandomShift, Rotation, TrainingData
from fashionreg.regularizers.cutout import cutout
from fashionreg.regularizers.horizontal_flip import flip
from fashionreg.regularizers.pictures import picture_shape
from fashionreg.regularizers.random_erasing import sides
from fashionreg.regularizers.random_shift import shift
from fashionreg.regularizers.rotation import rotate

#: Pictures of two channels that are not square: what exchanges axes shows.
S, B, C, H, W = 3, 50, 2, 9, 12
PICTURES = torch.rand(S, B, C, H, W, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(S, B, dtype=torch.int64)
DATA = TrainingData((C, H, W), 10, black=-0.8, white=2.0)
KEY = Key(replica_keys([0, 1, 2], "pictures"))


def told(regularizer, data=DATA):
    regularizer.attach_data(data)
    return regularizer


def changed(regularizer, images=PICTURES, key=KEY, data=DATA):
    """The pictures as the hook changes them, which is given them flat."""
    found, labels = told(regularizer, data).batch(images.flatten(2), LABELS, key)
    assert labels is LABELS
    return found.view_as(images)


def each(images):
    return [(k, b, images[k, b]) for k in range(S) for b in range(B)]


def test_a_shift_is_that_of_torchvision():
    down = torch.randint(-10, 11, (S, B), generator=torch.Generator().manual_seed(1))
    right = torch.randint(-13, 14, (S, B), generator=torch.Generator().manual_seed(2))
    moved = shift(PICTURES, down, right, -0.8)
    for k, b, image in each(PICTURES):
        translate = [right[k, b].item(), down[k, b].item()]
        expected = functional.affine(image, angle=0, translate=translate, scale=1, shear=[0, 0], fill=[-0.8])
        assert torch.equal(moved[k, b], expected), translate


def test_a_rotation_is_that_of_torchvision():
    degrees = torch.rand(S, B, generator=torch.Generator().manual_seed(1)) * 360 - 180
    turned = rotate(PICTURES, degrees, -0.8)
    for k, b, image in each(PICTURES):
        angle = degrees[k, b].item()
        # with another fill than 0, torchvision darkens pixels at the border twice
        expected = functional.rotate(image + 0.8, angle, InterpolationMode.BILINEAR) - 0.8
        # a place in the picture is off by some roundings of a number up to 12, a pixel by their share of a step of 2.8
        torch.testing.assert_close(turned[k, b], expected, rtol=0, atol=2.8 * 20 * 12 * 2**-23)


def test_a_mirror_image_is_that_of_torchvision():
    mirrored = torch.arange(S * B).view(S, B) % 3 == 0
    found = flip(PICTURES, mirrored)
    for k, b, image in each(PICTURES):
        assert torch.equal(found[k, b], functional.horizontal_flip(image) if mirrored[k, b] else image)


@pytest.mark.parametrize("size", [1, 4, 5, 30])
def test_a_cut_out_square_is_that_of_the_papers_code(size):
    row = torch.randint(H, (S, B), generator=torch.Generator().manual_seed(1))
    column = torch.randint(W, (S, B), generator=torch.Generator().manual_seed(2))
    found = cutout(PICTURES, row, column, size)
    for k, b, image in each(PICTURES):
        # https://github.com/uoguelph-mlrg/Cutout, where an odd square has its last row and column too
        y, x = row[k, b].item(), column[k, b].item()
        y1, y2 = np.clip([y - size // 2, y - size // 2 + size], 0, H)
        x1, x2 = np.clip([x - size // 2, x - size // 2 + size], 0, W)
        mask = np.ones((H, W), np.float32)
        mask[y1:y2, x1:x2] = 0
        assert torch.equal(found[k, b], image * torch.from_numpy(mask))


def box(different):
    """First and last row and column of the pixels that differ, bool `(H, W)`; None where none do."""
    rows, columns = different.any(dim=1).nonzero().flatten(), different.any(dim=0).nonzero().flatten()
    return None if not len(rows) else (rows[0].item(), rows[-1].item(), columns[0].item(), columns[-1].item())


def test_an_erased_part_is_a_rectangle_of_pixels_between_black_and_white():
    found, values = changed(RandomErasing(1.0)), []
    for k, b, image in each(PICTURES):
        different = (found[k, b] != image).all(dim=0)
        top, bottom, left, right = box(different)
        assert different[top : bottom + 1, left : right + 1].all()
        assert torch.equal(found[k, b][:, ~different], image[:, ~different])
        values.append(found[k, b][:, different].flatten())
    values = torch.cat(values).double().numpy()
    assert stats.kstest(values, stats.uniform(-0.8, 2.8).cdf).pvalue > 1e-6


def test_erased_rectangles_have_the_distribution_of_torchvision():
    size = 28
    erasing = v2.RandomErasing(p=1.0, scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3))
    torch.manual_seed(0)
    image = torch.zeros(1, size, size)
    theirs = np.array([[p["h"], p["w"], p["i"], p["j"]] for p in (erasing.make_params([image]) for _ in range(1500))])
    data = TrainingData((size, size), 10)
    found = told(RandomErasing(1.0), data).batch(torch.full((S, 500, size**2), 9.0), LABELS, KEY)[0]
    ours = [box(one != 9) for one in found.view(-1, size, size)]
    ours = np.array([[bottom - top + 1, right - left + 1, top, left] for top, bottom, left, right in ours])
    for axis in range(4):
        assert stats.ks_2samp(ours[:, axis], theirs[:, axis]).pvalue > 1e-6
    assert stats.ks_2samp(ours[:, 0] * ours[:, 1], theirs[:, 0] * theirs[:, 1]).pvalue > 1e-6


def test_the_first_rectangle_that_fits_is_erased_and_none_where_none_does():
    # of 10 x 10 pixels: 20 x 5 does not fit, 6 x 6 does, and so would 3 x 3
    area, ratio = torch.tensor([[1.0, 0.36, 0.09], [1.0, 0.9, 1.0]]), torch.tensor([[4.0, 1.0, 1.0], [0.3, 3.0, 1.0]])
    rows, columns = sides(area, ratio, 10, 10)
    assert (rows.tolist(), columns.tolist()) == ([6, 0], [6, 0])


def shares(regularizer, seen):
    """How often each value is seen, for each of 3 replicas and 100 steps of 50 images."""
    values = [seen(changed(regularizer, key=KEY.fold_in(step))) for step in range(100)]
    return torch.stack(values, dim=1).flatten(1)


def test_shifts_are_whole_numbers_of_pixels_all_equally_likely():
    def seen(images):
        # which shift each image has had: the one that gives it
        found = torch.full((S, B), -1)
        for number in range(9):
            down, right = (torch.full((S, B), step) for step in (number // 3 - 1, number % 3 - 1))
            found[(shift(PICTURES, down, right, -0.8) == images).all(dim=4).all(dim=3).all(dim=2)] = number
        return found

    for own in shares(RandomShift(1), seen):
        assert own.min() >= 0
        assert stats.chisquare(np.bincount(own, minlength=9)).pvalue > 1e-6


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_a_share_p_of_the_images_is_mirrored(p):
    mirrored = shares(HorizontalFlip(p), lambda images: (images == PICTURES.flip(-1)).flatten(2).all(dim=2))
    assert abs(mirrored.double().mean(dim=1) - p).max() <= 5 * math.sqrt(p * (1 - p) / mirrored.shape[1])


def test_a_share_p_of_the_images_is_erased():
    erased = shares(RandomErasing(0.3), lambda images: (images != PICTURES).flatten(2).any(dim=2))
    assert abs(erased.double().mean(dim=1) - 0.3).max() <= 5 * math.sqrt(0.21 / erased.shape[1])


def test_the_centre_of_a_cut_out_pixel_is_any_pixel():
    def seen(images):
        return (images[:, :, 0] == 0).flatten(2).long().argmax(dim=2)

    for own in shares(Cutout(1), seen):
        counts = np.bincount(own, minlength=H * W)
        assert counts.size == H * W
        assert stats.chisquare(counts).pvalue > 1e-6


def test_angles_are_uniform_within_their_range(monkeypatch):
    angles = []
    monkeypatch.setattr(
        "fashionreg.regularizers.rotation.rotate", lambda images, degrees, fill: angles.append(degrees) or images
    )
    for step in range(100):
        changed(Rotation(30.0), key=KEY.fold_in(step))
    for own in torch.stack(angles, dim=1).flatten(1).double().numpy():
        assert stats.kstest(own, stats.uniform(-30, 60).cdf).pvalue > 1e-6


KINDS = [RandomShift, HorizontalFlip, Rotation, Cutout, RandomErasing]


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_draws_alone_what_it_draws_among_others(kind):
    together = changed(kind())
    alone = told(kind()).batch(PICTURES[1:2].flatten(2), LABELS[1:2], Key(KEY.words[1:2]))[0]
    assert torch.equal(alone.view(1, B, C, H, W), together[1:2])
    # and images of its own, although all replicas see the same ones
    same = PICTURES[:1].expand_as(PICTURES)
    first, second, _ = changed(kind(), same)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("zero", [RandomShift(0), HorizontalFlip(0.0), Cutout(0), RandomErasing(0.0)], ids=repr)
def test_the_strength_0_changes_nothing(zero):
    assert torch.equal(changed(zero), PICTURES)


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_no_pictures_are_refused(run, kind):
    with pytest.raises(UserError, match="needs images with height and width, and the data have 784 inputs"):
        told(kind(), TrainingData((784,), 10))
    assert picture_shape(TrainingData((28, 27), 10)) == (1, 28, 27)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: RandomShift(-1), "random_shift: pixels: must be from 0 to 10000, got -1"),
        (lambda: HorizontalFlip(1.1), "horizontal_flip: p: must be from 0 to 1, got 1.1"),
        (lambda: Rotation(181), "rotation: degrees: must be from 0 to 180, got 181"),
        (lambda: Cutout(-1), "cutout: size: must be from 0 to 10000, got -1"),
        (lambda: RandomErasing(-0.5), "random_erasing: p: must be from 0 to 1, got -0.5"),
        (lambda: RandomErasing(smallest=0.5), "random_erasing: smallest, largest: must .* in order, got 0.5, 0.4"),
        (lambda: RandomErasing(ratio=0.0), "random_erasing: ratio: must be above 0 and at most 1, got 0.0"),
    ],
)
def test_a_value_out_of_range_is_refused(make, fault):
    with pytest.raises(UserError, match=f"^{fault}$"):
        make()
