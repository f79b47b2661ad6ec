import os
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageDraw, ImageOps

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
    """Dark, and transparent where there is no sneaker; the transparent pixels have a misleading colour."""
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


FORMS = {
    "plain": sneaker(),
    "twice the size": sneaker(56),
    "43 times the size": sneaker(1204),
    "inverted": ImageOps.invert(sneaker()),
    "three channels": sneaker().convert("RGB"),
    "colour on white": reddish(sneaker()),
    "wide margins, black": ImageOps.expand(sneaker(), (10, 400, 700, 90), 0),
    "wide margins, white": ImageOps.expand(on_white(sneaker()), 333, "white"),
    "tight frame": sneaker().crop((0, 70, 280, 210)),
    "transparent background": cut_out(sneaker()),
    "palette": sneaker().convert("P"),
    "16 bits": Image.fromarray(np.asarray(sneaker()).astype(np.uint16) * 257),
    "noise on light grey": photograph(sneaker()),
    "noise on light grey, large": photograph(sneaker(1204)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_drawing_gives_nearly_the_same_pixels(tmp_path, form):
    pixels, _ = read_picture(saved(tmp_path, FORMS[form]))
    assert mean_difference(pixels, small_sneaker()) < 2.5


def test_jpeg_artefacts_change_little(tmp_path):
    path = saved(tmp_path, ImageOps.expand(on_white(sneaker()), 100, "white"), "picture.jpg", quality=60)
    assert mean_difference(read_picture(path)[0], small_sneaker()) < 5


def test_the_drawing_in_another_place_or_size_would_not_pass_for_the_same():
    # the bounds above are tight: one pixel further down, and one sixth smaller, exceed them
    expected = small_sneaker()
    assert mean_difference(expected.roll(1, 0), expected) > 10
    smaller = ImageOps.expand(Image.fromarray(expected.numpy()).resize((24, 24)), 2)
    assert mean_difference(torch.from_numpy(np.array(smaller)), expected) > 10


# how a camera in that orientation stores an upright picture; https://exiftool.org/TagNames/EXIF.html, Orientation
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_turned_by_exif_is_turned_back(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, sneaker().transpose(STORED[orientation]), exif=exif)
    pixels, done = read_picture(path)
    assert mean_difference(pixels, small_sneaker()) < 0.5
    assert done == "turned upright (EXIF), trimmed to 280 x 120, resized and centred in 28 x 28"


def test_a_picture_that_is_upright_by_exif_is_unchanged(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    assert read_picture(saved(tmp_path, Image.fromarray(small_sneaker().numpy()), exif=exif))[1] == "as it is"


@pytest.mark.parametrize(("name", "options"), [("picture.gif", {}), ("picture.tiff", {}), ("picture.webp", {})])
def test_of_several_frames_the_first_is_read(tmp_path, name, options):
    others = [Image.new("L", (280, 280), grey) for grey in (90, 200)]
    if name == "picture.webp":
        options = {"lossless": True}
    path = saved(tmp_path, sneaker(), name, save_all=True, append_images=others, **options)
    pixels, done = read_picture(path)
    assert mean_difference(pixels, small_sneaker()) < 0.5
    assert done.startswith("first of several frames")


@pytest.mark.parametrize("side", [28, 300])
@pytest.mark.parametrize("grey", [0, 30, 127, 200, 255])
def test_one_single_colour_is_all_background(tmp_path, grey, side):
    pixels, done = read_picture(saved(tmp_path, Image.new("L", (side, side), grey)))
    assert torch.equal(pixels, torch.zeros(28, 28, dtype=torch.uint8))
    assert done == "one single colour, so all background"


def test_a_fully_transparent_picture_is_all_background(tmp_path):
    pixels, done = read_picture(saved(tmp_path, Image.new("RGBA", (50, 40), (10, 20, 30, 0))))
    assert not pixels.any()
    assert done == "colour to grey, transparent parts made white, one single colour, so all background"


@pytest.mark.parametrize("background", [0, 90, 150, 255])
@pytest.mark.parametrize("garment", [20, 120, 235])
def test_the_background_becomes_black_and_the_garment_brighter(tmp_path, background, garment):
    image = Image.new("L", (300, 200), background)
    image.paste(garment, (100, 50, 200, 150))
    image.paste(garment, (140, 20, 160, 180))
    pixels, done = read_picture(saved(tmp_path, image))
    assert pixels[0, 0] == 0
    room = background if garment < background else 255 - background
    assert pixels[14, 14].item() == pytest.approx(255 * abs(garment - background) / room, abs=1)
    assert ("inverted" in done) == (garment < background)
    assert ("stretched" in done) == (0 < background < 255)


@pytest.mark.parametrize(("width", "left", "right"), [(28, 0, 0), (27, 1, 0), (14, 7, 7), (13, 8, 7), (1, 14, 13)])
def test_an_odd_column_of_margin_goes_to_the_left_as_in_fashion_mnist(tmp_path, width, left, right):
    # of Fashion-MNIST's 60,000 training images, 19,254 have one column more on the left, 62 one more on the right
    image = Image.new("L", (400, 400))
    image.paste(200, (50, 60, 50 + 10 * width, 60 + 280))
    columns = read_picture(saved(tmp_path, image))[0].any(0).nonzero().flatten()
    assert (columns[0].item(), 27 - columns[-1].item()) == (left, right)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (28, 27), (1, 5000), (5000, 1)])
def test_any_size_becomes_28_by_28(tmp_path, size):
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0]).astype(np.uint8)
    pixels, done = read_picture(saved(tmp_path, Image.fromarray(ramp)))
    assert pixels.shape == (28, 28)
    assert pixels.dtype == torch.uint8
    assert done


