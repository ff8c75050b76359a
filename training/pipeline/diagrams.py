"""Draw what `pictures.py` composed, in many styles: light and dark, boxes and ellipses, several fonts, sizes and line widths.

All places are given on a canvas of 256 x 256 and drawn at `scale` times that. Most words begin 8 from the left edge of a patch
and stand in the middle of a row of patches, so that a small tower meets few shifts of a word.
"""

import random
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from pipeline.pictures import BAR_GAP, BAR_UNIT, CELL, FRAME, GRAPHS, INDENT, SIDE, SLOT, WORDS, Picture

MIDDLE = 8  # of a row of patches
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
PROPORTIONAL = ("DejaVuSans.ttf", "DejaVuSans.ttf", "DejaVuSerif.ttf")
MONOSPACED = "DejaVuSansMono.ttf"
CODE_SIZE = 13.29  # at which its letters are LETTER wide
ENDS = {"def ": "):", "fn ": ") {", "func ": ") {", "function ": ") {"}
Colour = tuple[int, int, int]
Point = tuple[float, float]


class Style(NamedTuple):
    """Colours, font and lines of one drawing."""

    background: Colour
    ink: Colour
    fill: Colour
    accent: Colour
    font: str
    size: float
    line: int
    shape: str
    dark: bool


def style(picture: Picture, rng: random.Random) -> Style:
    dark = rng.random() < 0.3
    shade = rng.randint(12, 45) if dark else rng.randint(242, 255)
    ink = rng.randint(215, 255) if dark else rng.randint(0, 45)
    hue = [rng.randint(0, 28) for _ in range(3)]
    fill = tuple(min(255, shade + 12 + h) if dark else max(0, shade - h) for h in hue)
    accent = tuple(rng.randint(110, 200) if dark else rng.randint(60, 170) for _ in range(3))
    lines = picture.kind in ("code", "error")
    mono = lines or rng.random() < 0.2
    font = MONOSPACED if mono else rng.choice(PROPORTIONAL)
    size = CODE_SIZE if lines else 10 if picture.kind == "class" or mono else 11
    shape = rng.choice(["ellipse", "bare"] if picture.kind == "call" else ["box", "box", "rounded"])
    return Style((shade, shade, min(255, shade + rng.randint(0, 6))), (ink, ink, ink), fill, accent, font, size, rng.choice([1, 1, 2]), shape, dark)


@cache
def load_font(name: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / name), size)


class Canvas:
    """Pillow's drawing calls in units of the 256 canvas."""

    def __init__(self, chosen: Style, scale: int) -> None:
        self.style, self.scale = chosen, scale
        self.image = Image.new("RGB", (SIDE * scale, SIDE * scale), chosen.background)
        self.pen = ImageDraw.Draw(self.image)
        self.font = load_font(chosen.font, chosen.size * scale)

    def length(self, text: str) -> float:
        return self.font.getlength(text) / self.scale

    def text(self, x: float, y: float, text: str, colour: Colour | None = None) -> None:
        """Left-aligned at `x`, centred on `y`."""
        self.pen.text((x * self.scale, y * self.scale), text, colour or self.style.ink, self.font, anchor="lm")

    def box(self, left: float, top: float, right: float, bottom: float, shape: str, fill: Colour | None, outline: Colour | None) -> None:
        corners = [v * self.scale for v in (left, top, right, bottom)]
        width = self.style.line * self.scale if outline else 0
        if shape == "ellipse":
            self.pen.ellipse(corners, fill, outline, width)
        else:
            self.pen.rounded_rectangle(corners, (6 if shape == "rounded" else 0) * self.scale, fill, outline, width)

    def line(self, a: Point, b: Point, colour: Colour) -> None:
        self.pen.line([a[0] * self.scale, a[1] * self.scale, b[0] * self.scale, b[1] * self.scale], colour, self.style.line * self.scale)

    def arrow(self, a: Point, b: Point) -> None:
        x, y = b[0] - a[0], b[1] - a[1]
        length = max((x * x + y * y) ** 0.5, 1e-3)
        x, y = x / length, y / length
        self.line(a, (b[0] - 3 * x, b[1] - 3 * y), self.style.ink)
        head, half = 6.5, 3.5
        points = [b, (b[0] - head * x - half * y, b[1] - head * y + half * x), (b[0] - head * x + half * y, b[1] - head * y - half * x)]
        self.pen.polygon([(px * self.scale, py * self.scale) for px, py in points], self.style.ink)


