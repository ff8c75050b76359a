"""Mix examples into packed batches; a batch is a pure function of (stage, seed, step), so a resumed run sees the same data."""

import json
import math
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import repository, tasks
from pipeline.inventions import Inventor
from pipeline.pictures import CELLS, QUESTIONS, any_picture, picture_example, piece_ids
from pipeline.soft_pool import SoftPool
from pipeline.tokenizer import CONTROL, Tokenizer

BOS = 2
COPY_WEIGHT = 0.5
MISSES = 24  # examples that fit in no row, until a batch is full enough
LANGUAGE_SHARE = {"typescript": 3.0, "python": 2.0, "javascript": 2.0, "go": 1.0, "rust": 0.8, "markdown": 1.0, "cpp": 1.0}


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum. It lasts while the schedule's progress (0 to 1) is below `until`; stages that end together take turns.

    `characters` of code stand before the questions of a conversation, `code` characters are a completion or plain text. `pictures` is a share of the
    examples, those in a repository are the share `beside` of them.
    """

    until: float
    length: int
    rows: int
    characters: tuple[int, int]
    code: tuple[int, int]
    turns: tuple[int, int]
    chat: float
    middle: float
    copy: float = 0.0
    pictures: float = 0.05
    beside: float = 0.5


class Corpus:
    """One split of the corpus, grouped by package, with names for questions that have no answer."""

    def __init__(self, path: Path, split: str) -> None:
        groups: dict[str, list[tasks.Document]] = defaultdict(list)
        with path.open() as lines:
            for line in lines:
                row = json.loads(line)
                if row["split"] == split and "\u2581" not in row["text"] and not any(piece in row["text"] for piece in ("<bos>", "<eos>", *CONTROL)):
                    groups[row["package"]].append(tasks.Document(row["package"], row["path"], row["language"], row["text"]))
        self.packages = [sorted(documents, key=lambda d: d.path) for _, documents in sorted(groups.items())]
        self.weights = [sum(LANGUAGE_SHARE[d.language] * len(d.text) for d in documents) ** 0.5 for documents in self.packages]
        names = random.Random(0).sample([d for documents in self.packages for d in documents], min(400, sum(map(len, self.packages))))
        self.names = sorted({s.name for d in names for s in d.outline.symbols})
        paths = [d.path.split("/") for documents in self.packages for d in documents]
        self.folders = sorted({folder for path in paths for folder in path[:-1] if re.fullmatch(r"[\w-]{2,20}", folder)}) or ["src"]
        self.stems = sorted({stem for path in paths if re.fullmatch(r"[A-Za-z][\w-]{1,24}", stem := path[-1].partition(".")[0])}) or ["main"]

    def draw(self, rng: random.Random) -> list[tasks.Document]:
        return rng.choices(self.packages, self.weights)[0]


def example(corpus: Corpus, stage: Stage, rng: random.Random) -> list[tasks.Span] | None:
    """One example of the stage's mixture; None where the drawn files allow none."""
    documents = corpus.draw(rng)
    form = rng.random()
    if form < 0.015:
        return tasks.small_talk(rng)
    if form < stage.chat:
        inventor = Inventor.draw(corpus.folders, corpus.stems, corpus.names, rng) if rng.random() < repository.INVENTED else None
        return repository.chat(documents, corpus.names, rng.randint(*stage.characters), rng.randint(*stage.turns), rng, inventor)
    characters = round(math.exp(rng.uniform(*map(math.log, stage.code))))
    document = rng.choice(documents)
    if form < stage.chat + stage.middle:
        return tasks.fill_in_middle(document, documents, characters, rng)
    return tasks.plain(document, characters, rng)


