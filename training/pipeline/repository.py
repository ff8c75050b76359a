"""Chat about a repository: questions about the files of one package, with the facts that the product's index puts before them.

Answers follow from the lines of the index block next to the question, or, in a part of the conversations, from the files alone.
"""

import posixpath
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from pipeline import prompt_form
from pipeline.index_block import MOST_LINES_OF_FILE, MOST_LINES_OF_KEY, NOWHERE, IndexFact
from pipeline.inventions import Inventor
from pipeline.prompt_form import SourceFile
from pipeline.question_facts import beside, question_keys
from pipeline.symbols import FUNCTION, Outline, Symbol, first_sentence, is_exported, outline, signature
from pipeline.tasks import DO_NOT_KNOW, PROMPT_WEIGHT, SMALL_TALK, Document, Span, excerpt

WITHOUT_INDEX = 0.02  # share of conversations whose answers stand in the files only
SECOND_NAME = 0.2  # share of questions that may name something beside, or in which another word happens to be a symbol of the repository
INVENTED = 0.7  # share of conversations in a repository that is partly made up
READ_WEIGHT = 0.15  # of the code in a conversation
LONGEST_QUOTED = 150  # characters of a definition whose parameters are told
MOST_CONTENTS, MOST_LISTED = 8, 6  # names in one answer

WHERE = ["Where is `{0}` defined?"] * 5 + ["Where is {0} defined?"] * 2 + [
    "where is {0} defined", "Which file defines `{0}`?", "Where can I find `{0}`?", "Where is the definition of `{0}`?", "In which file is `{0}`?", "Find `{0}`.",
    "Where is {0}?", "Where is the function `{0}`?", "Where does `{0}` live?", "Show me where `{0}` is defined.", "On which line is `{0}` defined?", "find {0}",
    "Where is the class {0}?", "where is {0}", "Where is `{0}` declared?", "Where is `{0}` implemented?", "Which file has {0}?", "Where can I find {0}?"]
TAKES = ["What does `{0}` take?"] * 4 + ["What does {0} take?", "What parameters does `{0}` take?", "What are the parameters of `{0}`?",
                                         "What arguments does `{0}` take?", "How do I call `{0}`?", "How is {0} called?"]
RETURNS = ["What does `{0}` return?"] * 3 + ["What does {0} return?", "What is the return type of `{0}`?", "What type does `{0}` return?"]
DOES = ["What does `{0}` do?"] * 4 + ["What does {0} do?", "What is `{0}`?", "Explain `{0}`.", "What is `{0}` for?", "What does the function `{0}` do?", "What is {0}?",
                                       "explain {0}", "What is {0} for?", "Describe `{0}`.", "Why is there `{0}`?", "What is the purpose of {0}?"]
IMPORTS = ["Which files import `{0}`?"] * 3 + ["Which files import {0}?", "Who imports `{0}`?", "Where is `{0}` imported?", "Which files use `{0}`?", "Who uses {0}?", "who imports {0}",
                                               "Which files use {0}?", "Where is {0} used?", "What imports {0}?", "Where is `{0}` used?", "Who uses `{0}`?"]
LISTS = ["List the functions in {0}."] * 3 + ["Which functions are in {0}?", "What functions does {0} define?", "List the functions of `{0}`."]
EXPORTS = ["List the exports of {0}."] * 2 + ["What does {0} export?", "Which names does `{0}` export?"]
CONTENTS = ["What is in {0}?"] * 2 + ["What does {0} define?", "What does {0} contain?", "What is in `{0}`?"]
GENERAL = ["How does {0} work?", "How does the {0} work?", "Where is the {0} {1}?", "Where is {0} {1}?", "Tell me about {0}.", "How is {0} {1}?", "Why is {0} {1}?", "What happens in {0}?",
           "When is the {0} {1}?", "How are {0} {1}?", "Explain the {0}.", "What is the {0}?", "Explain how {0} works.", "Where does the {0} get {1}?", "Is {0} {1} anywhere?"]
