"""The built-in synthetic data: drawn garments that stand in for Fashion-MNIST where it cannot be had.

Each class has a different cut, but cuts, details and fabrics vary and overlap as they do among real garments: a shirt
may have short sleeves, and a coat may look like a pullover. Labels are never changed: ambiguous images are ambiguous
because of how they are drawn.

A shape is a signed distance, negative inside and positive outside: `-a` is the complement of a, and the union and
intersection of shapes are their minimum and maximum. Many images of a class are drawn at once: fields are float32
`(N, 28, 28)`, per-image parameters float32 `(N, 1, 1)`. Lengths are in sheet units: x runs from -1 (left) to 1 (right),
y from -1 (top) to 1 (bottom).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.errors import UserError

Field = NDArray[np.floating]
Scalar = Field | float
Point = tuple[Scalar, Scalar]
Range = tuple[float, float]

SIDE = 28
PIXELS_PER_UNIT = 13.0

#: Images drawn at once: few enough that their fields stay in a CPU's cache.
AT_ONCE = 500


def draw_garments(size: int, seed: int) -> LabelledImages:
    """Draw garments of the ten classes of Fashion-MNIST.

    Args:
        size: Number of images, at least 1. The class counts differ by at most one.
        seed: Fixes every image and their order, at least 0. Draws that differ in seed or size share no images: for
            disjoint parts of one set, cut one draw.

    Returns:
        `size` images in shuffled order.

    Raises:
        UserError: `size` or `seed` is too small.
    """
    if size < 1:
        raise UserError(f"size must be at least 1, got {size}")
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    for_order, *for_classes = np.random.SeedSequence([seed, size]).spawn(1 + len(CLASS_NAMES))
    labels = np.random.default_rng(for_order).permutation(np.arange(size, dtype=np.int64) % len(CLASS_NAMES))
    images = np.empty((size, SIDE, SIDE), dtype=np.uint8)
    for label, (draw, source) in enumerate(zip(DRAW, for_classes, strict=True)):
        (places,) = np.nonzero(labels == label)
        _draw_class(draw, np.random.default_rng(source), images, places)
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels), CLASS_NAMES)


def _draw_class(
    draw: "Callable[[Sheet], None]", rng: np.random.Generator, images: NDArray[np.uint8], places: NDArray[np.int64]
) -> None:
    """Draw a class into its places among all images, a few at a time: fields of all would need much memory.

    All images share one stream of random numbers, number by number. They are drawn first, for all images, and kept.
    """
    kept: list[Field] = []

    def drawn(low: float, high: float) -> Field:
        kept.append(rng.uniform(low, high, (len(places), 1, 1)).astype(np.float32))
        return kept[-1]

    # the numbers that a garment asks for do not depend on the paper: a single pixel will do
    draw(Sheet(drawn, side=1))
    grain = rng.standard_normal((len(places), SIDE, SIDE), dtype=np.float32)
    drawn(0.03, 0.1)
    for start in range(0, len(places), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        numbers = iter(kept)
        sheet = Sheet(lambda low, high, numbers=numbers, part=part: next(numbers)[part])  # type: ignore[misc]
        draw(sheet)
        images[places[part]] = sheet.develop(grain[part])


class Sheet:
    """Black paper on which N garments are drawn, with their random numbers.

    Args:
        uniform: From `low` and `high` to one number for each image, uniform in `[low, high)`, `(N, 1, 1)`.
        side: Pixels of a side of the paper.

    Attributes:
        x, y: Where each pixel lies, `(N, 28, 28)`: shifted, scaled and turned a little, differently in each image.
        ink: What is drawn so far, `(N, 28, 28)`, 0 (black) to 1 (white).
    """

    def __init__(self, uniform: Callable[[float, float], Field], side: int = SIDE) -> None:
        self.vary = uniform
        across = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / PIXELS_PER_UNIT
        x, y = across - self.vary(-0.06, 0.06), across[:, None] - self.vary(-0.06, 0.06)
        turn = self.vary(-0.06, 0.06)
        self.x: Field = (x + turn * y) / self.vary(0.9, 1.08)
        self.y: Field = (y - turn * x) / self.vary(0.9, 1.04)
        self.ink: Field = np.zeros_like(self.x)

    def some(self, share: float) -> NDArray[np.bool_]:
        """Choose about this share (0 to 1) of the images at random: bool `(N, 1, 1)`."""
        return self.vary(0, 1) < share

    def paint(self, shape: Field, shade: Scalar, opacity: Scalar | NDArray[np.bool_] = 1.0) -> None:
        """Cover the inside of `shape` with `shade`, its edge a pixel soft; where opacity is 0 nothing happens."""
        self.ink += np.clip(0.5 - PIXELS_PER_UNIT * shape, 0, 1) * opacity * (shade - self.ink)

    def develop(self, grain: Field) -> NDArray[np.uint8]:
        """Return the images, uint8 `(N, 28, 28)`, with grain where there is ink: the background stays black.

        Args:
            grain: Standard normal numbers, `(N, 28, 28)`.
        """
        grain = grain * self.vary(0.03, 0.1)
        return np.clip(np.rint(255 * self.ink * (1 + grain)), 0, 255).astype(np.uint8)


def common(*shapes: Field) -> Field:
    """Return the intersection of shapes."""
    return reduce(np.maximum, shapes)


def ellipse(x: Field, y: Field, half_width: Scalar, half_height: Scalar) -> Field:
    """Return an ellipse around the origin (the distance is exact for a circle, near enough for others)."""
    distance: Field = (np.hypot(x / half_width, y / half_height) - 1) * np.minimum(half_width, half_height)
    return distance


def limb(x: Field, y: Field, start: Point, end: Point, start_radius: Scalar, end_radius: Scalar) -> Field:
    """Return a straight strip with flat ends whose half width goes from `start_radius` to `end_radius`."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = np.hypot(along_x, along_y)
    along = ((x - start[0]) * along_x + (y - start[1]) * along_y) / length
    aside = ((x - start[0]) * along_y - (y - start[1]) * along_x) / length
    radius = start_radius + (end_radius - start_radius) * along / length
    return common(np.abs(aside) - radius, -along, along - length)


