"""The built-in synthetic data: drawn garments that stand in for Fashion-MNIST where it cannot be had.

Each class is drawn with its own cut, but cuts, details and fabrics vary and overlap as they do among real garments: a
shirt may have short sleeves, a coat may be closed so neatly that it passes for a pullover. No label is ever changed;
what cannot be told apart is ambiguous because of how it is drawn.

A shape is a signed distance: negative inside, positive outside, so that union, intersection and difference of shapes
are `minimum(a, b)`, `maximum(a, b)` and `maximum(a, -b)`. Everything is evaluated for all images of a class at once:
fields are float32 `(N, 28, 28)`, per-image parameters float32 `(N, 1, 1)`. Coordinates are those of a sheet: x runs
from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from fashionreg.data.images import CLASS_NAMES, LabelledImages
from fashionreg.errors import UserError

Field = NDArray[np.float32]
Range = tuple[float, float]
Point = tuple[Field | float, Field | float]

SIDE = 28
PIXELS_PER_UNIT = 13.0


def draw_garments(size: int, seed: int) -> LabelledImages:
    """Draw garments of the ten classes of Fashion-MNIST.

    Args:
        size: How many images, at least 1. The class counts differ by at most one.
        seed: Fixes every image and their order, at least 0. Images of two seeds have nothing in common, and neither
            have those of two sizes: cut one draw to get disjoint parts.

    Returns:
        `size` images in shuffled order.

    Raises:
        UserError: `size` or `seed` is too small.
    """
    if size < 1:
        raise UserError(f"size must be at least 1 garment, got {size}")
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}")
    shuffling, *drawing = np.random.SeedSequence([seed, size]).spawn(1 + len(CLASS_NAMES))
    labels = np.random.default_rng(shuffling).permutation(np.arange(size, dtype=np.int64) % len(CLASS_NAMES))
    images = np.empty((size, SIDE, SIDE), dtype=np.uint8)
    for label, (draw, source) in enumerate(zip(DRAW, drawing, strict=True)):
        (places,) = np.nonzero(labels == label)
        sheet = Sheet(len(places), np.random.default_rng(source))
        draw(sheet)
        images[places] = sheet.develop()
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels))


class Sheet:
    """Black paper for N garments, with the random numbers to draw them.

    Attributes:
        x, y: Where each pixel lies, `(N, 28, 28)`: moved, scaled and turned a little, differently for each image.
        ink: What is drawn so far, `(N, 28, 28)`, 0 (black) to about 1 (white).
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.count = count
        across = (np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2) / PIXELS_PER_UNIT
        x, y = across - self.vary(-0.1, 0.1), across[:, None] - self.vary(-0.1, 0.1)
        turn = self.vary(-0.06, 0.06)
        self.x: Field = (x + turn * y) / self.vary(0.88, 1.08)
        self.y: Field = (y - turn * x) / self.vary(0.88, 1.04)
        self.ink: Field = np.zeros_like(self.x)

    def vary(self, low: float, high: float) -> Field:
        """One number for each image, uniform in `[low, high)`, `(N, 1, 1)`."""
        return self.rng.uniform(low, high, (self.count, 1, 1)).astype(np.float32)

    def some(self, share: float) -> NDArray[np.bool_]:
        """True for about this share (0 to 1) of the images, `(N, 1, 1)`."""
        return self.vary(0, 1) < share

    def paint(self, shape: Field, shade: Field | float, opacity: Field | NDArray[np.bool_] | float = 1.0) -> None:
        """Cover the inside of `shape` with `shade`, its edge one pixel soft; opacity 0 leaves an image as it is."""
        self.ink += inside(shape) * opacity * (shade - self.ink)

    def develop(self) -> NDArray[np.uint8]:
        """The finished images, uint8 `(N, 28, 28)`, with grain where there is ink: the background stays black."""
        grain = self.rng.standard_normal(self.ink.shape, dtype=np.float32) * self.vary(0.02, 0.16)
        return np.clip(np.rint(255 * self.ink * (1 + grain)), 0, 255).astype(np.uint8)


# Shapes


def inside(shape: Field) -> Field:
    """1 inside, 0 outside, and the covered part of each pixel on the edge."""
    return np.clip(0.5 - PIXELS_PER_UNIT * shape, 0, 1)


def box(
    x: Field, y: Field, half_width: Field | float, half_height: Field | float, corner: Field | float = 0.0
) -> Field:
    """A box around the origin, its corners rounded with radius `corner`."""
    over_x, over_y = np.abs(x) - half_width + corner, np.abs(y) - half_height + corner
    return np.hypot(np.maximum(over_x, 0), np.maximum(over_y, 0)) + np.minimum(np.maximum(over_x, over_y), 0) - corner