DONE = "loaded created read written checked parsed used handled stored freed started stopped opened closed sent kept cleared sorted updated called drawn tested needed".split()
FORMS = {"where": WHERE, "takes": TAKES, "returns": RETURNS, "does": DOES, "imports": IMPORTS, "list": LISTS, "exports": EXPORTS, "contents": CONTENTS}
BESIDE = ["{0} I came from `{2}`.", "I am reading `{2}`. {0}", "{1}, not `{2}`?", "{0} (see `{2}`)", "Beside `{2}`: {0}"]
ABOUT = ["What is this repository about?", "What does this repository do?", "What does this project do?", "What is this project?"]
KIND_WEIGHTS = {"where": 10, "takes": 5, "returns": 3, "does": 5, "imports": 5, "list": 2, "exports": 2, "contents": 2, "unknown": 3, "general": 3, "about": 0.7, "talk": 0.4}


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
    language: str
    numbers: set[int]

    @cached_property
    def outline(self) -> Outline:
        return outline(self.language, self.file.text, self.file.first_line)


def cite(path: str, line: int) -> str:
    return f"{path}:{line}"


def joined(items: Sequence[str], more: int = 0) -> str:
    if more:
        return ", ".join(items) + f" and {more} more"
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def cannot_find(name: str) -> str:
    return f"I cannot find `{name}` in this repository."


# Answers say things in the order of the lines they copy from: first what is defined, then where, then the rest of the line.


def takes(name: str, parameters: str, at: str) -> str:
    return f"`{name}` is defined in {at} and takes " + (f"`({parameters})`." if parameters else "no parameters.")


def returns(name: str, kind: str | None, at: str) -> str:
    return f"`{name}` is defined in {at} and " + (f"returns `{kind}`." if kind else "names no return type.")


def too_long(name: str, at: str) -> str:
    return f"`{name}` is defined in {at} and is too long to quote."


def says(name: str, sentence: str, at: str) -> str:
    return f"`{name}` is defined in {at}. {sentence}"


def is_defined(name: str, defined: Sequence[IndexFact]) -> str:
    """Names the places that the block shows, and says how many it does not."""
    shown = defined[:MOST_LINES_OF_KEY]
    return f"`{name}` is defined in {joined([cite(f.path, f.line) for f in shown], len(defined) - len(shown))}."


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
            if name in text and word.search(text):
                facts.append(IndexFact(name, "imported", file.path, line, text))
    return facts


def facts_of_module(index: Sequence[Indexed], module: str) -> list[IndexFact]:
    return [IndexFact(module, "imported", file.path, file.outline.imports[module], file.document.lines[file.outline.imports[module] - 1].strip())
            for file in index if module in file.outline.imports]


def facts_of_file(index: Sequence[Indexed], file: Indexed, key: str) -> list[IndexFact]:
    """What the file holds at its top level, and the lines of other files that import it."""
    held = [IndexFact(key, "holds", file.path, s.line, s.text) for s in file.outline.symbols if s.top_level]
    return held + [IndexFact(key, "imported", other.path, line, other.document.lines[line - 1].strip()) for other in index
                   for module, line in other.outline.imports.items() if imports_file(other.document, module, file.document)]


def imports_file(importer: Document, module: str, target: Document) -> bool:
    """Whether an import of `module` means `target`, by the paths both have in their package."""
    path, folder = re.sub(r"(/(index|__init__))?\.\w+$", "", target.path), importer.path.rpartition("/")[0]
    if importer.language == "python":
        dots = len(module) - len(module.lstrip("."))
        base = "/".join(folder.split("/")[:len(folder.split("/")) - dots + 1]) + "/" if dots else ""
        return path == (base + module.lstrip(".").replace(".", "/")).strip("/")
    return module.startswith(".") and path == re.sub(r"(/index)?(\.[cm]?[jt]sx?)?$", "", posixpath.normpath(posixpath.join(folder, module)))


def places(facts: Sequence[IndexFact], kind: str) -> list[IndexFact]:
    return sorted((fact for fact in facts if fact.kind == kind), key=lambda fact: (fact.path, fact.line))


# Questions answered by those facts


def widened(facts: list[IndexFact], key: str, index: Sequence[Indexed], language: str, inventor: Inventor | None) -> list[IndexFact]:
    """The facts of a name with those of invented files: importers mostly, now and then more definitions."""
    if not inventor:
        return facts
    if inventor.rng.random() < 0.6:
        facts = facts + inventor.imports(key, key, language, inventor.count())
    if inventor.rng.random() < 0.15:
        facts = facts + inventor.definitions(key, definition_lines(index), language, inventor.count())
    return facts


def definition_lines(index: Sequence[Indexed]) -> list[tuple[str, str]]:
    return [(s.name, s.text) for file in index for s in file.outline.symbols[:40]]


