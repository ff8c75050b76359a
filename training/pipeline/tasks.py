"""Turn source files into training examples: plain text, fill-in-the-middle, and chat about a repository.

Every example is a list of (text, weight) spans in the prompt form; control pieces are written by name.
Weights: 1 for what the model must say, less for code that it also learns to read.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import prompt_form
from pipeline.prompt_form import SourceFile
from pipeline.symbols import FUNCTION, Outline, Symbol, first_sentence, outline

CONTEXT_WEIGHT = 0.35
PROMPT_WEIGHT = 0.0
PLAIN_WEIGHT = 0.4
Span = tuple[str, float]

WHERE = ["Where is `{0}` defined?"] * 5 + ["Where is {0} defined?"] * 2 + [
    "where is {0} defined", "Which file defines `{0}`?", "Where can I find `{0}`?", "Where is the definition of `{0}`?", "In which file is `{0}`?", "Find `{0}`."]
TAKES = ["What does `{0}` take?"] * 4 + ["What does {0} take?", "What parameters does `{0}` take?", "What are the parameters of `{0}`?",
                                         "What arguments does `{0}` take?", "How do I call `{0}`?"]
RETURNS = ["What does `{0}` return?"] * 3 + ["What does {0} return?", "What is the return type of `{0}`?"]
DOES = ["What does `{0}` do?"] * 4 + ["What does {0} do?", "What is `{0}`?", "Explain `{0}`.", "What is `{0}` for?"]
IMPORTS = ["Which files import `{0}`?"] * 3 + ["Which files import {0}?", "Who imports `{0}`?", "Where is `{0}` imported?", "Which files use `{0}`?"]
LISTS = ["List the functions in {0}."] * 3 + ["Which functions are in {0}?", "What functions does {0} define?"]
CONTENTS = ["What is in {0}?"] * 2 + ["What does {0} define?", "What does {0} contain?"]
ABOUT = ["What is this repository about?", "What does this repository do?", "What does this project do?", "What is this project?"]
SMALL_TALK = [
    (["Hello", "Hi", "Hi there", "hey", "Hello!", "Good morning"], "Hello! Ask me about your code."),
    (["What can you do?", "Help", "help me", "How can you help?"], "I can find definitions, parameters and imports in your code, and complete code. I am a very small model."),
    (["Who are you?", "What are you?", "What model is this?", "Are you Gemma?"], "I am the small built-in model of Gemma Sidecar. For better answers, choose a full Gemma 3 model."),
    (["Thanks", "Thank you", "thanks!", "Great, thank you."], "You are welcome."),
    (["Write a poem.", "What is the weather?", "Who won the match?", "Tell me a story.", "What is the capital of France?", "Write an essay about history."],
     "I do not know. I can only answer simple questions about your code."),
]


@dataclass
class Document:
    """A file of the corpus with its language."""

    package: str
    path: str
    language: str
    text: str


@dataclass
class Shown:
    """A file as the prompt shows it, with its outline and the lines that carry a number."""

    file: SourceFile
    outline: Outline
    numbers: set[int]


def cite(path: str, line: int) -> str:
    return f"{path}:{line}"


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


def shown(document: Document, file: SourceFile) -> Shown:
    numbers = {number for _, number in prompt_form.numbered_lines(file.text, file.first_line) if number is not None}
    return Shown(file, outline(document.language, file.text, file.first_line), numbers)


def joined(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def questions(files: Sequence[Shown], others: Sequence[str], readme: SourceFile | None, rng: random.Random) -> dict[str, list[tuple[str, str]]]:
    """All (question, answer) pairs, by kind, whose answer stands in the shown files and can be cited."""
    definitions = Counter(symbol.name for file in files for symbol in file.outline.symbols)
    pairs: dict[str, list[tuple[str, str]]] = {kind: [] for kind in ("where", "takes", "returns", "does", "imports", "list", "contents", "unknown", "about")}

    def unique(file: Shown) -> list[Symbol]:
        return [s for s in file.outline.symbols if definitions[s.name] == 1 and s.line in file.numbers]

    modules: dict[str, list[str]] = {}
    for file in files:
        for symbol in unique(file):
            at = cite(file.file.path, symbol.line)
            pairs["where"].append((rng.choice(WHERE).format(symbol.name), f"`{symbol.name}` is defined in {at}."))
            if symbol.kind == FUNCTION and symbol.parameters is not None and len(symbol.parameters) < 120:
                takes = f"takes `({symbol.parameters})`" if symbol.parameters else "takes no parameters"
                pairs["takes"].append((rng.choice(TAKES).format(symbol.name), f"`{symbol.name}` {takes} ({at})."))
            if symbol.returns and len(symbol.returns) < 80:
                pairs["returns"].append((rng.choice(RETURNS).format(symbol.name), f"`{symbol.name}` returns `{symbol.returns}` ({at})."))
            if symbol.description:
                pairs["does"].append((rng.choice(DOES).format(symbol.name), f"{symbol.description} ({at})"))
        for module, line in file.outline.imports.items():
            if line in file.numbers:
                modules.setdefault(module, []).append(cite(file.file.path, line))
        names = [(s.name, s.line) for s in file.outline.symbols if s.kind == FUNCTION and s.line in file.numbers]
        if 1 <= len(names) <= 6:
            answer = "\n".join(f"- `{name}` ({cite(file.file.path, line)})" for name, line in names)
            pairs["list"].append((rng.choice(LISTS).format(file.file.path), answer))
        every = [s.name for s in file.outline.symbols if s.line in file.numbers]
        if 1 <= len(every) <= 6:
            pairs["contents"].append((rng.choice(CONTENTS).format(file.file.path), f"{file.file.path} defines {joined([f'`{name}`' for name in every])}."))
    for module, places in modules.items():
        if len(places) <= 4:
            pairs["imports"].append((rng.choice(IMPORTS).format(module), f"`{module}` is imported in {joined(places)}."))
    text = "\n".join(file.file.text for file in files)
    for name in others:
        if name not in text:
            kind = rng.choice((WHERE, WHERE, TAKES, DOES))
            pairs["unknown"].append((rng.choice(kind).format(name), f"I cannot find `{name}` in this repository."))
    if readme:
        for line, number in prompt_form.numbered_lines(readme.text, readme.first_line):
            sentence = first_sentence(line) if number and re.match(r"[A-Z`]", line) else None
            if sentence:
                pairs["about"].append((rng.choice(ABOUT), f"{sentence} ({cite(readme.path, number)})"))
                break
    return pairs


KIND_WEIGHTS = {"where": 10, "takes": 4, "returns": 2, "does": 3, "imports": 3, "list": 2, "contents": 1.5, "unknown": 1.5, "about": 1}


def shortened(paths: Sequence[str], rng: random.Random) -> list[str]:
    """The paths as another repository may lay them out: fewer leading folders, or all under one folder."""
    if rng.random() < 0.6:
        kept = rng.randint(1, 3)
        short = ["/".join(path.split("/")[-kept:]) for path in paths]
        if len(set(short)) == len(paths):
            folder = rng.choice(("", "", "", "src/", "lib/", "app/", "server/", "packages/core/", "scripts/", "sidecar/", "extension/"))
            return [folder + path for path in short]
    return list(paths)


def repository(documents: Sequence[Document], characters: int, rng: random.Random) -> tuple[list[Shown], SourceFile | None]:
    """Files of one package, shuffled, that together hold about `characters` of text."""
    count = min(len(documents), rng.choice((1, 2, 2, 3, 3, 4, 5, 6)), 1 + characters // 100)
    anchor = rng.randrange(len(documents))
    near = documents[max(0, anchor - 8):anchor + 9]
    chosen = rng.sample(near, min(count, len(near)))
    introduction = next((d for d in documents if d.path.lower() == "readme.md"), None)
    if introduction and introduction not in chosen and rng.random() < 0.12:
        chosen[-1] = introduction
    paths = shortened([d.path for d in chosen], rng)
    files = []
    for document, path in zip(chosen, paths, strict=True):
        part = excerpt(document, max(60, int(characters / len(chosen) * rng.uniform(0.6, 1.4))), rng)
        files.append(shown(document, part._replace(path=path)))
    readme = next((f.file for f in files if f.file.path.lower().endswith("readme.md")), None)
    return files, readme


def chat(documents: Sequence[Document], other_names: Sequence[str], characters: int, turns: int, rng: random.Random) -> list[Span] | None:
    """One conversation about a repository; None if nothing can be asked about the drawn files."""
    files, readme = repository(documents, characters, rng)
    pairs = questions(files, rng.sample(other_names, min(2, len(other_names))), readme, rng)
    if not pairs["where"] and rng.random() < 0.7:
        return None
    asked: list[tuple[str, str]] = []
    used: set[str] = set()
    weights = dict(KIND_WEIGHTS)
    for _ in range(turns * 3):
        kinds = [kind for kind, items in pairs.items() if items]
        if not kinds or len(asked) == turns:
            break
        kind = rng.choices(kinds, [weights[k] for k in kinds])[0]
        weights[kind] *= 0.75 if kind == "where" else 0.4
        pair = rng.choice(pairs[kind])
        if pair[0] not in used and not (kind == "unknown" and len(kinds) == 1):
            used.add(pair[0])
            asked.append(pair)
    if not asked:
        return None
    blocks = "\n".join(prompt_form.file_block(f.file) for f in files)
    spans: list[Span] = [(f"<bos><start_of_turn>user\n{prompt_form.RULES}\n\n", PROMPT_WEIGHT), (blocks.rstrip("\n"), CONTEXT_WEIGHT)]
    for index, (question, answer) in enumerate(asked):
        spans.append(("\n<start_of_turn>user\n" if index else "\n\n", PROMPT_WEIGHT))
        spans.append((f"Question: {question}<end_of_turn>\n<start_of_turn>model\n", PROMPT_WEIGHT))
        spans.append((f"{answer}<end_of_turn>", 1.0))
    return spans


def small_talk(rng: random.Random) -> list[Span]:
    asked, answer = rng.choice(SMALL_TALK)
    return [("<bos>" + prompt_form.user_turn(rng.choice(asked)), PROMPT_WEIGHT), (f"{answer}<end_of_turn>", 1.0)]


def plain(document: Document, characters: int, rng: random.Random) -> list[Span]:
    return [("<bos>" + excerpt(document, characters, rng).text, PLAIN_WEIGHT)]


def fill_in_middle(document: Document, neighbours: Sequence[Document], characters: int, rng: random.Random) -> list[Span] | None:
    """The rest of a line, a whole line or a few lines cut out of a file, sometimes with another file as context."""
    text = excerpt(document, characters, rng).text
    lines = text.split("\n")
    candidates = [i for i, line in enumerate(lines) if len(line.strip()) > 3]
    if len(candidates) < 4:
        return None
    index = rng.choice(candidates)
    offset = sum(len(line) + 1 for line in lines[:index])
    line = lines[index]
    indent = len(line) - len(line.lstrip())
    form = rng.random()
    if form < 0.55:
        begin, end = offset + rng.randint(indent, len(line) - 1), offset + len(line)
    elif form < 0.75:
        begin, end = offset + indent, offset + len(line)
    else:
        last = min(len(lines) - 1, index + rng.randint(1, 4))
        begin, end = offset + indent, sum(len(row) + 1 for row in lines[:last]) + len(lines[last])
    context = ""
    if neighbours and rng.random() < 0.3:
        other = excerpt(rng.choice(neighbours), characters // 2, rng)
        context = prompt_form.file_block(other) + "\n"
    return [(f"<bos>{context}", CONTEXT_WEIGHT), ("<|fim_prefix|>", 0.0), (text[:begin], CONTEXT_WEIGHT), ("<|fim_suffix|>", 0.0), (text[end:], CONTEXT_WEIGHT),
            ("<|fim_middle|>", 0.0), (text[begin:end] + "<eos>", 1.0)]