def image_example(corpus: Corpus, tokenizer: Tokenizer, stage: Stage, rng: random.Random,
                  pool: SoftPool | None) -> tuple[list[int], list[float], list[int], np.ndarray | None]:
    """A question about an image, a share of them in a repository; with the image's soft tokens where there is a pool of them, else with the ids of its cells."""
    ids = piece_ids(tokenizer)
    picture, soft = pool.draw(rng) if pool else (any_picture(rng), None)
    cells = [ids[cell] for cell in picture.cells] if soft is None else [ids[None]] * CELLS
    question = rng.choice(QUESTIONS)
    files, facts = "", ()
    if rng.random() < stage.beside:
        inventor = Inventor.draw(corpus.folders, corpus.stems, corpus.names, rng)
        held = repository.repository(corpus.draw(rng), rng.randint(*stage.characters), rng, inventor)
        files, facts = repository.around_image(held, question, rng)
    return *picture_example(tokenizer, picture, cells, question, files, facts), soft


def copying(vocabulary: int, rng: random.Random) -> tuple[list[int], list[float]]:
    """Random pieces said two to four times; only the repeats are learnt. Teaches to copy what was seen, early on."""
    pieces = [rng.randrange(vocabulary * 3 // 32, vocabulary) for _ in range(rng.randint(6, 40))]
    repeats = rng.randint(1, 3)
    weights = [0.0] * (len(pieces) + 1) + ([0.0] + [COPY_WEIGHT] * (len(pieces) - 1)) * repeats
    return [BOS, *pieces * (repeats + 1)], weights


def encode(tokenizer: Tokenizer, spans: list[tasks.Span], room: int) -> tuple[list[int], list[float]]:
    """Ids and weights; of a conversation longer than `room` the turns that fit, of plain text the beginning. May be longer where neither helps."""
    ids: list[int] = []
    weights: list[float] = []
    fitting = 0
    for text, weight in spans:
        part = tokenizer.encode_prompt(text)
        ids.extend(part)
        weights.extend([weight] * len(part))
        if len(ids) <= room and text.endswith("<end_of_turn>"):
            fitting = len(ids)
    weights[0] = 0.0
    end = room if len(spans) == 1 else fitting or len(ids)
    return ids[:end], weights[:end]


def batch(corpus: Corpus, tokenizer: Tokenizer, stage: Stage, seed: int, step: int, pool: SoftPool | None = None) -> dict[str, np.ndarray]:
    """Packed rows: tokens, weights (of predicting that token), segments (0 = padding) and images (0 = text), each [rows, length].

    With a `pool` of drawings also what stands in place of embeddings where there are images, `soft` [rows, length, text width].
    """
    rng = random.Random(f"{seed}:{step}:{stage.length}")
    shape = (stage.rows, stage.length)
    tokens, segments, images = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    weights = np.zeros(shape, np.float32)
    values = np.zeros((*shape, pool.wanted.shape[1]), np.float32) if pool else None
    used, count = [0] * stage.rows, [0] * stage.rows
    misses = 0
    while misses < MISSES:
        soft: list[int] = []
        seen: np.ndarray | None = None
        form = rng.random()
        if form < stage.copy:
            ids, loss = copying(tokenizer.size, rng)
        elif form < stage.copy + stage.pictures:
            ids, loss, soft, seen = image_example(corpus, tokenizer, stage, rng, pool)
        else:
            spans = example(corpus, stage, rng)
            if spans is None:
                continue
            ids, loss = encode(tokenizer, spans, stage.length - min(used))
        row = min((r for r in range(stage.rows) if used[r] + len(ids) <= stage.length), key=lambda r: -used[r], default=None)
        if row is None:
            misses += 1
            continue
        at = slice(used[row], used[row] + len(ids))
        count[row] += 1
        tokens[row, at], weights[row, at], segments[row, at] = ids, loss, count[row]
        images[row, at] = soft or 0
        if values is not None and seen is not None:
            values[row, used[row] + np.flatnonzero(soft)] = seen
        used[row] += len(ids)
    return {"tokens": tokens, "weights": weights, "segments": segments, "images": images, **({} if values is None else {"soft": values})}
