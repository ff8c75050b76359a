"""Chat about a repository: questions about the files of one package, with the facts that the product's index puts before them.

Answers follow from the lines of the index block next to the question, or, in a part of the conversations, from the files alone.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline import prompt_form
from pipeline.index_block import MOST_LINES_OF_FILE, MOST_LINES_OF_KEY, NOWHERE, IndexFact
from pipeline.prompt_form import SourceFile
from pipeline.symbols import FUNCTION, Outline, Symbol, first_sentence, is_exported, outline
from pipeline.tasks import CONTEXT_WEIGHT, PROMPT_WEIGHT, SMALL_TALK, Document, Span, excerpt

WITHOUT_INDEX = 0.12  # share of conversations whose answers stand in the files only
SECOND_NAME = 0.15  # share of questions in which another word happens to be a symbol of the repository

WHERE = ["Where is `{0}` defined?"] * 5 + ["Where is {0} defined?"] * 2 + [
    "where is {0} defined", "Which file defines `{0}`?", "Where can I find `{0}`?", "Where is the definition of `{0}`?", "In which file is `{0}`?", "Find `{0}`.",
    "Where is {0}?", "Where is the function `{0}`?", "Where does `{0}` live?", "Show me where `{0}` is defined.", "On which line is `{0}` defined?"]
TAKES = ["What does `{0}` take?"] * 4 + ["What does {0} take?", "What parameters does `{0}` take?", "What are the parameters of `{0}`?",
                                         "What arguments does `{0}` take?", "How do I call `{0}`?", "How is {0} called?"]
RETURNS = ["What does `{0}` return?"] * 3 + ["What does {0} return?", "What is the return type of `{0}`?", "What type does `{0}` return?"]
DOES = ["What does `{0}` do?"] * 4 + ["What does {0} do?", "What is `{0}`?", "Explain `{0}`.", "What is `{0}` for?", "What does the function `{0}` do?"]
IMPORTS = ["Which files import `{0}`?"] * 3 + ["Which files import {0}?", "Who imports `{0}`?", "Where is `{0}` imported?", "Which files use `{0}`?", "Who uses {0}?"]
LISTS = ["List the functions in {0}."] * 3 + ["Which functions are in {0}?", "What functions does {0} define?", "List the functions of `{0}`."]
EXPORTS = ["List the exports of {0}."] * 2 + ["What does {0} export?", "Which names does `{0}` export?"]
CONTENTS = ["What is in {0}?"] * 2 + ["What does {0} define?", "What does {0} contain?", "What is in `{0}`?"]
ABOUT = ["What is this repository about?", "What does this repository do?", "What does this project do?", "What is this project?"]
KIND_WEIGHTS = {"where": 10, "takes": 5, "returns": 3, "does": 5, "imports": 5, "list": 2, "exports": 2, "contents": 2, "unknown": 3, "about": 1, "talk": 0.7}


@dataclass(frozen=True)
class Asked:
    """A question of one kind with its answer and the facts that stand before it."""

    kind: str
    question: str
    answer: str
    facts: tuple[IndexFact, ...] = ()


@dataclass(frozen=True)
class Indexed:
    """A file as the index has it: its path in this repository, and the whole file's outline."""

    path: str
    document: Document

    @property
    def outline(self) -> Outline:
        return self.document.outline


@dataclass
class Shown:
    """A file as the prompt shows it, with its outline and the lines that carry a number."""

    file: SourceFile
    outline: Outline
    numbers: set[int]


def cite(path: str, line: int) -> str:
    return f"{path}:{line}"


def joined(items: Sequence[str], more: int = 0) -> str:
    if more:
        return ", ".join(items) + f" and {more} more"
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def cannot_find(name: str) -> str:
    return f"I cannot find `{name}` in this repository."


def takes(symbol: Symbol, at: str) -> str:
    return f"`{symbol.name}` " + (f"takes `({symbol.parameters})`" if symbol.parameters else "takes no parameters") + f" ({at})."


# Facts of the index, as sidecar/context finds them


def facts_of_name(index: Sequence[Indexed], name: str) -> list[IndexFact]:
    """Definitions of a name, what their comments say, and the import lines that name it."""
    word = re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")
    facts = []
    for file in index:
        for symbol in file.outline.symbols:
            if symbol.name == name:
                facts.append(IndexFact(name, "defined", file.path, symbol.line, symbol.text))
                if symbol.description:
                    facts.append(IndexFact(name, "says", file.path, symbol.line, symbol.description))
        for line in sorted(set(file.outline.imports.values())):
            text = file.document.lines[line - 1].strip()
            if word.search(text):
                facts.append(IndexFact(name, "imported", file.path, line, text))
    return facts