def outline(t: Field, *knots: Point) -> Field:
    """Return a smooth curve through `(t, value)` knots in ascending order of t, constant outside them."""
    curve = np.zeros_like(t) + knots[0][1]
    for (t0, value0), (t1, value1) in pairwise(knots):
        step = np.clip((t - t0) / (t1 - t0), 0, 1)
        curve += (value1 - value0) * step * step * (3 - 2 * step)
    return curve


def fabric(sheet: Sheet, patterned: float) -> Field:
    """Return the shade of a garment's material: all have folds, a share of `patterned` has stripes or checks."""
    waves = np.zeros_like(sheet.x)
    angle, pitch, phase = sheet.vary(-0.1, 0.1), sheet.vary(8, 24), sheet.vary(0, 2 * np.pi)
    for share, turn in ((0.5, 0.0), (0.4, np.pi / 2), (0.2, np.pi / 4)):
        across = np.sin(angle + turn) * sheet.x + np.cos(angle + turn) * sheet.y
        waves += sheet.some(share * patterned) * sheet.vary(0.1, 0.5) * np.sin(pitch * across + phase)
    for _ in range(2):
        slant = sheet.vary(-5, 5) * sheet.x + sheet.vary(-3, 3) * sheet.y
        waves += sheet.vary(0.0, 0.15) * np.sin(slant + sheet.vary(0, 2 * np.pi))
    return np.clip(sheet.vary(0.3, 0.95) * (1 + waves), 0.05, 1.0)


def trim(sheet: Sheet, shade: Field) -> Field:
    """Return a shade for a detail on `shade`: darker or brighter, with weak to strong contrast."""
    return np.clip(shade + np.where(sheet.some(0.6), -1, 1) * sheet.vary(0.08, 0.5), 0.02, 1.0)


@dataclass(frozen=True)
class Cut:
    """How a garment for the upper body is cut: ranges of sizes, and shares (0 to 1) of the garments with a detail.

    Attributes:
        length: From shoulder to hem.
        chest: Half the width at the armpits.
        waist, hem: The width there, as a fraction of the chest's.
        collar_length: A long collar is a lapel.
        long_sleeve, sleeveless, collar, buttons, opening, motif: Shares; what is neither long nor none is short.
    """

    length: Range = (1.55, 1.9)
    chest: Range = (0.38, 0.54)
    waist: Range = (0.86, 1.04)
    hem: Range = (0.88, 1.12)
    long_sleeve: float = 1.0
    sleeveless: float = 0.0
    collar_length: Range = (0.1, 0.3)
    collar: float = 0.05
    buttons: float = 0.04
    opening: float = 0.03
    motif: float = 0.15


T_SHIRT = Cut(chest=(0.4, 0.56), long_sleeve=0.05, sleeveless=0.1, motif=0.4)
PULLOVER = Cut(hem=(0.82, 1.05))
DRESS = Cut((1.75, 2.0), (0.2, 0.36), waist=(0.7, 1.0), hem=(0.95, 2.1), long_sleeve=0.2, sleeveless=0.45, motif=0.0)
COAT = Cut((1.7, 2.0), hem=(0.95, 1.2), collar_length=(0.2, 0.9), collar=0.6, buttons=0.3, opening=0.9, motif=0.0)
SHIRT = Cut(long_sleeve=0.7, collar=0.8, buttons=0.85, opening=0.15, motif=0.03)


