"""Whatever is in an image file, 28 x 28 grey levels come out with a statement of what was done, or it is refused."""

import io
import struct
import zlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from damage import damaged
from fashionreg.data.pictures import read_picture
from samples import check_line


def png(pixels):
    """An 8-bit grey PNG, made without Pillow."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pgm(pixels):
    """The same as a portable graymap."""
    return f"P5 {pixels.shape[1]} {pixels.shape[0]} 255\n".encode() + pixels.tobytes()


@given(st.integers(0, 2**32), st.sampled_from([png, pgm]))
def test_an_image_in_the_form_of_the_data_is_read_exactly(reading, tmp_path, seed, write):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[1:-1, 1:-1] = np.random.default_rng(seed).integers(0, 256, (26, 26))
    path = tmp_path / "picture"
    path.write_bytes(write(pixels))
    image, done = reading(lambda: read_picture(path))
    np.testing.assert_array_equal(image, pixels)
    assert done == "as it is"


def check(image, done):
    assert image.dtype == torch.uint8
    assert image.shape == (28, 28)
    check_line(done)


FORMS = [("PNG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK")]
FORMS += [("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "F"), ("TIFF", "I"), ("WEBP", "RGBA"), ("PPM", "L")]
FORMS += [("ICO", "RGBA"), ("TGA", "RGB"), ("PCX", "L"), ("SGI", "L"), ("MPO", "RGB"), ("JPEG2000", "RGB")]


def encoded(form, mode, seed, width, height):
    """A picture in some format that Pillow writes, of any size."""
    generator = np.random.default_rng(seed)
    grey = Image.fromarray(generator.integers(0, 256, (height, width), dtype=np.uint8))
    picture = grey.convert("I").convert(mode) if mode in ("I;16", "I") else grey.convert(mode)
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


pictures = st.builds(
    lambda form, *rest: encoded(*form, *rest),
    st.sampled_from(FORMS),
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.integers(1, 60),
)


@given(pictures)
def test_a_picture_of_any_format_and_size_is_read_or_refused(reading, tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content)
    if (read := reading(lambda: read_picture(path), path)) is not None:
        check(*read)


@given(st.data(), pictures)
def test_a_damaged_picture_is_read_or_refused(reading, tmp_path, data, content):
    path = tmp_path / "picture"
    path.write_bytes(data.draw(damaged(content)))
    if (read := reading(lambda: read_picture(path), path)) is not None:
        check(*read)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(reading, tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content)
    if (read := reading(lambda: read_picture(path), path)) is not None:
        check(*read)