def facts_of_module(index: Sequence[Indexed], module: str) -> list[IndexFact]:
    return [IndexFact(module, "imported", file.path, file.outline.imports[module], file.document.lines[file.outline.imports[module] - 1].strip())
            for file in index if module in file.outline.imports]


def facts_of_file(file: Indexed, key: str) -> list[IndexFact]:
    return [IndexFact(key, "holds", file.path, s.line, s.text) for s in file.outline.symbols if s.top_level]


def places(facts: Sequence[IndexFact], kind: str) -> list[IndexFact]:
    return sorted((fact for fact in facts if fact.kind == kind), key=lambda fact: (fact.path, fact.line))


# Questions answered by those facts


def ask_name(index: Sequence[Indexed], file: Indexed, symbol: Symbol, kind: str, rng: random.Random) -> Asked | None:
    """A question about a symbol; where a name is defined more than once, all but "where" are about the first place of the block."""
    facts = facts_of_name(index, symbol.name)
    defined, says, imported = (places(facts, k) for k in ("defined", "says", "imported"))
    if not defined or len(defined) > 5:
        return None
    first = next(s for f in index if f.path == defined[0].path for s in f.outline.symbols if s.name == symbol.name)
    at = cite(defined[0].path, defined[0].line)
    if kind == "where":
        answer = f"`{symbol.name}` is defined in {joined([cite(f.path, f.line) for f in defined])}."
        return Asked(kind, rng.choice(WHERE).format(symbol.name), answer, tuple(facts))
    if kind == "takes":
        if first.kind != FUNCTION or first.parameters is None or len(first.text) > 150:
            return None
        return Asked(kind, rng.choice(TAKES).format(symbol.name), takes(first, at), tuple(facts))
    if kind == "returns":
        if first.kind != FUNCTION or len(first.text) > 150 or (first.returns is None and rng.random() < 0.85):
            return None
        answer = f"`{symbol.name}` " + (f"returns `{first.returns}`" if first.returns else "names no return type") + f" ({at})."
        return Asked(kind, rng.choice(RETURNS).format(symbol.name), answer, tuple(facts))
    if kind == "does":
        if says:
            return Asked(kind, rng.choice(DOES).format(symbol.name), f"{says[0].text} ({cite(says[0].path, says[0].line)})", tuple(facts))
        if rng.random() < 0.8:
            return None
        return Asked(kind, rng.choice(DOES).format(symbol.name), f"`{symbol.name}` is defined in {at}. I found no description of it.", tuple(facts))
    if not imported and rng.random() < 0.6:
        return None
    return ask_imports(symbol.name, facts, imported, rng)


def ask_imports(key: str, facts: Sequence[IndexFact], imported: Sequence[IndexFact], rng: random.Random) -> Asked | None:
    """Who imports a name or module; the answer lists what the block shows."""
    others = sum(fact.kind in ("defined", "says") for fact in facts)
    room = MOST_LINES_OF_KEY - others
    if room < 1:
        return None
    shown, more = imported[:room], max(0, len(imported) - room)
    answer = f"`{key}` is imported in {joined([cite(f.path, f.line) for f in shown], more)}." if shown else f"I found no import of `{key}`."
    return Asked("imports", rng.choice(IMPORTS).format(key), answer, tuple(facts))


def ask_module(index: Sequence[Indexed], rng: random.Random) -> Asked | None:
    modules = sorted({module for file in index for module in file.outline.imports})
    if not modules:
        return None
    module = rng.choice(modules)
    facts = facts_of_module(index, module)
    return ask_imports(module, facts, places(facts, "imported"), rng)


def ask_file(index: Sequence[Indexed], file: Indexed, kind: str, rng: random.Random) -> Asked | None:
    """What a file holds: its functions, its exports, or all names; asked by its path or by a unique ending of it."""
    key = file.path
    if "/" in key and rng.random() < 0.25:
        ending = key.rpartition("/")[2]
        key = ending if sum(f.path.endswith("/" + ending) or f.path == ending for f in index) == 1 else key
    facts = facts_of_file(file, key)
    held = [s for s in file.outline.symbols if s.top_level]
    if not 1 <= len(held) <= MOST_LINES_OF_FILE:
        return None
    if kind == "contents":
        answer = f"{file.path} defines {joined([f'`{s.name}`' for s in held])}."
        return Asked(kind, rng.choice(CONTENTS).format(key), answer, tuple(facts)) if len(held) <= 12 else None
    chosen = [s for s in held if (s.kind == FUNCTION if kind == "list" else is_exported(file.document.language, s))]
    if len(chosen) > 10 or (not chosen and rng.random() < 0.8):
        return None
    nothing = f"{file.path} defines no functions." if kind == "list" else f"{file.path} exports nothing."
    answer = "\n".join(f"- `{s.name}` ({cite(file.path, s.line)})" for s in chosen) or nothing
    return Asked(kind, rng.choice(LISTS if kind == "list" else EXPORTS).format(key), answer, tuple(facts))