def draw_top(sheet: Sheet, cut: Cut) -> None:
    """Draw a garment for the upper body: sleeves, body, neck, and the details of its cut."""
    x, y, side, shade = sheet.x, sheet.y, np.abs(sheet.x), fabric(sheet, patterned=0.25)
    hem, chest, slope = sheet.vary(*cut.length) / 2, sheet.vary(*cut.chest), sheet.vary(0.1, 0.3)
    top, shoulder = -hem, chest * sheet.vary(0.85, 1.0)
    long, width = sheet.some(cut.long_sleeve), chest * sheet.vary(0.28, 0.42)
    reach = np.where(long, sheet.vary(1.1, 1.5), sheet.vary(0.3, 0.6))
    spread = np.where(long, sheet.vary(0.08, 0.32), sheet.vary(0.3, 0.9))
    start = (shoulder - 0.6 * width, top + slope * shoulder + 0.7 * width)
    end = (start[0] + reach * np.sin(spread), start[1] + reach * np.cos(spread))
    sleeves = limb(side, y, start, end, width, width * sheet.vary(0.6, 0.95))
    sheet.paint(sleeves, shade * sheet.vary(0.7, 1.0), ~sheet.some(cut.sleeveless))
    armpit, waist, flare = top + sheet.vary(0.45, 0.6), sheet.vary(*cut.waist), sheet.vary(*cut.hem)
    half = outline(y, (top, shoulder), (armpit, chest), (0.7 * armpit + 0.3 * hem, chest * waist), (hem, chest * flare))
    body = common(side - half, top + slope * side - y, y - hem)
    sheet.paint(np.abs(body), shade * 0.6, sheet.vary(0.0, 0.8) * (y > armpit))
    sheet.paint(body, shade)

    motif = ellipse(x, y - sheet.vary(-0.3, 0.1), chest * sheet.vary(0.3, 0.7), sheet.vary(0.1, 0.35))
    sheet.paint(motif, trim(sheet, shade), sheet.some(cut.motif))
    middle, pitch = x - sheet.vary(-0.05, 0.05), sheet.vary(0.2, 0.32)
    opening = common(np.abs(middle) - sheet.vary(0.01, 0.04), body)
    sheet.paint(opening, shade * sheet.vary(0.1, 0.85), sheet.some(cut.opening))
    buttons = common(ellipse(middle, (y - sheet.vary(0, 0.2)) % pitch - pitch / 2, 0.07, 0.07), body)
    sheet.paint(buttons, trim(sheet, shade), sheet.some(cut.buttons))

    neck_width, neck_depth = shoulder * sheet.vary(0.3, 0.55), sheet.vary(0.08, 0.35)
    neck = ellipse(x, y - top, neck_width, neck_depth)
    sheet.paint(common(neck - 0.08, body), trim(sheet, shade), sheet.some(0.4))
    sheet.paint(neck, 0.03)
    tip = (0.3 * neck_width, neck_depth + sheet.vary(*cut.collar_length))
    collar = limb(side, y - top, (neck_width, 0.0), tip, 0.06, sheet.vary(0.08, 0.13))
    sheet.paint(collar, trim(sheet, shade), sheet.some(cut.collar))


@dataclass(frozen=True)
class Last:
    """How a shoe is formed: ranges of sizes, and shares (0 to 1) of the shoes with a detail.

    Attributes:
        height: From the ground to the upper edge.
        heel: How far the heel is raised.
        straps, laces, stripe: Shares; straps take the place of a closed upper.
    """

    height: Range
    heel: Range = (0.0, 0.06)
    straps: float = 0.0
    laces: float = 0.1
    stripe: float = 0.05


SANDAL = Last(height=(0.5, 1.2), heel=(0.0, 0.45), straps=0.95, laces=0.0)
SNEAKER = Last(height=(0.6, 0.95), laces=0.7, stripe=0.6)
ANKLE_BOOT = Last(height=(1.1, 1.9), heel=(0.0, 0.35))


