"""Turn source files into training examples: plain text, fill-in-the-middle, small talk (pipeline/repository.py: chat about code).

Every example is a list of (text, weight) spans in the prompt form; control pieces are written by name.
Weights: 1 for what the model must say, less for code that it also learns to read.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline import prompt_form
from pipeline.prompt_form import SourceFile
from pipeline.symbols import Outline, outline

CONTEXT_WEIGHT = 0.35
PROMPT_WEIGHT = 0.1
PLAIN_WEIGHT = 0.4
Span = tuple[str, float]

DO_NOT_KNOW = "I do not know. I can only answer simple questions about your code."
OUT_OF_SCOPE = [
    "Write a poem.", "What is the weather?", "Who won the match?", "Tell me a story.", "What is the capital of France?", "Write an essay about history.",
    "Who is the president?", "What time is it?", "Tell me a joke.", "How do I cook rice?", "Translate this to German.", "What is 17 times 23?",
    "Recommend a film.", "What should I eat today?", "How tall is the highest mountain?", "Sing a song.", "What is the meaning of life?", "Who wrote Hamlet?",
    "Is it going to rain tomorrow?", "Give me the news.", "How far is the moon?", "Which car should I buy?", "Plan my holiday.", "Do you love me?",
]
SMALL_TALK = [
    (["Hello", "Hi", "Hi there", "hey", "Hello!", "Good morning"], "Hello! Ask me about your code."),
    (["What can you do?", "Help", "help me", "How can you help?"], "I can find definitions, parameters and imports in your code, and complete code. I am a very small model."),
    (["Who are you?", "What are you?", "What model is this?", "Are you Gemma?"], "I am the small built-in model of Gemma Sidecar. For better answers, choose a full Gemma 3 model."),
    (["Thanks", "Thank you", "thanks!", "Great, thank you."], "You are welcome."),
    (OUT_OF_SCOPE, DO_NOT_KNOW),
]


@dataclass
class Document:
    """A file of the corpus with its language."""

    package: str
    path: str
    language: str
    text: str

    @cached_property
    def outline(self) -> Outline:
        return outline(self.language, self.text)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")


def excerpt(document: Document, characters: int, rng: random.Random) -> SourceFile:
    """The file, or whole lines of it of about `characters`, from the top or from a later unindented line."""
    lines = document.text.rstrip("\n").split("\n")
    start = 0
    if len(document.text) > characters and rng.random() < 0.65:
        starts = [i for i, line in enumerate(lines) if i and line[:1].strip() and not lines[i - 1].strip()]
        start = rng.choice(starts) if starts else 0
    end, used = start, 0
    while end < len(lines) and used < characters:
        used += len(lines[end]) + 1
        end += 1
    return SourceFile(document.path, "\n".join(lines[start:end]) + "\n", start + 1)


def small_talk(rng: random.Random) -> list[Span]:
    asked, answer = rng.choice(SMALL_TALK)
    return [("<bos>" + prompt_form.user_turn(rng.choice(asked)), PROMPT_WEIGHT), (f"{answer}<end_of_turn>", 1.0)]


def plain(document: Document, characters: int, rng: random.Random) -> list[Span]:
    return [("<bos>" + excerpt(document, characters, rng).text, PLAIN_WEIGHT)]


def rest_of_line(line: str, indent: int, rng: random.Random) -> int:
    """A place to cut a line: mostly between words and signs, where people pause, sometimes within a word."""
    places = [m.start() for m in re.finditer(r"\b|(?<=\W)(?=\W)", line) if indent < m.start() < len(line)]
    return rng.choice(places) if places and rng.random() < 0.8 else rng.randint(indent, len(line) - 1)


def fill_in_middle(document: Document, neighbours: Sequence[Document], characters: int, rng: random.Random, one_line: bool = False) -> list[Span] | None:
    """The rest of a line, a whole line or (unless `one_line`) a few lines cut out of a file, sometimes with another file as context."""
    text = excerpt(document, characters, rng).text
    lines = text.split("\n")
    candidates = [i for i, line in enumerate(lines) if len(line.strip()) > 3]
    if len(candidates) < 4:
        return None
    index = rng.choice(candidates)
    offset = sum(len(line) + 1 for line in lines[:index])
    line = lines[index]
    indent = len(line) - len(line.lstrip())
    form = rng.random() * (0.8 if one_line else 1.0)
    begin, end = offset + indent, offset + len(line)
    if form < 0.6:
        begin = offset + rest_of_line(line, indent, rng)
    elif form >= 0.8:
        last = min(len(lines) - 1, index + rng.randint(1, 4))
        end = sum(len(row) + 1 for row in lines[:last]) + len(lines[last])
    context = ""
    if neighbours and rng.random() < 0.3:
        other = excerpt(rng.choice(neighbours), characters // 2, rng)
        context = prompt_form.file_block(other) + "\n"
    return [(f"<bos>{context}", CONTEXT_WEIGHT), ("<|fim_prefix|>", 0.0), (text[:begin], CONTEXT_WEIGHT), ("<|fim_suffix|>", 0.0), (text[end:], CONTEXT_WEIGHT),
            ("<|fim_middle|>", 0.0), (text[begin:end] + "<eos>", 1.0)]