def ask_name(index: Sequence[Indexed], file: Indexed, symbol: Symbol, kind: str, rng: random.Random, inventor: Inventor | None = None) -> Asked | None:
    """A question about a symbol; where a name is defined more than once, all but "where" are about the first place of the block."""
    name, language = symbol.name, file.document.language
    question = rng.choice(FORMS[kind]).format(name)
    facts = beside(question, widened(facts_of_name(index, name), name, index, language, inventor))
    if kind == "imports":
        return ask_imports(name, question, facts) if places(facts, "imported") or rng.random() < 0.4 else None
    defined = places(facts, "defined")
    if not defined:
        return None
    first = defined[0]
    at = cite(first.path, first.line)
    if kind == "where":
        return Asked(kind, question, is_defined(name, defined), facts)
    if kind == "does":
        return ask_what(kind, name, question, facts, 0.3, rng)
    if symbol.kind != FUNCTION or re.match(r"(?:export |abstract )*(?:class|interface|enum)\b", first.text):
        return None
    if len(first.text) > LONGEST_QUOTED:
        return Asked(kind, question, too_long(name, at), facts) if rng.random() < 0.4 else None
    parameters, result = signature(language, first.text, name)
    if parameters is None or (kind == "returns" and result is None and rng.random() < 0.85):
        return None
    return Asked(kind, question, takes(name, parameters, at) if kind == "takes" else returns(name, result, at), facts)


def ask_what(kind: str, name: str, question: str, facts: Sequence[IndexFact], undescribed: float, rng: random.Random) -> Asked | None:
    """Answered by the comment of the first definition that has one, else, in a share of the draws, by the places."""
    defined, said = places(facts, "defined"), places(facts, "says")
    if said and len(defined) < MOST_LINES_OF_KEY:
        return Asked(kind, question, says(name, said[0].text, cite(said[0].path, said[0].line)), tuple(facts))
    if not defined or said or rng.random() > undescribed:
        return None
    return Asked(kind, question, f"{is_defined(name, defined)} I found no description of it.", tuple(facts))


def ask_general(index: Sequence[Indexed], file: Indexed, names: Sequence[str], rng: random.Random, inventor: Inventor | None) -> Asked | None:
    """A question of no kind in particular: what the index knows of the word it names, or that the answer is not known."""
    form, done = rng.choice(GENERAL), rng.choice(DONE)
    if rng.random() < 0.4:
        word = rng.choice(names).lower()
        if not re.fullmatch(r"[a-z]{3,}", word) or any(s.name == word for f in index for s in f.outline.symbols):
            return None
        return Asked("general", form.format(word, done), DO_NOT_KNOW)
    if not file.outline.symbols:
        return None
    name = rng.choice(file.outline.symbols).name
    question = form.format(rng.choice(("{0}", "{0}", "`{0}`")).format(name), done)
    facts = beside(question, widened(facts_of_name(index, name), name, index, file.document.language, inventor))
    if not facts:
        return Asked("general", question, DO_NOT_KNOW) if rng.random() < 0.3 else None
    return ask_what("general", name, question, facts, 0.5, rng)


def ask_imports(key: str, question: str, facts: Sequence[IndexFact]) -> Asked | None:
    """Who imports a name or module; the answer lists what the block shows."""
    imported = places(facts, "imported")
    room = MOST_LINES_OF_KEY - sum(fact.kind in ("defined", "says") for fact in facts)
    if room < 1 or not facts:
        return None
    shown, more = imported[:room], max(0, len(imported) - room)
    answer = f"`{key}` is imported in {joined([cite(f.path, f.line) for f in shown], more)}." if shown else f"I found no import of `{key}`."
    return Asked("imports", question, answer, tuple(facts))


def ask_module(index: Sequence[Indexed], rng: random.Random) -> Asked | None:
    modules = sorted({module for file in index for module in file.outline.imports})
    if not modules:
        return None
    module = rng.choice(modules)
    question = rng.choice(IMPORTS).format(module)
    return ask_imports(module, question, beside(question, facts_of_module(index, module)))