def test_a_path_given_as_text_is_read(tmp_path):
    assert read_picture(str(saved(tmp_path, sneaker())))[0].any()


# ---- the statement of what was done


def test_what_was_done_is_stated_in_order(tmp_path):
    wall = ImageOps.expand(on_white(sneaker()), 90, "white")
    photo = Image.fromarray((np.asarray(wall) * 0.9).round().astype(np.uint8))
    assert read_picture(saved(tmp_path, photo))[1] == (
        "colour to grey, trimmed to 280 x 120, resized and centred in 28 x 28, inverted (light background), "
        "stretched so that the background is black"
    )


def test_trimming_is_not_stated_where_there_is_no_margin(tmp_path):
    tight = sneaker().crop((0, 80, 280, 200))
    assert read_picture(saved(tmp_path, tight))[1] == "resized and centred in 28 x 28"


# ---- files that are refused


def refusal(path):
    with pytest.raises(UserError) as error:
        read_picture(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def png_header(width, height):
    """The start of a black-and-white PNG, up to its pixels."""
    size = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + size + struct.pack(">I", zlib.crc32(size)) + b"\0\0\0\0IDAT"


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "shoe.png") == "no such file"


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == "a folder, expected an image file"


@pytest.mark.parametrize("content", [b"", b"label,pixel1\n3,0\n", b"\x00" * 500], ids=["empty", "text", "zeros"])
def test_a_file_that_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "shoe.png"
    path.write_bytes(content)
    assert refusal(path).startswith("not an image, expected PNG, JPEG, WebP, GIF")


@pytest.mark.parametrize("name", ["shoe.png", "shoe.jpg", "shoe.gif", "shoe.tiff", "shoe.bmp", "shoe.webp"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_truncated_image_is_refused(tmp_path, name, share):
    path = saved(tmp_path, photograph(sneaker(28)), name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refusal(path).startswith("cannot be read as an image: ")


def test_a_damaged_image_is_refused(tmp_path):
    path = saved(tmp_path, sneaker())
    start, pixels = path.read_bytes().split(b"IDAT")
    path.write_bytes(start + b"IDAT" + bytes(4) + pixels[4:])
    assert refusal(path).startswith("cannot be read as an image: ")


def test_a_picture_starts_no_program(tmp_path, monkeypatch):
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = saved(tmp_path, sneaker(), "picture.eps").rename(tmp_path / "picture.png")
    assert refusal(path).startswith("not an image, expected PNG")
    assert not (tmp_path / "started").exists()


def test_the_pages_of_a_picture_are_not_counted(tmp_path):
    # 100,000 pages without an entry: to count them takes Pillow minutes
    picture = saved(tmp_path, sneaker(28), "picture.tiff")
    content = picture.read_bytes()
    start = struct.unpack("<I", content[4:8])[0]
    end = start + 2 + 12 * struct.unpack("<H", content[start : start + 2])[0]
    pages = [len(content) + 6 * page for page in range(100_001)]
    chain = b"".join(struct.pack("<HI", 0, following) for following in [*pages[1:-1], 0])
    picture.write_bytes(content[:end] + struct.pack("<I", pages[0]) + content[end + 4 :] + chain)
    started = time.monotonic()
    assert read_picture(picture)[1].startswith("first of several frames")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("side", [10_000, 60_000], ids=["where Pillow warns", "where Pillow raises"])
def test_an_absurdly_large_image_is_refused(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    assert refusal(path) == "more than 89,478,485 pixels, too large to be read safely; scale it down first"


@pytest.mark.parametrize(
    ("mode", "value", "reason"), [("F", 0.5, "floating-point"), ("I", 70_000, "more than 16 bits")]
)
def test_pixels_of_unknown_range_are_refused(tmp_path, mode, value, reason):
    path = saved(tmp_path, Image.new(mode, (40, 40), value), "shoe.tiff")
    assert reason in refusal(path)
