"""A user's own examples: one JSON object a line, in one of four forms, packed into rows.

    {"text": "..."}                                              plain text or code: everything is learnt
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}    chat: the answers are learnt
    {"prompt": "...", "answer": "..."}                           one question and its answer
    {"prefix": "...", "suffix": "...", "middle": "..."}          fill in the middle: the middle is learnt

Each may have "files": [{"path": "...", "text": "..."}], which then stand before it exactly as the product puts a repository there.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline import prompt_form
from pipeline.huggingface import CheckpointTokenizer
from pipeline.prompt_form import SourceFile


class Row(NamedTuple):
    """Ids of one example and the weight of predicting each."""

    ids: list[int]
    weights: list[float]


class DataError(SystemExit):
    """What is wrong with the data, with file and line."""


def read_objects(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a JSONL file.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number} is not valid JSON: {error.msg}.") from error
        if form_of(row) is None:
            raise DataError(f'{path}:{number} has none of the four forms: "text"; "messages"; "prompt" and "answer"; "prefix", "suffix" and "middle".')
        rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no example.")
    return rows


def form_of(row: Any) -> str | None:
    """Which form a line has; None if none, or if its values are not text."""
    if not isinstance(row, dict):
        return None
    for form, keys in (("text", ("text",)), ("pair", ("prompt", "answer")), ("middle", ("prefix", "suffix", "middle"))):
        if all(isinstance(row.get(key), str) for key in keys):
            return form
    messages = row.get("messages")
    good = isinstance(messages, list) and messages and all(isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") in ROLES for m in messages)
    return "chat" if good else None


ROLES = {"system", "user", "assistant", "model"}


def has_middle(rows: list[dict[str, Any]]) -> bool:
    return any(form_of(row) == "middle" for row in rows)


def turns_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    """(role, content) with roles user and model in turn; a system message goes before the first question, as Gemma's template puts it."""
    if "messages" not in row:
        return [("user", row["prompt"]), ("model", row["answer"])]
    turns: list[tuple[str, str]] = []
    system = ""
    for message in row["messages"]:
        if message["role"] == "system":
            system += message["content"].strip() + "\n\n"
            continue
        role = "user" if message["role"] == "user" else "model"
        turns.append((role, system + message["content"] if role == "user" else message["content"]))
        system = "" if role == "user" else system
    return turns


def encode(tokenizer: CheckpointTokenizer, row: dict[str, Any]) -> Row:
    """Ids of a row in the product's prompt form."""
    ids: list[int] = [tokenizer.control["<bos>"]]
    weights = [0.0]

    def add(text: str, weight: float) -> None:
        part = tokenizer.encode(text)
        ids.extend(part)
        weights.extend([weight] * len(part))

    def piece(name: str, weight: float) -> None:
        ids.append(tokenizer.control[name])
        weights.append(weight)

    files = [SourceFile(str(file["path"]), str(file["text"])) for file in row.get("files", [])]
    form = form_of(row)
    if form == "text":
        add("".join(prompt_form.file_block(file) + "\n" for file in files), 0.0)
        add(row["text"], 1.0)
        piece("<eos>", 1.0)
    elif form == "middle":
        for file in files:
            add(prompt_form.file_block(file) + "\n", 0.0)
        for name in ("prefix", "suffix"):
            piece(f"<|fim_{name}|>", 0.0)
            add(row[name], 0.0)
        piece("<|fim_middle|>", 0.0)
        add(row["middle"], 1.0)
        piece("<eos>", 1.0)
    else:
        for index, (role, content) in enumerate(turns_of(row)):
            text = content.strip()
            if role == "user" and files:
                text = prompt_form.first_turn(files, text) if index == 0 else prompt_form.later_turn(text)
            piece("<start_of_turn>", 0.0)
            add(f"{role}\n", 0.0)
            add(text, 1.0 if role == "model" else 0.0)
            piece("<end_of_turn>", 1.0 if role == "model" else 0.0)
            add("\n", 0.0)
    return Row(ids, weights)


def fitted(row: Row, length: int) -> Iterator[Row]:
    """The row, cut into parts of `length`; parts in which nothing is learnt are left out."""
    for begin in range(0, len(row.ids), length):
        part = Row(row.ids[begin:begin + length], row.weights[begin:begin + length])
        if sum(part.weights[1:]) > 0:
            yield part


def split(rows: list[dict[str, Any]], share: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(training, held out): at least one of each where there are two."""
    order = list(rows)
    random.Random(seed).shuffle(order)
    held = min(max(round(len(order) * share), 1 if share > 0 else 0), len(order) - 1)
    return order[held:], order[:held]


def pack(rows: list[Row], length: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Rows of one epoch, each tokens, weights and segments (0 = padding) of [length], in an order that depends on the seed alone."""
    order = list(rows)
    random.Random(seed).shuffle(order)
    packed: list[dict[str, np.ndarray]] = []
    room: list[int] = []
    for row in order:
        size = len(row.ids)
        # The last few rows only: a search of all would be quadratic in the number of examples.
        at = next((i for i in range(max(0, len(packed) - 16), len(packed)) if room[i] >= size), None)
        if at is None:
            packed.append({"tokens": np.zeros(length, np.int32), "weights": np.zeros(length, np.float32), "segments": np.zeros(length, np.int32)})
            room.append(length)
            at = len(packed) - 1
        place = slice(length - room[at], length - room[at] + size)
        packed[at]["tokens"][place], packed[at]["weights"][place] = row.ids, row.weights
        packed[at]["weights"][place.start] = 0.0
        packed[at]["segments"][place] = packed[at]["segments"].max() + 1
        room[at] -= size
    return packed


class Batches:
    """Endless batches; number `step` depends on the rows, the seed and the step alone, so a resumed run sees the same."""

    def __init__(self, rows: list[Row], length: int, size: int, seed: int) -> None:
        self.rows, self.length, self.size, self.seed = rows, length, size, seed
        self._epoch = -1
        self._packed: list[dict[str, np.ndarray]] = []
        self.per_epoch = max(1, len(pack(rows, length, seed)) // size)

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._packed = pack(self.rows, self.length, self.seed + epoch)
            self._epoch = epoch
        chosen = [self._packed[(index * self.size + i) % len(self._packed)] for i in range(self.size)]
        return {key: np.stack([row[key] for row in chosen]) for key in chosen[0]}
