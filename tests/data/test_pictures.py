import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from fashionreg.data.garments import draw_garments
from fashionreg.data.pictures import read_picture
from fashionreg.errors import UserError


def sneaker(side=280):
    """A grey sneaker on black, toe left, as wide as the square picture, 12/28 of it high, in the middle."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)

    def at(*corners):
        return [(round(x * side / 28), round(y * side / 28)) for x, y in corners]

    draw.polygon(at((0, 15), (8, 12), (15, 8), (25, 9), (28, 13), (28, 17), (0, 17)), fill=140)
    draw.rectangle(at((0, 17), (28, 20)), fill=230)
    draw.rectangle(at((0, 20), (28, 28)), fill=0)
    draw.line(at((11, 11), (14, 15)), fill=250, width=side // 28)
    draw.rectangle(at((20, 11), (24, 14)), fill=60)
    return image


def small_sneaker():
    """What any picture of the sneaker should become: uint8 `(28, 28)`, the averages over its 10 x 10 squares."""
    squares = np.asarray(sneaker(280), dtype=np.float64).reshape(28, 10, 28, 10)
    return torch.from_numpy(squares.mean((1, 3)).round().astype(np.uint8))


def on_white(image):
    """Dark on white, in colour."""
    return ImageOps.invert(image).convert("RGB")


def reddish(image):
    """Dark red on white; its grey is that of the image inverted."""
    grey = 255 - np.asarray(image, dtype=np.float64)
    red = np.where(grey < 250, np.minimum(255, grey + 40), grey)
    rest = (grey - 0.299 * red) / 0.701
    return Image.fromarray(np.dstack([red, rest, rest]).clip(0, 255).round().astype(np.uint8))


def cut_out(image):
    """Dark, and transparent where there is no sneaker; below the transparency lies a colour that misleads."""
    pixels = np.dstack([on_white(image), np.where(np.asarray(image) > 0, 255, 0).astype(np.uint8)])
    pixels[pixels[..., 3] == 0] = (200, 30, 90, 0)
    return Image.fromarray(pixels)


def photograph(image):
    """Dark, before a light grey wall that fills most of the picture, with the noise of a camera."""
    wall = ImageOps.expand(on_white(image), (300, 150, 120, 400), "white")
    noise = np.random.default_rng(0).normal(0, 4, (wall.height, wall.width, 3))
    return Image.fromarray((np.asarray(wall) * 0.9 + noise).clip(0, 255).round().astype(np.uint8))


def saved(tmp_path, image, name="picture.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def mean_difference(first, second):
    """Mean absolute difference, in grey levels of 0 to 255."""
    return (first.double() - second.double()).abs().mean().item()


# ---- pictures that have Fashion-MNIST's form already


def test_a_dark_grey_28_by_28_picture_comes_back_unchanged(tmp_path):
    for row, image in enumerate(draw_garments(50, seed=0).images):
        pixels, done = read_picture(saved(tmp_path, Image.fromarray(image.numpy()), f"{row}.png"))
        assert torch.equal(pixels, image)
        assert done == "as it is"


def test_a_28_by_28_picture_on_dark_grey_is_neither_trimmed_nor_stretched(tmp_path):
    image = Image.new("L", (28, 28), 30)
    image.paste(200, (5, 10, 15, 20))
    pixels, done = read_picture(saved(tmp_path, image))
    assert torch.equal(pixels, torch.from_numpy(np.array(image)))
    assert done == "as it is"


def test_a_garment_on_most_of_the_edge_is_not_taken_for_a_light_background(tmp_path):
    # a cross whose arms reach the edge in many greys; the background is still the most common of them
    image = np.zeros((28, 28), np.uint8)
    image[:, 6:22] = np.linspace(40, 250, 28 * 16).reshape(28, 16)
    image[6:22] = np.linspace(40, 250, 16 * 28).reshape(16, 28)
    edge = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    assert np.median(edge) >= 40
    pixels, done = read_picture(saved(tmp_path, Image.fromarray(image)))
    assert torch.equal(pixels, torch.from_numpy(image))
    assert done == "as it is"


@pytest.mark.parametrize(
    ("convert", "statement"),
    [
        (ImageOps.invert, "inverted (light background)"),
        (lambda image: image.convert("RGB"), "colour to grey"),
        (on_white, "colour to grey, inverted (light background)"),
        (lambda image: image.convert("LA"), "as it is"),
        (lambda image: image.convert("P"), "colour to grey"),
        (lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257), "16 bits to 8"),
    ],
    ids=["inverted", "rgb", "rgb_inverted", "opaque_alpha", "palette", "16_bits"],
)
def test_the_tones_of_a_28_by_28_picture_are_kept_exactly(tmp_path, convert, statement):
    expected = small_sneaker()
    pixels, done = read_picture(saved(tmp_path, convert(Image.fromarray(expected.numpy()))))
    assert torch.equal(pixels, expected)
    assert done == statement


# ---- the same drawing in other forms


@pytest.mark.parametrize(
    "picture",
    [
        sneaker(),
        sneaker(56),
        sneaker(1204),
        ImageOps.invert(sneaker()),
        sneaker().convert("RGB"),
        reddish(sneaker()),
        ImageOps.expand(sneaker(), (10, 400, 700, 90), 0),
        ImageOps.expand(on_white(sneaker()), 333, "white"),
        sneaker().crop((0, 70, 280, 210)),
        cut_out(sneaker()),
        sneaker().convert("P"),
        Image.fromarray(np.asarray(sneaker()).astype(np.uint16) * 257),
        photograph(sneaker()),
        photograph(sneaker(1204)),
    ],
)
def test_every_form_of_a_drawing_gives_nearly_the_same_pixels(tmp_path, picture):
    pixels, done = read_picture(saved(tmp_path, picture))
    print(mean_difference(pixels, small_sneaker()), done)
