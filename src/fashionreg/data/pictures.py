"""Convert image files of any kind to the form of Fashion-MNIST."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError
from torch import Tensor

from fashionreg.errors import UserError
from fashionreg.files import refuse_special

#: Width and height of a Fashion-MNIST image.
_SIZE = (28, 28)
#: Colours that differ by no more than this in every channel are close: 5 percent of the range, as in the paper.
_CLOSE = round(0.05 * 255)
#: Pillow's modes for more than 8 bits of grey; before Pillow 11 a 16-bit PNG came as "I".
_DEEP_GREY = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
#: The other modes without colour: black and white, grey, grey with transparency (plain and premultiplied).
_GREY = {"1", "L", "LA", "La"}
_EXIF_ORIENTATION = 0x0112
#: What is read, whatever a file is called. Pillow knows more formats; some of them start programs (EPS Ghostscript).
_FORMATS = ("PNG", "JPEG", "WebP", "GIF", "TIFF", "BMP", "PPM")


def read_picture(path: str | Path) -> tuple[Tensor, str]:
    """Read an image file, convert it to the form of Fashion-MNIST, and state what was done to it.

    The recipe is that of Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms" (2017, https://arxiv.org/abs/1708.07747, section 2 and figure 1): trim edges whose colour is
    close to the background's (5 percent), resize the longest edge to 28, extend the shortest to 28 with the garment in
    the centre, negate, convert to 8-bit grey. Where this departs from it, and why:

    - The background's colour is the most common one along the picture's edge, not the corners': a sleeve or a sole may
      reach into a corner.
    - Only a garment that is on average darker than its background is negated, since not every picture is on white.
    - Grey is stretched so that the background becomes 0, as it is in Fashion-MNIST; a photograph on light grey would
      otherwise leave a haze over the whole image.
    - Resizing averages areas, and no sharpening follows. The authors skipped rows and columns of small thumbnails and
      sharpened what was left; in a large photograph, skipping picks out noise. With sharpening, 1,500 test images that
      were enlarged tenfold came back less like themselves (mean error 14 instead of 12 grey levels if enlarged
      smoothly, 10 instead of 2 if not), and an MLP did not recognise them better (within its error of 1 point).
    - A picture of 28 x 28 counts as framed and levelled: it is made grey and negated if need be, nothing else.

    Transparent parts count as white. Of several frames or pages the first is read. An uneven background (a shadow, a
    room) is not trimmed away, and a garment as light as its background nearly vanishes.

    Args:
        path: A file in PNG, JPEG, WebP, GIF, TIFF, BMP or PPM, in colour or in grey of 1 to 16 bits.

    Returns:
        The image, uint8 `(28, 28)`, 0 (background) to 255, and the statement: what was done, in order, or "as it is"
        if nothing was, which holds for 8-bit grey of 28 x 28 on a dark background.

    Raises:
        UserError: If the file is missing, a folder, not an image, damaged, or larger than Pillow's limit
            (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    picture, done = _opened(Path(path))
    framed = picture.size == _SIZE
    box, level = _find_garment(picture, tolerance=0 if framed else _CLOSE)
    if box is None:
        done.append("one single colour, so all background")
        return torch.zeros(_SIZE, dtype=torch.uint8), ", ".join(done)
    if framed:
        grey = picture.convert("L")
    else:
        garment = picture.crop(box)
        if garment.size != picture.size:
            done.append(f"trimmed to {garment.width} x {garment.height}")
        grey = _centred(garment.convert("L"), level)
        done.append("resized and centred in 28 x 28")
    pixels = np.asarray(grey, dtype=np.float64)
    if pixels.mean() < level:
        pixels, level = 255 - pixels, 255 - level
        done.append("inverted (light background)")
    if not framed and 0 < level < 255:
        pixels = (255 * (pixels - level) / (255 - level)).clip(0)
        done.append("stretched so that the background is black")
    return torch.from_numpy(pixels.round().astype(np.uint8)), ", ".join(done) or "as it is"


def _opened(path: Path) -> tuple[Image.Image, list[str]]:
    """Open a picture: upright, without transparency, in mode RGB; return it and the list of what was done for that."""
    try:
        refuse_special(path)
        with path.open("rb") as file, warnings.catch_warnings():
            # Pillow's other warnings (odd EXIF, extra bytes) concern pictures that it reads all the same
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return _upright_rgb(image)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: a folder, expected an image file") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image, expected {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS:,} pixels, too large to be read safely; scale it down first"
        ) from error
    except Exception as error:
        # on damaged files Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and others
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: cannot be read as an image: {reason}; save it anew as PNG or JPEG") from error


def _upright_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    done = []
    # not their number: to count the pages of a TIFF takes a time that grows with the square of it
    if getattr(image, "is_animated", False):
        done.append("first of several frames")
    if image.getexif().get(_EXIF_ORIENTATION) in range(2, 9):
        done.append("turned upright (EXIF)")
        image = ImageOps.exif_transpose(image)
    # Pillow would clip silently at 255 where there are more than 8 bits
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of unknown range")
    if image.mode in _DEEP_GREY:
        deep = np.asarray(image)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("its pixels have more than 16 bits")
        done.append("16 bits to 8")
        return Image.fromarray((deep / 257).round().astype(np.uint8)).convert("RGB"), done
    if image.mode not in _GREY:
        done.append("colour to grey")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        if layers.getextrema()[-1] != (255, 255):
            done.append("transparent parts made white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers)
    return image.convert("RGB"), done


def _find_garment(picture: Image.Image, tolerance: int) -> tuple[tuple[int, int, int, int] | None, int]:
    """Find the box (left, top, right, bottom) outside which all is background, and the background's grey, 0 to 255.

    A pixel is background if it differs from the background's colour by at most `tolerance` in every channel. The box is
    None if all pixels are background.
    """
    # a large picture is searched in a copy of 256 to 511 pixels, in which noise and dust have averaged out
    step = max(1, max(picture.size) // 256)
    copy = picture.reduce(step)
    rgbl = np.dstack([np.asarray(copy), np.asarray(copy.convert("L"))])
    edge = np.concatenate([rgbl[0], rgbl[-1], rgbl[1:-1, 0], rgbl[1:-1, -1]])
    # the fullest of 16 bins of grey: on all 70,000 images of Fashion-MNIST it is the background's, while the median
    # of the edge is misled by garments that fill the frame
    bins = edge[:, 3] // 16
    common = bins == np.bincount(bins).argmax()
    *colour, level = (int(value) for value in np.median(edge[common], axis=0))
    away = ImageChops.difference(copy, Image.new("RGB", copy.size, tuple(colour)))
    box = away.point(lambda difference: 255 * (difference > tolerance)).getbbox()
    if box is not None:
        left, top, right, bottom = (step * side for side in box)
        box = left, top, min(right, picture.width), min(bottom, picture.height)
    return box, level


def _centred(garment: Image.Image, level: int) -> Image.Image:
    """Resize `garment` (mode L) to a longest edge of 28, and centre it in 28 x 28 pixels of grey `level`."""
    scale = max(_SIZE) / max(garment.size)
    width, height = (max(1, round(scale * length)) for length in garment.size)
    canvas = Image.new("L", _SIZE, level)
    # an odd column or row of margin goes to the left or the top, as in Fashion-MNIST
    corner = (_SIZE[0] - width + 1) // 2, (_SIZE[1] - height + 1) // 2
    canvas.paste(garment.resize((width, height), Image.Resampling.BOX), corner)
    return canvas