def border(centre: Point, towards: Point, half: Point, ellipse: bool) -> Point:
    """Where the line from `centre` leaves a box or ellipse of these half sides."""
    x, y = towards[0] - centre[0], towards[1] - centre[1]
    if ellipse:
        share = 1 / max(((x / half[0]) ** 2 + (y / half[1]) ** 2) ** 0.5, 1e-6)
    else:
        share = min(half[0] / abs(x) if x else 1e9, half[1] / abs(y) if y else 1e9)
    return centre[0] + share * x, centre[1] + share * y


def draw_graph(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    places: dict[str, Point] = {}
    halves: dict[str, Point] = {}
    pad = rng.choice([3, 4, 5])
    shift = rng.choice([-MIDDLE, MIDDLE])
    tall = 13 if chosen.shape == "ellipse" else rng.choice([9, 10, 12])
    for name, (column, row) in picture.nodes.items():
        label = name + ("()" if picture.kind == "call" else "")
        across = canvas.length(label) / 2
        places[name] = (SLOT * column + INDENT + across, CELL + SLOT * (row + 0.5) + shift)
        halves[name] = (across + pad + (3 if chosen.shape == "ellipse" else 0), tall)
    for a, b in picture.edges:
        ellipse = chosen.shape == "ellipse"
        start, end = (border(places[p], places[q], (halves[p][0] + 1, halves[p][1] + 1), ellipse) for p, q in ((a, b), (b, a)))
        canvas.arrow(start, end)
    for name, (x, y) in places.items():
        across, down = halves[name]
        if chosen.shape != "bare":
            canvas.box(x - across, y - down, x + across, y + down, chosen.shape, chosen.fill, chosen.ink)
        label = name + ("()" if picture.kind == "call" else "")
        canvas.text(x - canvas.length(label) / 2, y, label)


def draw_cards(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    sign = rng.choice(["", "+", "-"])
    for name, *members in picture.rows:
        column, row = picture.nodes[name]
        left, top = SLOT * column, CELL + SLOT * row
        canvas.box(left + 3, top, left + SLOT - 4, top + 50, "box", chosen.fill, chosen.ink)
        canvas.line((left + 3, top + 16), (left + SLOT - 4, top + 16), chosen.ink)
        canvas.text(left + INDENT, top + MIDDLE, name)
        for index, member in enumerate(members):
            canvas.text(left + INDENT - canvas.length(sign), top + 16 * (index + 1) + MIDDLE, sign + member)


def draw_bars(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    said = rng.random() < 0.6  # the value stands at the bar; else at an axis with lines
    base, unit = SIDE - CELL - 8 if picture.upright else SLOT, BAR_UNIT
    for value in range(0, 10):
        at = base - unit * value if picture.upright else base + unit * value
        ends = ((24, at), (SIDE - 8, at)) if picture.upright else ((at, CELL - 4), (at, SIDE - 16))
        if not said or value == 0:
            canvas.line(*ends, chosen.ink if value == 0 else tuple((i + b) // 2 for i, b in zip(chosen.fill, chosen.accent, strict=True)))
        if not said:
            canvas.text(*((8, at) if picture.upright else (at - 3, SIDE - 8)), str(value))
    for index, (word, value) in enumerate(picture.rows):
        extent = unit * int(value)
        if picture.upright:
            x = SLOT * index + INDENT
            canvas.box(x, base - extent, x + 24, base, "box", chosen.accent, None)
            canvas.text(x, SIDE - CELL + MIDDLE, word)
            if said:
                canvas.text(x + 16, base - extent - 16, value)
        else:
            y = CELL * (index + 1) + MIDDLE
            canvas.box(base, y - 8, base + extent, y + 8, "box", chosen.accent, None)
            canvas.text(8, y, word)
            if said:
                canvas.text(base + extent + BAR_GAP, y, value)


def draw_table(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    columns, count = len(picture.rows[0]), len(picture.rows)
    top = CELL / 2 + MIDDLE
    lines = rng.choice(["all", "rows", "head"])
    if rng.random() < 0.6:
        canvas.box(4, top, SLOT * columns - 4, top + CELL, "box", chosen.fill, None)
    for row in range(count + 1):
        if lines != "head" or row in (0, 1, count):
            canvas.line((4, top + CELL * row), (SLOT * columns - 4, top + CELL * row), chosen.ink)
    if lines == "all":
        for column in range(columns + 1):
            x = min(max(SLOT * column, 4), SLOT * columns - 4)
            canvas.line((x, top), (x, top + CELL * count), chosen.ink)
    for index, row in enumerate(picture.rows):
        for column, text in enumerate(row):
            canvas.text(SLOT * column + INDENT, CELL * (index + 1) + MIDDLE, text)


def draw_code(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    head, keyword = picture.head, canvas.style.accent
    for index, (name, parameter) in enumerate(picture.rows):
        y = CELL * (index + 1) + MIDDLE
        canvas.text(INDENT, y, head, keyword)
        canvas.text(INDENT + canvas.length(head), y, f"{name}({parameter}{ENDS[head]}")
        canvas.text(INDENT, y + 16, f"  return {rng.choice(['0', 'x', 'a + b', '[]', '1'])}", keyword)


def draw_error(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    red: Colour = (240, 110, 100) if canvas.style.dark else (190, 20, 20)
    said = rng.choice(["is null", "is not set", "missing"])
    ending = rng.choice([".py", ".ts", ".js", ".go"])
    for index, (first, second) in enumerate(picture.rows):
        y = CELL * (index + 1) + MIDDLE
        if index == 0:
            canvas.text(INDENT, y, f"{first}: {second} {said}", red)
        else:
            canvas.text(INDENT, y, f"{FRAME[0]}{first}{FRAME[1]}{second}{ending}:{rng.randint(1, 99)})")


def draw_other(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    """Nothing that can be told: patches of colour, lines, and words where no drawing of ours has them."""
    def point() -> Point:
        return rng.uniform(0, SIDE), rng.uniform(0, SIDE)

    def colour() -> Colour:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    for _ in range(rng.randint(0, 12)):
        (left, right), (top, bottom) = (sorted(pair) for pair in zip(point(), point(), strict=True))
        canvas.box(left, top, right, bottom, rng.choice(["box", "rounded", "ellipse"]), colour(), rng.choice([None, colour()]))
    for _ in range(rng.randint(0, 10)):
        canvas.line(point(), point(), colour())
    for _ in range(rng.choice([0, 0, 3, 12, 30])):
        canvas.text(*point(), " ".join(rng.sample(WORDS, rng.randint(1, 5))), rng.choice([None, colour()]))


DRAW = {"other": draw_other, "class": draw_cards, "bar": draw_bars, "table": draw_table, "code": draw_code, "error": draw_error}


def draw(picture: Picture, rng: random.Random, scale: int = 1) -> Image.Image:
    """An RGB picture of 256 * scale pixels a side."""
    canvas = Canvas(style(picture, rng), scale)
    (draw_graph if picture.kind in GRAPHS else DRAW[picture.kind])(canvas, picture, rng)
    return canvas.image
