"""Drawings of seven kinds as geometry, as the pieces that the image tower reads from them, and as the answer in words.

The tower's soft tokens form a grid of 8 x 8 cells. A cell says one piece of the vocabulary, or nothing; the pieces in reading
order are the answer without its separators, so a text model needs only to copy. Cell 0 names the kind. `diagrams.py` draws
what this file composes; `picture_example` makes training rows for the text model, which need no pixels at all.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from pipeline.index_block import IndexFact
from pipeline.prompt_form import RULES, question_part
from pipeline.tokenizer import Tokenizer

GRID = 8
CELLS = GRID * GRID
SLOT_COLUMNS, SLOT_ROWS = 4, 3  # a slot is two cells by two; the top row of cells and the last stay free
SIDE = 256  # of a drawing, in the units of all places
CELL = SIDE // GRID
SLOT = 2 * CELL
INDENT = 8  # of words, from the left edge of a slot
LETTER = 8  # width of each in code and errors
BAR_UNIT, BAR_GAP = 16, 4  # length of a bar for each 1, and the space before its value
FUNCTIONS = ("def ", "fn ", "func ", "function ")
FRAME = ("  at ", " (")  # before a function of a stack, and before its file
ROW_END = "\n"
DIGITS = "123456789"
WORDS = """load parse check save send read write open close main init run stop start next node list file test user data name path item
    key value index event queue stack tree map set get put add find sort copy move log info warn cache store fetch query route page
    view form input output token state task plan step loop emit wait join split filter count size length width color text line word
    byte flag mode group owner client server host port url json html math date time lock pool build push pull tag diff scan print
    format encode decode hash sign auth cookie header body title label image level order report point layer frame window tab card
    row column left right top first last prev begin end""".split()
ERRORS = ("TypeError", "ValueError", "Error", "Exception")
KINDS = {"flow": "Flowchart", "call": "Call graph", "class": "Classes", "bar": "Bar chart", "table": "Table", "code": "Code", "error": "Error"}
GRAPHS = ("flow", "call")
UNREADABLE = "I cannot read this image. I read only simple drawings of a few kinds."
QUESTIONS = ["Describe this image."] * 3 + [
    "What does this image show?", "Explain this image.", "Explain the diagram.", "What does the diagram show?", "Describe the diagram.", "What is in the image?",
    "Describe this picture.", "Explain this screenshot.", "What is this?", "Explain the image.", "Read this image.", "What do you see?"]


@dataclass
class Picture:
    """What is drawn. Places are slots `(column, row)` for graphs and cards, rows of cells otherwise."""

    kind: str
    answer: str
    cells: list[str | None] = field(default_factory=lambda: [None] * CELLS)
    nodes: dict[str, tuple[int, int]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    upright: bool = False  # of bars
    head: str = ""  # what stands before the name of a function

    def put(self, row: int, column: int, piece: str) -> None:
        self.cells[row * GRID + column] = piece

    @property
    def size(self) -> int:
        """Nodes of a graph, or rows, cards or bars."""
        return len(self.nodes) if self.kind in GRAPHS else len(self.rows)


def neighbours(slot: tuple[int, int]) -> list[tuple[int, int]]:
    """Beside it or above and below: arrows go along rows and columns."""
    column, row = slot
    around = [(column - 1, row), (column + 1, row), (column, row - 1), (column, row + 1)]
    return [(x, y) for x, y in around if 0 <= x < SLOT_COLUMNS and 0 <= y < SLOT_ROWS]


def graph(kind: str, count: int, rng: random.Random) -> Picture | None:
    """A connected drawing of `count` nodes on neighbouring slots, at most two edges out of each; None where a draw ran into a corner."""
    slots = [(rng.randrange(SLOT_COLUMNS), rng.randrange(SLOT_ROWS))]
    lean = rng.choice([(1, 0), (0, 1), (1, 0), (0, 1), None])
    edges: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def degree(slot: tuple[int, int]) -> int:
        return sum(a == slot for a, _ in edges)

    def weight(a: tuple[int, int], b: tuple[int, int]) -> float:
        return 6.0 if lean == (b[0] - a[0], b[1] - a[1]) else 1.0

    for _ in range(40):
        if len(slots) == count:
            break
        old = slots[-1] if rng.random() < 0.7 else rng.choice(slots)
        free = [s for s in neighbours(old) if s not in slots]
        if not free:
            continue
        new = rng.choices(free, [weight(old, s) for s in free])[0]
        edge = (old, new) if rng.random() < 0.85 else (new, old)
        if degree(edge[0]) < 2:
            slots.append(new)
            edges.append(edge)
    if len(slots) < count:
        return None
    for _ in range(rng.choice([0, 0, 1, 2])):
        a = rng.choice(slots)
        near = [s for s in neighbours(a) if s in slots and (a, s) not in edges and (s, a) not in edges]
        if near and degree(a) < 2:
            edges.append((a, rng.choice(near)))
    names = dict(zip(slots, rng.sample(WORDS, count), strict=True))
    picture = Picture(kind, "", nodes={names[s]: s for s in slots}, edges=[(names[a], names[b]) for a, b in edges])
    for column, row in slots:
        targets = sorted((b for a, b in edges if a == (column, row)), key=lambda s: (s[1], s[0]))
        for index, target in enumerate(targets):
            picture.put(1 + 2 * row + index, 2 * column, names[column, row])
            picture.put(1 + 2 * row + index, 2 * column + 1, names[target])
    return finish(picture, " -> ")


def pairs(picture: Picture) -> list[list[str]]:
    """The said cells two by two, in reading order."""
    said = [piece for piece in picture.cells if piece is not None]
    return [said[i:i + 2] for i in range(0, len(said), 2)]


def finish(picture: Picture, separator: str, end: str = "") -> Picture:
    lines = [separator.join(pair) + end for pair in pairs(picture)]
    picture.answer = "\n".join([f"{KINDS[picture.kind]}:", *lines])
    picture.put(0, 0, picture.kind)
    return picture


def cards(count: int, rng: random.Random) -> Picture:
    """Class boxes with two members each."""
    words = rng.sample(WORDS, 3 * count)
    slots = rng.sample([(x, y) for y in range(SLOT_ROWS) for x in range(SLOT_COLUMNS)], count)
    picture = Picture("class", "")
    for index, (column, row) in enumerate(sorted(slots, key=lambda s: (s[1], s[0]))):
        name, *members = words[3 * index:3 * index + 3]
        picture.nodes[name] = (column, row)
        picture.rows.append([name, *members])
        for line, member in enumerate(members):
            picture.put(1 + 2 * row + line, 2 * column, name)
            picture.put(1 + 2 * row + line, 2 * column + 1, member)
    return finish(picture, ".")


def bars(count: int, rng: random.Random) -> Picture:
    """Horizontal bars, one in each row of cells, its value said where it ends; or up to four upright ones, their values beside their words."""
    upright = rng.random() < 0.3
    count = min(count, SLOT_COLUMNS) if upright else count
    picture = Picture("bar", "", upright=upright)
    picture.rows = [[word, rng.choice(DIGITS)] for word in rng.sample(WORDS, count)]
    for index, (word, value) in enumerate(picture.rows):
        row, column = (7, 2 * index) if upright else (1 + index, 0)
        picture.put(row, column, word)
        picture.put(row, column + 1 if upright else (SLOT + BAR_UNIT * int(value) + BAR_GAP) // CELL, value)
    return finish(picture, ": ")


def table(count: int, rng: random.Random) -> Picture:
    """Two to four columns of words or digits under a header."""
    columns = rng.randint(2, 4)
    numbers = [column > 0 and rng.random() < 0.5 for column in range(columns)]
    words = iter(rng.sample(WORDS, columns * count))
    picture = Picture("table", "")
    for row in range(count):
        picture.rows.append([rng.choice(DIGITS) if row > 0 and numbers[column] else next(words) for column in range(columns)])
        for column, text in enumerate(picture.rows[-1]):
            picture.put(1 + row, 2 * column, text)
        if columns < SLOT_COLUMNS or row < count:
            picture.put(1 + row, 2 * SLOT_COLUMNS - 1, ROW_END)
    picture.answer = "\n".join([f"{KINDS['table']}:", *(" | ".join(row) for row in picture.rows)])
    picture.put(0, 0, "table")
    return picture


def letters(text: str) -> int:
    """The column of cells of what stands after `text` on a line of code."""
    return (INDENT + LETTER * len(text)) // CELL


def code(count: int, rng: random.Random) -> Picture:
    """Heads of functions, each with one parameter; words are said where they begin."""
    words = rng.sample(WORDS, 2 * count)
    picture = Picture("code", "", rows=[words[2 * i:2 * i + 2] for i in range(count)], head=rng.choice(FUNCTIONS))
    for index, (name, parameter) in enumerate(picture.rows):
        picture.put(1 + index, letters(picture.head), name)
        picture.put(1 + index, letters(f"{picture.head}{name}("), parameter)
    return finish(picture, "(", ")")


def error(count: int, rng: random.Random) -> Picture:
    """The class of an error and what it is about, then a function and its file for each frame; words are said where they begin."""
    words = rng.sample(WORDS, 2 * count)
    picture = Picture("error", "", rows=[[rng.choice(ERRORS), words[0]], *(words[2 * i:2 * i + 2] for i in range(1, count))])
    for index, (first, second) in enumerate(picture.rows):
        before, between = ("", ": ") if index == 0 else FRAME
        picture.put(1 + index, letters(before), first)
        picture.put(1 + index, letters(f"{before}{first}{between}"), second)
    return finish(picture, " in ")


OTHERS: dict[str, Callable[[int, random.Random], Picture]] = {"class": cards, "bar": bars, "table": table, "code": code, "error": error}


def compose(kind: str, count: int, rng: random.Random) -> Picture:
    """A picture of `kind` with `count` (2 to 6) nodes, cards, bars or rows."""
    if kind not in GRAPHS:
        return OTHERS[kind](count, rng)
    while True:
        picture = graph(kind, count, rng)
        if picture is not None:
            return picture


def other() -> Picture:
    """A picture of no kind: the first cell says nothing, and so does the answer."""
    return Picture("other", UNREADABLE)


def any_picture(rng: random.Random) -> Picture:
    """Half of them graphs, the kind that is hardest to read; a few of no kind, with words here and there all the same."""
    if rng.random() < 0.08:
        picture = other()
        for cell in rng.sample(range(1, CELLS), rng.choice([0, 0, 1, 3, 10])):
            picture.cells[cell] = rng.choice(vocabulary())
        return picture
    kind = rng.choice([*GRAPHS * 3, *KINDS])
    return compose(kind, rng.randint(2, 6), rng)


def vocabulary() -> list[str]:
    """Every piece that a cell can say."""
    return [*KINDS, *WORDS, *ERRORS, *DIGITS, ROW_END]


CLASSES = [None, *vocabulary()]  # what the tower learns to tell apart
CLASS = {text: index for index, text in enumerate(CLASSES)}


@cache
def piece_ids(tokenizer: Tokenizer) -> dict[str | None, int]:
    """Ids of what a cell says; None, an empty cell, is the soft token itself."""
    ids: dict[str | None, int] = {None: tokenizer.control["<image_soft_token>"]}
    for text in vocabulary():
        pieces = tokenizer.encode(text)
        if len(pieces) != 1:
            raise SystemExit(f"{text!r} has {len(pieces)} pieces in this vocabulary; pictures need words of one piece: take it out of pipeline/pictures.py")
        ids[text] = pieces[0]
    return ids


def image_block(tokenizer: Tokenizer, cells: list[int]) -> tuple[list[int], list[int]]:
    """Ids of an image as the engine lays it out (blank line, marker, soft tokens, marker, blank line), and 1 where they are soft."""
    blank = tokenizer.encode("\n\n")
    ids = [*blank, tokenizer.control["<start_of_image>"], *cells, tokenizer.control["<end_of_image>"], *blank]
    before = len(blank) + 1
    return ids, [0] * before + [1] * len(cells) + [0] * before


def prompt_ids(tokenizer: Tokenizer, cells: list[int], question: str, files: str = "", facts: Sequence[IndexFact] = ()) -> tuple[list[int], list[int]]:
    """A whole prompt about an image, in a repository if there are `files`, blocks of the prompt form; and 1 where its ids are soft."""
    head = tokenizer.encode_prompt(f"<bos><start_of_turn>user\n{RULES}\n\n{files}" if files else "<bos><start_of_turn>user\n")
    block, soft = image_block(tokenizer, cells)
    tail = tokenizer.encode_prompt(f"{question_part(question, facts) if files else question}<end_of_turn>\n<start_of_turn>model\n")
    return [*head, *block, *tail], [0] * len(head) + soft + [0] * len(tail)


def picture_example(tokenizer: Tokenizer, picture: Picture, cells: list[int], question: str, files: str = "",
                    facts: Sequence[IndexFact] = ()) -> tuple[list[int], list[float], list[int]]:
    """Ids, weights and 1 where soft, of a question about a picture whose cells have these ids."""
    prompt, soft = prompt_ids(tokenizer, cells, question, files, facts)
    answer = tokenizer.encode_prompt(f"{picture.answer}<end_of_turn>\n")
    return [*prompt, *answer], [0.0] * len(prompt) + [1.0] * len(answer), [*soft, *([0] * len(answer))]