def ask_unknown(index: Sequence[Indexed], names: Sequence[str], rng: random.Random) -> Asked | None:
    """About a name, module or file that this repository does not have."""
    name = rng.choice(names)
    known = any(name == s.name for file in index for s in file.outline.symbols) or any(name in file.outline.imports for file in index)
    if known:
        return None
    form = rng.choice((WHERE, WHERE, TAKES, RETURNS, DOES, IMPORTS))
    if rng.random() < 0.12:
        name, form = f"{name.lower()}{rng.choice(('.ts', '.py', '.go', '.rs', '.js', '.md'))}", rng.choice((LISTS, CONTENTS, EXPORTS))
    question = rng.choice(form).format(name)
    plain = "`" not in question and re.fullmatch(r"[A-Za-z]?[a-z]+", name) is not None
    return Asked("unknown", question, cannot_find(name), () if plain else (IndexFact(name, NOWHERE),))


def with_second_name(asked: Asked, index: Sequence[Indexed], rng: random.Random) -> Asked:
    """The same question where another of its words happens to be a name of the repository: more lines that do not matter."""
    file = rng.choice(index)
    if not file.outline.symbols or not asked.facts:
        return asked
    name = rng.choice(file.outline.symbols).name
    if name == asked.facts[0].key:
        return asked
    extra = tuple(facts_of_name(index, name)[:4])
    facts = extra + asked.facts if rng.random() < 0.5 else asked.facts + extra
    return Asked(asked.kind, asked.question, asked.answer, facts)


def ask_index(index: Sequence[Indexed], names: Sequence[str], kind: str, rng: random.Random) -> Asked | None:
    """One question of `kind` about the indexed files; None where the drawn file allows none."""
    file = rng.choice(index)
    if kind == "unknown":
        return ask_unknown(index, names, rng)
    if kind == "imports" and rng.random() < 0.6:
        return ask_module(index, rng)
    if kind in ("list", "exports", "contents"):
        return ask_file(index, file, kind, rng)
    symbols = file.outline.symbols
    if kind in ("takes", "returns"):
        symbols = [s for s in symbols if s.kind == FUNCTION]
    elif kind == "does":
        symbols = [s for s in symbols if s.description] or symbols
    return ask_name(index, file, rng.choice(symbols), kind, rng) if symbols else None


# Questions answered by the shown files alone


def ask_files(files: Sequence[Shown], names: Sequence[str], kind: str, rng: random.Random) -> Asked | None:
    """One question of `kind` whose answer stands in the shown files on lines that carry a number."""
    if kind == "unknown":
        name = rng.choice(names)
        if any(name in file.file.text for file in files):
            return None
        return Asked(kind, rng.choice(WHERE + DOES).format(name), cannot_find(name))
    file = rng.choice(files)
    symbols = [s for s in file.outline.symbols if s.line in file.numbers and sum(s.name == o.name for f in files for o in f.outline.symbols) == 1]
    if not symbols:
        return None
    symbol = rng.choice(symbols)
    at = cite(file.file.path, symbol.line)
    if kind == "where":
        return Asked(kind, rng.choice(WHERE).format(symbol.name), f"`{symbol.name}` is defined in {at}.")
    if kind == "takes" and symbol.kind == FUNCTION and symbol.parameters is not None and len(symbol.text) <= 150:
        return Asked(kind, rng.choice(TAKES).format(symbol.name), takes(symbol, at))
    if kind == "does" and symbol.description:
        return Asked(kind, rng.choice(DOES).format(symbol.name), f"{symbol.description} ({at})")
    return None


def ask_about(readme: SourceFile | None, rng: random.Random) -> Asked | None:
    """What the project is, from the first sentence of its introduction."""
    for line, number in prompt_form.numbered_lines(readme.text, readme.first_line) if readme else ():
        sentence = first_sentence(line) if number and re.match(r"[A-Z`]", line) else None
        if sentence and readme:
            return Asked("about", rng.choice(ABOUT), f"{sentence} ({cite(readme.path, number or 1)})")
    return None


def ask_talk(rng: random.Random) -> Asked:
    asked, answer = rng.choice(SMALL_TALK)
    return Asked("talk", rng.choice(asked), answer)