def ellipse(x: Field, y: Field, half_width: Field | float, half_height: Field | float) -> Field:
    """An ellipse around the origin (the distance is exact on the edge of a circle, and near enough elsewhere)."""
    return (np.hypot(x / half_width, y / half_height) - 1) * np.minimum(half_width, half_height)


def limb(x: Field, y: Field, start: Point, end: Point, start_radius: Field | float, end_radius: Field | float) -> Field:
    """A straight strip with flat ends from `start` to `end`, as wide as twice the radius at either."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = np.hypot(along_x, along_y)
    x, y = x - start[0], y - start[1]
    along = (x * along_x + y * along_y) / length
    aside = np.abs(x * along_y - y * along_x) / length
    radius = start_radius + (end_radius - start_radius) * along / length
    return np.maximum(aside - radius, np.abs(along - length / 2) - length / 2)


def outline(t: Field, knots: Sequence[Point]) -> Field:
    """A smooth curve through `(t, value)` knots in ascending order of t, level before the first and after the last."""
    curve = np.zeros_like(t) + knots[0][1]
    for (t0, value0), (t1, value1) in zip(knots, knots[1:], strict=False):
        step = np.clip((t - t0) / (t1 - t0), 0, 1)
        curve += (value1 - value0) * step * step * (3 - 2 * step)
    return curve


# Fabric


def fabric(sheet: Sheet) -> Field:
    """What a garment is made of: a shade, dark to bright, with stripes or checks on some, folds and shading on all."""
    shade = sheet.vary(0.2, 0.95)
    waves = np.zeros_like(sheet.x)
    for share, direction in ((0.2, 0.0), (0.15, np.pi / 2), (0.1, np.pi / 4)):
        angle, pitch = sheet.vary(-0.1, 0.1) + direction, sheet.vary(8, 26)
        across = np.sin(angle) * sheet.x + np.cos(angle) * sheet.y
        waves += sheet.some(share) * sheet.vary(0.1, 0.6) * np.sin(pitch * across + sheet.vary(0, 2 * np.pi))
    for _ in range(2):
        fall = sheet.vary(-5, 5) * sheet.x + sheet.vary(-3, 3) * sheet.y + sheet.vary(0, 2 * np.pi)
        waves += sheet.vary(0.0, 0.18) * np.sin(fall)
    return np.clip(shade * (1 + waves), 0.05, 1.0)


def contrast(sheet: Sheet, shade: Field) -> Field:
    """A shade for details on `shade`: darker or brighter, from barely to plainly."""
    return np.clip(shade + np.where(sheet.some(0.6), -1, 1) * sheet.vary(0.05, 0.5), 0.02, 1.0)


# Garments for the upper body


@dataclass(frozen=True)
class Cut:
    """How a garment for the upper body is cut: ranges of sizes, and shares (0 to 1) of the garments with a detail.

    Attributes:
        length: From shoulder to hem, in sheet units.
        chest: Half the width at the armpits, in sheet units.
        waist, hem: Width there, as a fraction of the chest's.
        sleeve: Length of a short sleeve, in sheet units; long ones are alike in all cuts.
        long_sleeve, sleeveless: Shares; the others have short sleeves.
        collar, buttons, opening, lapels, motif: Shares; a detail that is there may still be faint.
    """

    length: Range = (1.55, 1.9)
    chest: Range = (0.38, 0.54)
    waist: Range = (0.86, 1.04)
    hem: Range = (0.88, 1.12)
    sleeve: Range = (0.3, 0.6)
    long_sleeve: float = 1.0
    sleeveless: float = 0.0
    collar: float = 0.06
    buttons: float = 0.05
    opening: float = 0.04
    lapels: float = 0.0
    motif: float = 0.15


T_SHIRT = Cut(chest=(0.4, 0.56), long_sleeve=0.06, sleeveless=0.1, motif=0.4)
PULLOVER = Cut(hem=(0.82, 1.08))
DRESS = Cut(
    length=(1.75, 2.0),
    chest=(0.2, 0.36),
    waist=(0.7, 1.0),
    hem=(0.95, 2.1),
    long_sleeve=0.2,
    sleeveless=0.45,
    motif=0.0,
)
COAT = Cut(length=(1.7, 2.0), chest=(0.36, 0.5), hem=(0.95, 1.2), collar=0.2, buttons=0.3, opening=0.85, lapels=0.5)
SHIRT = Cut(long_sleeve=0.7, collar=0.7, buttons=0.7, opening=0.15, lapels=0.03, motif=0.05)


def draw_top(sheet: Sheet, cut: Cut) -> None:
    """A garment for the upper body: sleeves, body, neckline, and the details its cut asks for."""
    x, y, side = sheet.x, sheet.y, np.abs(sheet.x)
    shade = fabric(sheet)
    length, chest = sheet.vary(*cut.length), sheet.vary(*cut.chest)
    top, hem, slope = -length / 2, length / 2, sheet.vary(0.1, 0.3)
    armpit, shoulder = top + sheet.vary(0.45, 0.6), chest * sheet.vary(0.85, 1.0)

    long = sheet.some(cut.long_sleeve)
    reach = np.where(long, sheet.vary(1.1, 1.55), sheet.vary(*cut.sleeve))
    spread = np.where(long, sheet.vary(0.08, 0.32), sheet.vary(0.3, 0.9))
    width = chest * sheet.vary(0.28, 0.42)
    start = (shoulder - 0.6 * width, top + slope * shoulder + 0.7 * width)
    end = (start[0] + reach * np.sin(spread), start[1] + reach * np.cos(spread))
    sleeves = limb(side, y, start, end, width, width * sheet.vary(0.6, 0.95))
    sheet.paint(sleeves, shade * sheet.vary(0.7, 1.0), ~sheet.some(cut.sleeveless))

    waist = armpit + 0.3 * (hem - armpit)
    widths = outline(
        y,
        [
            (top, shoulder),
            (armpit, chest),
            (waist, chest * sheet.vary(*cut.waist)),
            (hem, chest * sheet.vary(*cut.hem)),
        ],
    )
    body = np.maximum(side - widths, np.maximum(top + slope * side - y, y - hem))
    sheet.paint(np.abs(body), shade * 0.6, sheet.vary(0.0, 0.8) * (y > armpit))
    sheet.paint(body, shade)

    # A detail has a shade of its own and may be hard to see: that, not a changed label, makes a class hard.
    motif = ellipse(x, y - sheet.vary(-0.3, 0.1), chest * sheet.vary(0.3, 0.7), sheet.vary(0.1, 0.35))
    sheet.paint(motif, contrast(sheet, shade), sheet.some(cut.motif))
    neck_width, neck_depth = shoulder * sheet.vary(0.3, 0.55), sheet.vary(0.08, 0.35)
    neck = ellipse(x, y - top, neck_width, neck_depth)
    sheet.paint(np.maximum(neck - 0.08, body), contrast(sheet, shade), sheet.some(0.5))
    middle = x - sheet.vary(-0.05, 0.05)
    opening = np.maximum(np.abs(middle) - sheet.vary(0.01, 0.04), body)
    sheet.paint(opening, contrast(sheet, shade), sheet.some(cut.opening))
    pitch = sheet.vary(0.2, 0.32)
    buttons = np.maximum(ellipse(middle, (y - sheet.vary(0, 0.2)) % pitch - pitch / 2, 0.06, 0.06), body)
    sheet.paint(buttons, contrast(sheet, shade), sheet.some(cut.buttons))
    sheet.paint(neck, 0.03)
    collar = limb(side, y - top, (0.5 * neck_width, 0.0), (neck_width, neck_depth + 0.05), 0.08, 0.08)
    sheet.paint(collar, contrast(sheet, shade), sheet.some(cut.collar))
    lapel = limb(side, y - top, (neck_width, 0.0), (0.05, sheet.vary(0.5, 0.9)), 0.06, 0.12)
    sheet.paint(lapel, contrast(sheet, shade), sheet.some(cut.lapels))


# Shoes


@dataclass(frozen=True)
class Last:
    """How a shoe is formed: ranges of sizes in sheet units, and shares (0 to 1) of the shoes with a detail.

    Attributes:
        height: From the ground to the upper edge.
        heel: How far the heel is raised.
        sole: Thickness of the sole.
        mouth: Where along the shoe (x, -1 toe, 1 heel) the shaft begins.
        straps, laces, stripe: Shares; straps take the place of a closed upper.
    """

    height: Range
    heel: Range = (0.0, 0.08)
    sole: Range = (0.06, 0.16)
    mouth: Range = (-0.1, 0.3)
    straps: float = 0.0
    laces: float = 0.1
    stripe: float = 0.1


SANDAL = Last(height=(0.55, 1.3), heel=(0.0, 0.5), sole=(0.04, 0.14), straps=0.95, laces=0.0)
SNEAKER = Last(height=(0.65, 0.95), laces=0.7, stripe=0.5)
ANKLE_BOOT = Last(height=(1.1, 1.9), heel=(0.0, 0.4))


def draw_shoe(sheet: Sheet, last: Last) -> None:
    """A shoe on its sole, the toe to the left."""
    x, y = sheet.x, sheet.y
    shade = fabric(sheet)
    height, lift, mouth = sheet.vary(*last.height), sheet.vary(*last.heel), sheet.vary(*last.mouth)
    ground, back = height / 2, sheet.vary(0.75, 0.95)
    floor = ground - outline(x, [(-0.5, 0.0), (0.6, lift)])
    toe, instep = sheet.vary(0.15, 0.3), sheet.vary(0.3, 0.5) * np.minimum(height, 1.2) + 0.4 * lift
    roof = ground - outline(x, [(-1.0, 0.05), (-0.75, toe), (mouth - 0.25, instep), (mouth + 0.1, height)])
    upper = np.maximum(np.maximum(roof - y, y - floor), np.maximum(-0.97 - x, x - back))
    dip = ellipse(x - (mouth + back) / 2, y + ground, (back - mouth) / 2, sheet.vary(0.05, 0.3) * height)

    pitch, slant, gap = sheet.vary(0.3, 0.6), sheet.vary(-1.2, 0.8), sheet.vary(0.1, 0.3)
    stripes = np.abs((x + slant * y + sheet.vary(0, 1)) % pitch - pitch / 2)
    straps = np.maximum(upper, stripes - (pitch / 2 - gap))
    sheet.paint(np.where(sheet.some(last.straps), straps, np.maximum(upper, -dip)), shade)

    laces = np.maximum(np.maximum(upper, stripes % 0.14 - 0.05), np.abs(x - mouth + 0.15) - 0.2)
    sheet.paint(laces, contrast(sheet, shade), sheet.some(last.laces))
    stripe = limb(x, y - floor, (sheet.vary(-0.4, 0.0), -0.15), (sheet.vary(0.1, 0.5), -0.45), 0.05, 0.05)
    sheet.paint(np.maximum(stripe, upper), contrast(sheet, shade), sheet.some(last.stripe))

    sole = np.maximum(np.maximum(floor - sheet.vary(*last.sole) - y, y - floor), np.abs(x + 0.03) - 0.97)
    block = np.maximum(np.maximum(floor - y, y - ground), np.maximum(sheet.vary(0.3, 0.8) - x, x - back))
    sheet.paint(np.minimum(sole, block), contrast(sheet, shade))


# The others


def draw_trouser(sheet: Sheet) -> None:
    """Two legs that hang from a waistband, with a gap between them that may close."""
    y, side = sheet.y, np.abs(sheet.x)
    shade = fabric(sheet)
    length, hip, gap = sheet.vary(1.75, 1.98), sheet.vary(0.24, 0.36), sheet.vary(-0.04, 0.16)
    top, foot = -length / 2, length / 2
    crotch, ankle = top + sheet.vary(0.45, 0.7), hip * sheet.vary(0.35, 0.6)
    legs = limb(side, y, (hip / 2, top), (ankle + gap, foot), hip / 2, ankle)
    seat = np.maximum(side - hip, np.maximum(top - y, y - crotch))
    sheet.paint(np.minimum(legs, seat), shade)
    sheet.paint(np.maximum(side - 0.02, crotch - y), shade * 0.3, sheet.vary(0, 1) * (legs < 0))
    sheet.paint(np.maximum(seat, y - top - sheet.vary(0.08, 0.16)), contrast(sheet, shade), sheet.some(0.6))


def draw_bag(sheet: Sheet) -> None:
    """A bag below its handle, with a flap and a clasp on some."""
    x, y = sheet.x, sheet.y
    shade = fabric(sheet)
    width, height = sheet.vary(0.55, 0.95), sheet.vary(0.35, 0.65)
    drop = 0.9 - height
    handle = ellipse(
        x, y - (drop - height), width * sheet.vary(0.35, 0.9), sheet.vary(0.25, 0.9) * (0.9 + drop - height)
    )
    thickness = sheet.vary(0.03, 0.08)
    sheet.paint(np.abs(handle) - thickness, contrast(sheet, shade), ~sheet.some(0.12))
    bag = box(x / (1 + sheet.vary(-0.2, 0.2) * y), y - drop, width, height, sheet.vary(0.0, 0.25))
    sheet.paint(bag, shade)
    fold = drop - height * sheet.vary(-0.3, 0.7)
    sheet.paint(np.maximum(np.abs(y - fold) - 0.03, bag), contrast(sheet, shade), sheet.some(0.6))
    sheet.paint(box(x, y - fold, 0.08, 0.08), contrast(sheet, shade), sheet.some(0.5))


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
