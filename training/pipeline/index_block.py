"""The block of index facts before a question, rendered byte for byte as sidecar/prompt/index-block.ts renders it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

KINDS = ("defined", "says", "holds", "imported")
PHRASES = {"defined": "is defined in", "says": "says", "holds": "holds", "imported": "is imported in"}
NOWHERE = "nowhere"
MOST_LINES, MOST_LINES_OF_KEY, MOST_LINES_OF_FILE, LONGEST_TEXT, LONGEST_HELD = 40, 8, 16, 160, 64
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class IndexFact(NamedTuple):
    """One line: what the question named, and a place that the symbol index has for it (none for `nowhere`)."""

    key: str
    kind: str
    path: str = ""
    line: int = 0
    text: str = ""


def one_line(text: str) -> str:
    return CONTROL.sub("\ufffd", re.sub(r"[\t\n\v\f\r ]+", " ", text).strip(" \u00a0\u2028\u2029\ufeff"))


def shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest].rstrip() + " \u2026"


def line_of(key: str, fact: IndexFact, first: bool) -> str:
    """A place and its text; of the lines that a file holds only the first says in which file they are."""
    held = fact.kind == "holds"
    place = "" if held and not first else f"`{key}` {PHRASES[fact.kind]} {one_line(fact.path)}:"
    return f"{place}{fact.line}| {shortened(one_line(fact.text), LONGEST_HELD if held else LONGEST_TEXT)}"


def lines_of_key(key: str, facts: Sequence[IndexFact], room: int) -> list[str]:
    """At most `room` lines of facts, and one for each kind that was cut."""
    lines: list[str] = []
    left, left_outside_file = room, MOST_LINES_OF_KEY
    for kind in KINDS:
        places = sorted((fact for fact in facts if fact.kind == kind), key=lambda fact: (fact.path, fact.line))
        count = min(len(places), left, MOST_LINES_OF_FILE if kind == "holds" else left_outside_file)
        left -= count
        left_outside_file -= 0 if kind == "holds" else count
        lines += [line_of(key, fact, index == 0) for index, fact in enumerate(places[:count])]
        if len(places) > count:
            lines.append(f"`{key}` {PHRASES[kind]} \u2026 {len(places) - count} more")
    return lines


def index_block(facts: Sequence[IndexFact]) -> str:
    """`Index:` and its lines, keys in order of appearance; empty without facts. No newline at the end."""
    if not facts:
        return ""
    groups: dict[str, list[IndexFact]] = {}
    for fact in facts:
        groups.setdefault(one_line(fact.key), []).append(fact)
    lines: list[str] = []
    unsaid = 0
    for key, of in groups.items():
        if len(lines) >= MOST_LINES:
            unsaid += len(of)
        elif any(fact.kind == NOWHERE for fact in of):
            lines.append(f"`{key}` nowhere")
        else:
            lines += lines_of_key(key, of, MOST_LINES - len(lines))
    if unsaid:
        lines.append(f"\u2026 {unsaid} more")
    return "\n".join(["Index:", *lines])