# Whole conversations


def shortened(paths: Sequence[str], rng: random.Random) -> list[str]:
    """The paths as another repository may lay them out: fewer leading folders, or all under one folder."""
    if rng.random() < 0.6:
        kept = rng.randint(1, 3)
        short = ["/".join(path.split("/")[-kept:]) for path in paths]
        if len(set(short)) == len(paths):
            folder = rng.choice(("", "", "", "src/", "lib/", "app/", "server/", "packages/core/", "scripts/", "sidecar/", "extension/"))
            return [folder + path for path in short]
    return list(paths)


@dataclass
class Repository:
    """Some files of a package: those that the prompt shows, and all that the index knows."""

    shown: list[Shown]
    index: list[Indexed]
    readme: SourceFile | None


def repository(documents: Sequence[Document], characters: int, rng: random.Random) -> Repository:
    """Files of one package, shuffled, of which the prompt shows about `characters`; the index holds some more."""
    count = min(len(documents), rng.choice((1, 2, 2, 3, 3, 4, 5, 6)), 1 + characters // 100)
    anchor = rng.randrange(len(documents))
    near = documents[max(0, anchor - 12):anchor + 13]
    chosen = rng.sample(near, min(count + rng.choice((0, 1, 3, 6, 12)), len(near)))
    introduction = next((d for d in documents if d.path.lower() == "readme.md"), None)
    if introduction and introduction not in chosen and rng.random() < 0.12:
        chosen[min(count, len(chosen)) - 1] = introduction
    index = [Indexed(path, document) for document, path in zip(chosen, shortened([d.path for d in chosen], rng), strict=True)]
    shown = []
    for file in index[:count]:
        part = excerpt(file.document, max(60, int(characters / count * rng.uniform(0.6, 1.4))), rng)._replace(path=file.path)
        numbers = {number for _, number in prompt_form.numbered_lines(part.text, part.first_line) if number is not None}
        shown.append(Shown(part, outline(file.document.language, part.text, part.first_line), numbers))
    readme = next((f.file for f in shown if f.file.path.lower().endswith("readme.md")), None)
    return Repository(shown, index, readme)


def asker(held: Repository, names: Sequence[str], use_index: bool, rng: random.Random) -> Callable[[str], Asked | None]:
    """A function that draws one question of a kind."""
    source = partial(ask_index, held.index) if use_index else partial(ask_files, held.shown)

    def ask(kind: str) -> Asked | None:
        if kind == "about":
            return ask_about(held.readme, rng)
        if kind == "talk":
            return ask_talk(rng)
        asked = source(names, kind, rng)
        return with_second_name(asked, held.index, rng) if asked and use_index and rng.random() < SECOND_NAME else asked

    return ask


def drawn(held: Repository, names: Sequence[str], turns: int, use_index: bool, rng: random.Random, kinds: Sequence[str] = tuple(KIND_WEIGHTS)) -> list[Asked]:
    """Up to `turns` different questions about one repository."""
    ask = asker(held, names, use_index, rng)
    result: dict[str, Asked] = {}
    for _ in range(turns * 4):
        if len(result) == turns:
            break
        asked = ask(rng.choices(kinds, [KIND_WEIGHTS[kind] for kind in kinds])[0])
        if asked:
            result.setdefault(asked.question, asked)
    return list(result.values())


def rendered(held: Repository, asked: Sequence[Asked]) -> list[Span]:
    """The conversation in the product's form, as spans."""
    blocks = "\n".join(prompt_form.file_block(f.file) for f in held.shown)
    spans: list[Span] = [(f"<bos><start_of_turn>user\n{prompt_form.RULES}\n\n", PROMPT_WEIGHT), (blocks.rstrip("\n"), CONTEXT_WEIGHT)]
    for index, turn in enumerate(asked):
        spans.append(("\n<start_of_turn>user\n" if index else "\n\n", PROMPT_WEIGHT))
        spans.append((f"{prompt_form.question_part(turn.question, turn.facts)}<end_of_turn>\n<start_of_turn>model\n", PROMPT_WEIGHT))
        spans.append((f"{turn.answer}<end_of_turn>", 1.0))
    return spans


def chat(documents: Sequence[Document], names: Sequence[str], characters: int, turns: int, rng: random.Random) -> list[Span] | None:
    """One conversation about a repository; None if nothing was found to ask about the drawn files."""
    held = repository(documents, characters, rng)
    asked = drawn(held, names, turns, rng.random() >= WITHOUT_INDEX, rng)
    return rendered(held, asked) if asked else None
