"""Find definitions, imports and one-line descriptions in source text by simple line patterns."""

import re
from dataclasses import dataclass, field

FUNCTION, CLASS, TYPE, CONSTANT = "function", "class", "type", "constant"

PATTERNS: dict[str, list[tuple[str, re.Pattern[str]]]] = {
    "typescript": [
        (FUNCTION, re.compile(r"(?:export )?(?:default )?(?:async )?function\*? ([A-Za-z_$][\w$]*)")),
        (CLASS, re.compile(r"(?:export )?(?:default )?(?:abstract )?class ([A-Za-z_$][\w$]*)")),
        (TYPE, re.compile(r"(?:export )?(?:declare )?(?:interface|type|enum|const enum) ([A-Za-z_$][\w$]*)\b")),
        (FUNCTION, re.compile(r"(?:export )?const ([A-Za-z_$][\w$]*)(?:: [^=]+)? = (?:async )?\(")),
        (CONSTANT, re.compile(r"(?:export )?(?:const|let|var) ([A-Za-z_$][\w$]*)\b")),
        (FUNCTION, re.compile(r"(?: {2}| {4}|\t)(?:(?:public|private|protected|static|async|override) )*(?!(?:if|for|while|switch|catch|return|function|super|constructor)\b)"
                              r"([A-Za-z_$][\w$]*)(?:<[^(]*>)?\([^()]*\)(?:: [^{]+)? \{$")),
    ],
    "python": [
        (FUNCTION, re.compile(r" {0,4}(?:async )?def ([A-Za-z_]\w*)")),
        (CLASS, re.compile(r"class ([A-Za-z_]\w*)")),
        (CONSTANT, re.compile(r"([A-Z][A-Z0-9_]{2,})(?:: [^=]+)? = ")),
    ],
    "go": [
        (FUNCTION, re.compile(r"func (?:\(\w* ?\*?[\w\[\]]+\) )?([A-Za-z_]\w*)")),
        (TYPE, re.compile(r"type ([A-Za-z_]\w*)")),
        (CONSTANT, re.compile(r"(?:var|const) ([A-Za-z_]\w*)")),
    ],
    "rust": [
        (FUNCTION, re.compile(r" {0,4}(?:pub(?:\([a-z]+\))? )?(?:const )?(?:async )?(?:unsafe )?fn ([A-Za-z_]\w*)")),
        (TYPE, re.compile(r"(?:pub(?:\([a-z]+\))? )?(?:struct|enum|trait|type|union) ([A-Za-z_]\w*)")),
        (CONSTANT, re.compile(r"(?:pub(?:\([a-z]+\))? )?(?:const|static) ([A-Z_][A-Z0-9_]*)")),
    ],
    "cpp": [],
    "markdown": [],
}
PATTERNS["javascript"] = PATTERNS["typescript"]
DUNDER = re.compile(r"__\w+__$")


@dataclass(frozen=True)
class Symbol:
    """One definition. `line` is 1-based; `parameters` is the source text between the parentheses, or None if there are none to read.

    `text` is its first line, joined with the following ones until the parameter list closes, as the product's index shows it.
    """

    name: str
    kind: str
    line: int
    parameters: str | None = None
    returns: str | None = None
    description: str | None = None
    text: str = ""
    top_level: bool = True


@dataclass
class Outline:
    symbols: list[Symbol] = field(default_factory=list)
    imports: dict[str, int] = field(default_factory=dict)


JOINED_LINES = 12


def definition_text(lines: list[str], index: int) -> str:
    """The definition's first line; the next ones too, with single spaces, until its parameter list closes."""
    text = lines[index].strip()
    for line in lines[index + 1:index + JOINED_LINES]:
        if "(" not in text or text.count("(") <= text.count(")"):
            break
        text += " " + line.strip()
    return text


def is_exported(language: str, symbol: Symbol) -> bool:
    """Whether other files can use a top-level definition, by the language's own mark."""
    if language == "go":
        return symbol.name[0].isupper()
    if language == "python":
        return not symbol.name.startswith("_")
    return symbol.text.startswith("pub" if language == "rust" else "export")


def balanced(text: str) -> tuple[str, str] | None:
    """Splits `(a, b) rest` into `a, b` and ` rest`; None if the parenthesis does not close on this line."""
    if not text.startswith("("):
        return None
    depth = 0
    for index, character in enumerate(text):
        depth += character in "([{"
        depth -= character in ")]}"
        if depth == 0:
            return text[1:index].strip().removesuffix(","), text[index + 1:]
    return None