def ask_file(index: Sequence[Indexed], file: Indexed, kind: str, rng: random.Random, inventor: Inventor | None = None) -> Asked | None:
    """What a file holds: its functions, its exports, or all names, or who imports it; asked by its path or by a unique ending of it."""
    key = file.path
    if "/" in key and rng.random() < 0.35:
        ending = key.rpartition("/")[2]
        key = ending if sum(f.path.endswith("/" + ending) or f.path == ending for f in index) == 1 else key
    facts = facts_of_file(index, file, key)
    if inventor and rng.random() < 0.7:
        facts += inventor.file_imports(key, file.path, file.document.language, inventor.count())
    question = rng.choice(FORMS[kind]).format(key)
    shown = beside(question, facts)
    if kind == "imports":
        return ask_imports(key, question, shown)
    every = [s for s in file.outline.symbols if s.top_level]
    held = every[:MOST_LINES_OF_FILE]
    if not held or not shown:
        return None
    if kind == "contents":
        more = " and more" if len(held) > MOST_CONTENTS else ""
        names = [f"`{s.name}`" for s in held[:MOST_CONTENTS]]
        return Asked(kind, question, f"{file.path} defines {', '.join(names) if more else joined(names)}{more}.", shown)
    chosen = [s for s in held if (s.kind == FUNCTION if kind == "list" else is_exported(file.document.language, s))]
    if not chosen and rng.random() < 0.8:
        return None
    nothing = f"{file.path} defines no functions." if kind == "list" else f"{file.path} exports nothing."
    listed = [f"- {cite(file.path, s.line)} `{s.name}`" for s in chosen]
    more = len(listed) > MOST_LISTED or len(every) > len(held)
    answer = "\n".join(listed[:MOST_LISTED] + ["- and more"] * more) if listed else nothing
    return Asked(kind, question, answer, shown)


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
    return Asked("unknown", question, cannot_find(name), (IndexFact(name, NOWHERE),) if question_keys(question).get(name) else ())


def with_second_name(asked: Asked, index: Sequence[Indexed], rng: random.Random, inventor: Inventor | None) -> Asked:
    """The same question where another of its words is a name of the repository, or where another name is mentioned: more lines that do not matter."""
    if not asked.facts:
        return asked
    key, question = asked.facts[0].key, asked.question
    words = [word for word in question_keys(question) if word != key]
    if inventor and words:
        name = rng.choice(words)
        extra = inventor.definitions(name, definition_lines(index), rng.choice(index).document.language, rng.choice((1, 1, 2, 3, 5)))
    else:
        file = rng.choice(index)
        if not file.outline.symbols:
            return asked
        name = rng.choice(file.outline.symbols).name
        question = rng.choice(BESIDE).format(question, question.rstrip("?."), name)
        extra = facts_of_name(index, name)
    if name == key or question_keys(question).keys() < {name, key}:
        return asked
    # The kinds that are asked for depend on all words; a question whose own facts would change by the mention is left as it was.
    both = beside(question, [*asked.facts, *extra])
    return replace(asked, question=question, facts=both) if tuple(fact for fact in both if fact.key == key) == asked.facts else asked


def ask_index(index: Sequence[Indexed], names: Sequence[str], kind: str, rng: random.Random, inventor: Inventor | None = None) -> Asked | None:
    """One question of `kind` about the indexed files; None where the drawn file allows none."""
    file = rng.choice(index)
    if kind == "unknown":
        return ask_unknown(index, names, rng)
    if kind == "general":
        return ask_general(index, file, names, rng, inventor)
    form = rng.random()
    if kind == "imports" and form < 0.35:
        return ask_module(index, rng)
    if kind in ("list", "exports", "contents") or (kind == "imports" and form < 0.65):
        return ask_file(index, file, kind, rng, inventor)
    symbols = file.outline.symbols
    if kind in ("takes", "returns"):
        symbols = [s for s in symbols if s.kind == FUNCTION]
    elif kind == "does":
        symbols = [s for s in symbols if s.description] or symbols
    return ask_name(index, file, rng.choice(symbols), kind, rng, inventor) if symbols else None


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
        return Asked(kind, rng.choice(TAKES).format(symbol.name), takes(symbol.name, symbol.parameters, at))
    if kind == "does" and symbol.description:
        return Asked(kind, rng.choice(DOES).format(symbol.name), says(symbol.name, symbol.description, at))
    return None


def ask_about(readme: SourceFile | None, rng: random.Random) -> Asked | None:
    """What the project is, from the first sentence of its introduction."""
    if readme is None:
        return Asked("about", rng.choice(ABOUT), DO_NOT_KNOW)
    for line, number in prompt_form.numbered_lines(readme.text, readme.first_line):
        sentence = first_sentence(line) if number and re.match(r"[A-Z`]", line) else None
        if sentence:
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
    inventor: Inventor | None = None