def draw_shoe(sheet: Sheet, last: Last) -> None:
    """Draw a shoe with its toe to the left: the upper, its straps, laces or stripe, then sole and heel."""
    x, y, shade = sheet.x, sheet.y, fabric(sheet, patterned=0.08)
    height, lift, mouth = sheet.vary(*last.height), sheet.vary(*last.heel), sheet.vary(-0.15, 0.2)
    ground, back, toe = height / 2, sheet.vary(0.82, 0.97), sheet.vary(0.22, 0.38)
    floor = ground - outline(x, (-0.5, 0.0), (0.6, lift))
    instep = toe + sheet.vary(0.3, 0.5) * (height - toe)
    roof = ground - outline(x, (-1.05, 0.0), (-0.75, toe), (mouth - 0.2, instep), (mouth + 0.1, height))
    dip = ellipse(x - (mouth + back) / 2, y + ground, (back - mouth) / 2, sheet.vary(0.06, 0.25))
    upper = common(roof - y, y - floor, -0.97 - x, x - back + 0.1 * (ground - y), -dip)

    pitch, slant, cover = sheet.vary(0.35, 0.6), sheet.vary(-1.0, 0.6), sheet.vary(0.1, 0.35)
    bands = np.abs((x + slant * y + sheet.vary(0, 1)) % pitch - pitch / 2) - cover * pitch
    rim = np.abs(upper + 0.05) - 0.04
    straps = common(upper, np.where(sheet.some(0.5), np.minimum(bands, rim), bands))
    sheet.paint(np.where(sheet.some(last.straps), straps, upper), shade)
    laces = common(upper, np.abs((y + 0.5 * x) % 0.16 - 0.08) - 0.035, np.abs(x - mouth + 0.15) - 0.18)
    sheet.paint(laces, trim(sheet, shade), sheet.some(last.laces))
    stripe = limb(x, y - floor, (sheet.vary(-0.4, 0.0), -0.12), (sheet.vary(0.1, 0.6), -0.4), 0.06, 0.06)
    sheet.paint(common(stripe, upper), trim(sheet, shade), sheet.some(last.stripe))

    sole = common(np.abs(y - floor + 0.04) - sheet.vary(0.04, 0.1), np.abs(x + 0.03) - 0.96)
    heel = common(floor - y, y - ground - 0.04, sheet.vary(0.3, 0.75) - x, x - back)
    sheet.paint(np.minimum(sole, heel), trim(sheet, shade))


def draw_trouser(sheet: Sheet) -> None:
    """Draw two legs below a waistband, with a gap between them that may close."""
    y, side, shade = sheet.y, np.abs(sheet.x), fabric(sheet, patterned=0.15)
    foot, hip, gap = sheet.vary(0.88, 1.0), sheet.vary(0.24, 0.36), sheet.vary(-0.04, 0.16)
    crotch, ankle = sheet.vary(0.45, 0.7) - foot, hip * sheet.vary(0.35, 0.6)
    legs = limb(side, y, (hip / 2, -foot), (ankle + gap, foot), hip / 2, ankle)
    seat = common(side - hip, -foot - y, y - crotch)
    sheet.paint(np.minimum(legs, seat), shade)
    sheet.paint(common(side - 0.02, crotch - y, legs), shade * 0.3, sheet.vary(0, 1))
    sheet.paint(common(seat, y + foot - sheet.vary(0.08, 0.16)), trim(sheet, shade), sheet.some(0.6))


def draw_bag(sheet: Sheet) -> None:
    """Draw a bag below its handle, with a flap and a clasp on some."""
    width, height, shade = sheet.vary(0.65, 0.97), sheet.vary(0.4, 0.68), fabric(sheet, patterned=0.25)
    x, y = sheet.x, sheet.y - (0.9 - height)  # from the middle of the bag, which stands at 0.9
    handle = ellipse(x, y + height, width * sheet.vary(0.35, 0.9), sheet.vary(0.35, 0.9) * (1.8 - 2 * height))
    sheet.paint(np.abs(handle) - sheet.vary(0.03, 0.08), trim(sheet, shade), ~sheet.some(0.12))
    rounding = ellipse(x, y, width * sheet.vary(1.05, 1.6), height * sheet.vary(1.05, 1.6))
    bag = common(np.abs(x) - width * (1 + sheet.vary(-0.2, 0.3) * y), np.abs(y) - height, rounding)
    sheet.paint(bag, shade)
    flap = y - height * sheet.vary(-0.7, 0.3)
    sheet.paint(common(np.abs(flap) - 0.03, bag), trim(sheet, shade), sheet.some(0.6))
    sheet.paint(common(np.abs(x) - 0.09, np.abs(flap) - 0.09), trim(sheet, shade), sheet.some(0.5))


#: How each class is drawn, in the order of `CLASS_NAMES`.
DRAW: tuple[Callable[[Sheet], None], ...] = (
    partial(draw_top, cut=T_SHIRT),
    draw_trouser,
    partial(draw_top, cut=PULLOVER),
    partial(draw_top, cut=DRESS),
    partial(draw_top, cut=COAT),
    partial(draw_shoe, last=SANDAL),
    partial(draw_top, cut=SHIRT),
    partial(draw_shoe, last=SNEAKER),
    draw_bag,
    partial(draw_shoe, last=ANKLE_BOOT),
)