def signature(language: str, line: str, name: str) -> tuple[str | None, str | None]:
    """Parameter list and return type of a function definition on one line."""
    rest = line[line.index(name) + len(name):]
    if "(" not in rest:
        return None, None
    parts = balanced(rest[rest.index("("):])
    if parts is None:
        return None, None
    parameters, tail = parts
    if language == "python":
        found = re.match(r" -> (.+):$", tail)
        parameters = re.sub(r"^(self|cls)(, ?|$)", "", parameters)
    elif language == "go":
        found = re.match(r" (.+) \{$", tail)
    elif language == "rust":
        found = re.match(r" -> (.+?)(?: \{| where|$)", tail)
    else:
        found = re.match(r": (.+?)(?: \{| =>)", tail)
    return parameters, found.group(1) if found else None


def first_sentence(text: str) -> str | None:
    """First sentence of a comment, if it reads like prose of a useful length."""
    text = re.sub(r"\s+", " ", re.sub(r"\{@\w+ ([^}|]+)[^}]*\}", r"\1", text)).strip()
    found = re.match(r"(.+?[.])(?: |$)", text)
    sentence = (found.group(1) if found else text).strip()
    if not 15 <= len(sentence) <= 140 or sentence.count(" ") < 2 or re.search(r"[<>=@|\\]|https?:|TODO|nolint|eslint|Copyright", sentence):
        return None
    return sentence if sentence[-1] == "." else sentence + "."


def description(language: str, lines: list[str], index: int) -> str | None:
    """First sentence of the docstring after, or the comment before, the definition at `lines[index]`."""
    if language == "python":
        body = index + 1
        if body < len(lines):
            found = re.match(r'\s+r?"""(.+?)(?:"""|$)', lines[body])
            if found:
                return first_sentence(found.group(1))
        return None
    collected: list[str] = []
    at = index - 1
    while at >= 0 and re.match(r"\s*(//|\*|/\*|#\[)", lines[at]) and index - at < 25:
        collected.append(lines[at].strip())
        at -= 1
    text: list[str] = []
    for line in reversed(collected):
        plain = re.sub(r"^(///?!?|/\*\*?|\*/|\*)\s?", "", line).removesuffix("*/").strip()
        if line.startswith("#[") or plain.startswith("@") or (text and not plain):
            break
        if plain:
            text.append(plain)
    return first_sentence(" ".join(text)) if text else None


IMPORTS = {
    "typescript": re.compile(r"(?:import |\} |export ).*?from ['\"]([^'\"]+)['\"]|import ['\"]([^'\"]+)"),
    "python": re.compile(r"from (\.*[\w.]+) import|import ([\w.]+)"),
    "go": re.compile(r"(?:import |\t)(?:\w+ )?\"([\w/.]+)\"$"),
    "rust": re.compile(r"(?:pub(?:\(\w+\))? )?use ([\w]+(?:::[\w]+)*)"),
}
IMPORTS["javascript"] = IMPORTS["typescript"]


def imported_module(language: str, line: str) -> str | None:
    """The module that an import on this line names."""
    found = IMPORTS[language].match(line) if language in IMPORTS else None
    return next(filter(None, found.groups())) if found else None


def outline(language: str, text: str, first_line: int = 1) -> Outline:
    """Definitions and imports of one file, in order; a name counts at its first definition only."""
    lines = text.split("\n")
    result = Outline()
    seen: set[str] = set()
    for index, line in enumerate(lines):
        if not line or line.startswith("        "):
            continue  # no pattern begins so deep; most lines of most files do
        module = imported_module(language, line)
        if module:
            result.imports.setdefault(module, first_line + index)
        for kind, pattern in PATTERNS[language]:
            found = pattern.match(line)
            if not found:
                continue
            name = found.group(1)
            if name in seen or DUNDER.match(name) or len(name) < 3:
                break
            seen.add(name)
            text = definition_text(lines, index)
            parameters, returns = signature(language, text, name) if kind == FUNCTION else (None, None)
            top_level = not line[:1].isspace()
            result.symbols.append(Symbol(name, kind, first_line + index, parameters, returns, description(language, lines, index), text, top_level))
            break
    return result