def repository(documents: Sequence[Document], characters: int, rng: random.Random, inventor: Inventor | None = None) -> Repository:
    """Files of one package, shuffled, of which the prompt shows about `characters`; the index holds some more."""
    count = min(len(documents), rng.choice((1, 2, 2, 3, 3, 4, 5, 6)), 1 + characters // 100)
    anchor = rng.randrange(len(documents))
    near = documents[max(0, anchor - 12):anchor + 13]
    chosen = rng.sample(near, min(count + rng.choice((0, 1, 3, 6, 12)), len(near)))
    introduction = next((d for d in documents if d.path.lower() == "readme.md"), None)
    if introduction and introduction not in chosen and rng.random() < 0.12:
        chosen[min(count, len(chosen)) - 1] = introduction
    paths = [d.path for d in chosen]
    paths = inventor.moved(paths) if inventor and rng.random() < 0.7 else shortened(paths, rng)
    index = [Indexed(path, document) for document, path in zip(chosen, paths, strict=True)]
    shown = []
    for file in index[:count]:
        part = excerpt(file.document, max(60, int(characters / count * rng.uniform(0.6, 1.4))), rng)._replace(path=file.path)
        numbers = {number for _, number in prompt_form.numbered_lines(part.text, part.first_line) if number is not None}
        shown.append(Shown(part, file.document.language, numbers))
    readme = next((f.file for f in shown if f.file.path.lower().endswith("readme.md")), None)
    return Repository(shown, index, readme, inventor)


def asker(held: Repository, names: Sequence[str], use_index: bool, rng: random.Random) -> Callable[[str], Asked | None]:
    """A function that draws one question of a kind."""
    source = partial(ask_index, held.index, inventor=held.inventor) if use_index else partial(ask_files, held.shown)

    def ask(kind: str) -> Asked | None:
        if kind == "about":
            return ask_about(held.readme, rng)
        if kind == "talk":
            return ask_talk(rng)
        asked = source(names, kind, rng)
        return with_second_name(asked, held.index, rng, held.inventor) if asked and use_index and rng.random() < SECOND_NAME else asked

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
    spans: list[Span] = [(f"<bos><start_of_turn>user\n{prompt_form.RULES}\n\n", PROMPT_WEIGHT), (blocks.rstrip("\n"), READ_WEIGHT)]
    for index, turn in enumerate(asked):
        spans.append(("\n<start_of_turn>user\n" if index else "\n\n", PROMPT_WEIGHT))
        spans.append((f"{prompt_form.question_part(turn.question, turn.facts)}<end_of_turn>\n<start_of_turn>model\n", PROMPT_WEIGHT))
        spans.append((f"{turn.answer}<end_of_turn>", 1.0))
    return spans


def around_image(held: Repository, question: str, rng: random.Random) -> tuple[str, tuple[IndexFact, ...]]:
    """File blocks before a question about an image, and facts on a word of it that happens to be a name of the repository."""
    words = list(question_keys(question))
    facts: Sequence[IndexFact] = ()
    if held.inventor and words and rng.random() < 0.5:
        facts = held.inventor.definitions(rng.choice(words), definition_lines(held.index), held.index[0].document.language, rng.choice((1, 2, 4)))
    return "\n".join(prompt_form.file_block(f.file) for f in held.shown).rstrip("\n"), tuple(facts)


def loosely(asked: Asked, rng: random.Random) -> Asked:
    """The question as people type it: now and then without its mark at the end or its capital."""
    question = asked.question
    if rng.random() < 0.2:
        question = question.rstrip("?.")
    if rng.random() < 0.2:
        question = question[:1].lower() + question[1:]
    return replace(asked, question=question)


def chat(documents: Sequence[Document], names: Sequence[str], characters: int, turns: int, rng: random.Random, inventor: Inventor | None = None) -> list[Span] | None:
    """One conversation about a repository; None if nothing was found to ask about the drawn files."""
    held = repository(documents, characters, rng, inventor)
    asked = drawn(held, names, turns, rng.random() >= WITHOUT_INDEX, rng)
    return rendered(held, [loosely(turn, rng) for turn in asked]) if asked else None
