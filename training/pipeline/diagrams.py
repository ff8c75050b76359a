"""Draw what `pictures.py` composed, in many styles: light and dark, boxes and ellipses, several fonts, sizes and line widths.

All places are given on a canvas of 256 x 256 and drawn at `scale` times that. Words begin on a raster of 4, so that a small
tower meets fewer shifts of a word; tables, bars and lines of code stand on the rows of the tower's cells.
"""

import random
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from pipeline.pictures import GRAPHS, GRID, Picture

SIDE = 256
CELL = SIDE // GRID
SLOT = 2 * CELL
RASTER = 4
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
PROPORTIONAL = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf")
MONOSPACED = ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")
Colour = tuple[int, int, int]
Point = tuple[float, float]


class Style(NamedTuple):
    """Colours, font and lines of one drawing."""

    background: Colour
    ink: Colour
    fill: Colour
    accent: Colour
    font: str
    size: int
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
    mono = picture.kind in ("code", "error") or rng.random() < 0.2
    font = rng.choice(MONOSPACED if mono else PROPORTIONAL)
    wide = "Mono" in font or "Bold" in font
    size = 10 if picture.kind == "class" or wide else rng.choice([10, 11, 11])
    if font.startswith("STIX"):
        size += 2
    shape = rng.choice(["ellipse", "bare"] if picture.kind == "call" else ["box", "box", "rounded"])
    return Style((shade, shade, min(255, shade + rng.randint(0, 6))), (ink, ink, ink), fill, accent, font, size, rng.choice([1, 1, 2]), shape, dark)


@cache
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
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

    def centred(self, x: float, y: float, text: str) -> None:
        self.text(round((x - self.length(text) / 2) / RASTER) * RASTER, y, text)

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
    tall = 13 if chosen.shape == "ellipse" else rng.choice([9, 10, 12])
    for name, (column, row) in picture.nodes.items():
        places[name] = (SLOT * (column + 0.5), CELL + SLOT * (row + 0.5) + rng.choice([-8, -4, 0, 0, 4, 8]))
        label = name + ("()" if picture.kind == "call" else "")
        halves[name] = (min(canvas.length(label) / 2 + pad + (3 if chosen.shape == "ellipse" else 0), 29), tall)
    for a, b in picture.edges:
        ellipse = chosen.shape == "ellipse"
        start, end = (border(places[p], places[q], (halves[p][0] + 1, halves[p][1] + 1), ellipse) for p, q in ((a, b), (b, a)))
        canvas.arrow(start, end)
    for name, (x, y) in places.items():
        across, down = halves[name]
        if chosen.shape != "bare":
            canvas.box(x - across, y - down, x + across, y + down, chosen.shape, chosen.fill, chosen.ink)
        canvas.centred(x, y, name + ("()" if picture.kind == "call" else ""))


def draw_cards(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    sign = rng.choice(["", "+", "-"])
    for name, *members in picture.rows:
        column, row = picture.nodes[name]
        left, top = SLOT * column + 4, CELL + SLOT * row + 4
        canvas.box(left, top, left + SLOT - 8, top + SLOT - 8, "box", chosen.fill, chosen.ink)
        canvas.line((left, top + 18), (left + SLOT - 8, top + 18), chosen.ink)
        canvas.centred(left + SLOT / 2 - 4, top + 10, name)
        for index, member in enumerate(members):
            canvas.text(left + 4, top + 28 + 16 * index, sign + member)


def draw_bars(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    said = rng.random() < 0.6  # the value stands at the bar; else at an axis with lines
    base, unit = (SIDE - CELL - 8, 20) if picture.upright else (SLOT, 18)
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
            x = SLOT * (index + 0.5)
            canvas.box(x - 12, base - extent, x + 12, base, "box", chosen.accent, None)
            canvas.centred(x, SIDE - CELL / 2, word)
            if said:
                canvas.centred(x, base - extent - 8, value)
        else:
            y = CELL * (index + 1.5)
            canvas.box(base, y - 8, base + extent, y + 8, "box", chosen.accent, None)
            canvas.text(8, y, word)
            if said:
                canvas.text(base + extent + 4, y, value)


def draw_table(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    chosen = canvas.style
    columns, count = len(picture.rows[0]), len(picture.rows)
    lines = rng.choice(["all", "rows", "head"])
    if rng.random() < 0.6:
        canvas.box(4, CELL, SLOT * columns - 4, 2 * CELL, "box", chosen.fill, None)
    for row in range(count + 1):
        if lines != "head" or row in (0, 1, count):
            canvas.line((4, CELL * (row + 1)), (SLOT * columns - 4, CELL * (row + 1)), chosen.ink)
    if lines == "all":
        for column in range(columns + 1):
            x = min(max(SLOT * column, 4), SLOT * columns - 4)
            canvas.line((x, CELL), (x, CELL * (count + 1)), chosen.ink)
    for index, row in enumerate(picture.rows):
        for column, text in enumerate(row):
            canvas.text(SLOT * column + 8, CELL * (index + 1.5), text)


def draw_code(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    head, end = rng.choice([("def ", "):"), ("fn ", ") {"), ("func ", ") {"), ("function ", ") {")])
    keyword = canvas.style.accent
    for index, (name, parameter) in enumerate(picture.rows):
        y = CELL * (index + 1.5) - 8
        canvas.text(8, y, head, keyword)
        canvas.text(8 + canvas.length(head), y, f"{name}({parameter}{end}")
        canvas.text(8, y + 16, f"  return {rng.choice(['0', 'x', 'a + b', '[]', '1'])}", keyword)


def draw_error(canvas: Canvas, picture: Picture, rng: random.Random) -> None:
    red: Colour = (240, 110, 100) if canvas.style.dark else (190, 20, 20)
    said = rng.choice(["is null", "is not set", "missing"])
    ending = rng.choice([".py", ".ts", ".js", ".go"])
    for index, (first, second) in enumerate(picture.rows):
        y = CELL * (index + 1.5)
        if index == 0:
            canvas.text(8, y, f"{first}: {second} {said}", red)
        else:
            canvas.text(8, y, f"  at {first} ({second}{ending}:{rng.randint(1, 99)})")


DRAW = {"class": draw_cards, "bar": draw_bars, "table": draw_table, "code": draw_code, "error": draw_error}


def draw(picture: Picture, rng: random.Random, scale: int = 1) -> Image.Image:
    """An RGB picture of 256 * scale pixels a side."""
    canvas = Canvas(style(picture, rng), scale)
    (draw_graph if picture.kind in GRAPHS else DRAW[picture.kind])(canvas, picture, rng)
    return canvas.image
