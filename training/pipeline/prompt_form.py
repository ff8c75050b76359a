"""The prompt form of the product, rendered byte for byte as the sidecar renders it.

test/fixtures/prompt-form.json and question-facts.json (written by `python -m pipeline.prompt_form`) keep both in step.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.index_block import IndexFact, index_block
from pipeline.question_facts import asked_for, question_keys

FIXTURE = Path(__file__).resolve().parent.parent.parent / "test" / "fixtures" / "prompt-form.json"
FACTS_FIXTURE = FIXTURE.with_name("question-facts.json")
RULES = "Answer questions about this repository. Cite files as path:line."
NUMBER_EVERY = 10
TOP_LEVEL = re.compile(r"[A-Za-z_@#<]")


class SourceFile(NamedTuple):
    """A file of the repository, or an excerpt that begins at line `first_line` (1-based)."""

    path: str
    text: str
    first_line: int = 1


def numbered_lines(text: str, first_line: int = 1) -> list[tuple[str, int | None]]:
    """Lines of `text` with the number that the prompt shows before them, or None."""
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    numbered: list[tuple[str, int | None]] = []
    last = 0
    for index, line in enumerate(lines):
        due = index == 0 or not lines[index - 1].strip() or TOP_LEVEL.match(line) or index - last >= NUMBER_EVERY
        if line.strip() and due:
            last = index
            numbered.append((line, first_line + index))
        else:
            numbered.append((line, None))
    return numbered


def file_block(file: SourceFile) -> str:
    """`=== path`, then the numbered text, each ended by a newline."""
    body = "\n".join(line if number is None else f"{number}| {line}" for line, number in numbered_lines(file.text, file.first_line))
    return f"=== {file.path}\n{body}\n"


def question_part(question: str, facts: Sequence[IndexFact] = ()) -> str:
    """What is asked in a repository, after the facts about what it names."""
    block = index_block(facts)
    return f"{block}\n\nQuestion: {question}" if block else f"Question: {question}"


def first_turn(files: Sequence[SourceFile], question: str, facts: Sequence[IndexFact] = ()) -> str:
    """Body of the first user turn; only the question where there is no repository."""
    if not files:
        return question_part(question, facts) if facts else question
    blocks = "\n".join(map(file_block, files))
    return f"{RULES}\n\n{blocks}\n{question_part(question, facts)}"


def later_turn(question: str, repository: bool = True, facts: Sequence[IndexFact] = ()) -> str:
    return question_part(question, facts) if repository or facts else question


def user_turn(body: str) -> str:
    return f"<start_of_turn>user\n{body}<end_of_turn>\n<start_of_turn>model\n"


class Turn(NamedTuple):
    """An answered question, with the facts that stood before it."""

    asked: str
    answered: str
    facts: Sequence[IndexFact] = ()


def conversation(files: Sequence[SourceFile], turns: Sequence[Turn], question: str, facts: Sequence[IndexFact] = ()) -> str:
    """The exact prompt text, `<bos>` included, for `question` after the answered `turns`."""
    text = "<bos>"
    for index, turn in enumerate([*turns, Turn(question, "", facts)]):
        body = first_turn(files, turn.asked, turn.facts) if index == 0 else later_turn(turn.asked, bool(files), turn.facts)
        text += user_turn(body)
        if index < len(turns):
            text += f"{turn.answered}<end_of_turn>\n"
    return text


def fill_in_middle(files: Sequence[SourceFile], prefix: str, suffix: str) -> str:
    """The exact completion prompt; file blocks of other files stand before the prefix, each followed by a blank line."""
    context = "".join(f"{file_block(file)}\n" for file in files)
    return f"<bos>{context}<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"


class ChatCase(NamedTuple):
    """A conversation of the fixture."""

    name: str
    files: Sequence[SourceFile]
    turns: Sequence[Turn]
    question: str
    facts: Sequence[IndexFact] = ()

    def rendered(self) -> dict[str, object]:
        return {"name": self.name, "files": [{"path": f.path, "text": f.text, "firstLine": f.first_line} for f in self.files],
                "turns": [[turn.asked, turn.answered, [fact._asdict() for fact in turn.facts]] for turn in self.turns], "question": self.question,
                "index": [fact._asdict() for fact in self.facts], "prompt": conversation(self.files, self.turns, self.question, self.facts)}


def fixture_cases() -> list[dict[str, object]]:
    files = [
        SourceFile("src/a.ts", "export function add(a: number, b: number): number {\n  return a + b;\n}\n\nexport function sub(a: number, b: number): number {\n  return a - b;\n}\n"),
        SourceFile("src/b.ts", "import { add } from './a.ts';\r\n\r\nconst values = [\r\n  1,\r\n  2,\r\n];\r\nadd(1, 2);\r\n\r\n\r\n"),
    ]
    long_file = SourceFile("lib/table.py", "# Squares.\n\nTABLE = {\n" + "".join(f"    {n}: {n * n},\n" for n in range(25)) + "}\n\n\n@cache\ndef square(n):\n    return TABLE[n]\n")
    odd = SourceFile("docs/read me.md", "# Title\n\n  \n<b>indented</b>\n\ttab\n    \u00e9t\u00e9 \u6f22\u5b57\n9 digits first\n_name\n#tag\n@at\n$dollar\n")
    where = "Where is `add` defined?"
    definition = IndexFact("add", "defined", "src/a.ts", 1, "export function add(a: number, b: number): number {")
    many = [IndexFact("add", kind, f"src/f{n:02}.ts", n + 1, f"import {{ add }} from './{n}';") for kind in ("imported", "defined") for n in reversed(range(6))]
    held = [IndexFact("src/a.ts", "holds", "src/a.ts", n + 1, f"const a{n} = {n};" + " // a comment" * n) for n in range(60)]
    hostile = IndexFact("a\nb", "defined", "a\nb.ts", 2, "x\u0007 \t y\n" + "\u00e9" * 170)
    index = [definition, IndexFact("add", "says", "src/a.ts", 1, "Adds two numbers."), IndexFact("node:fs", "imported", "src/c.ts", 2, "import fs from 'node:fs';"),
             IndexFact("src/a.ts", "holds", "src/a.ts", 5, "export class Sum {"), IndexFact("gone", "nowhere")]
    crowd = [IndexFact(f"k{key}", "defined", "a.py", line + 1, "pass") for key in range(8) for line in range(7)]
    cases = [
        ChatCase("two files, first turn", files, [], where),
        ChatCase("later turn", files[:1], [Turn(where, "`add` is defined in src/a.ts:1.")], "What does `sub` take?"),
        ChatCase("numbers every ten lines", [long_file], [], "List the functions in lib/table.py."),
        ChatCase("odd lines", [odd, SourceFile("empty.txt", ""), SourceFile("blank.txt", "\n\n"), SourceFile("one.txt", "x")], [], "What is in empty.txt?"),
        ChatCase("excerpt that begins at line 40", [SourceFile("src/a.go", "func Add(a, b int) int {\n\treturn a + b\n}\n", 40)], [], "Where is `Add` defined?"),
        ChatCase("no repository", [], [Turn("Hello", "Hello!")], "What can you do?"),
        ChatCase("facts of the index, also in a later turn", files[:1], [Turn(where, "`add` is defined in src/a.ts:1.", [definition])], "Where are they?", index),
        ChatCase("facts are ordered and cut, and what is cut is said", files[:1], [], where, many),
        ChatCase("a file that holds much", files[:1], [], "What is in src/a.ts?", [*held, definition]),
        ChatCase("many names", files[:1], [], "Where are they?", crowd),
        ChatCase("facts cannot forge lines", files[:1], [], "Where?", [hostile]),
        ChatCase("facts without files", [], [], where, [definition]),
    ]
    rendered = [case.rendered() for case in cases]
    completion = {"name": "completion", "files": [{"path": f.path, "text": f.text, "firstLine": f.first_line} for f in files[:1]],
                  "prefix": "const x = ", "suffix": ";\n", "prompt": fill_in_middle(files[:1], "const x = ", ";\n")}
    bare = {"name": "completion without context", "files": [], "prefix": "def f(", "suffix": "):\n", "prompt": fill_in_middle([], "def f(", "):\n")}
    return [{"chat": rendered, "complete": [completion, bare]}]


QUESTIONS = (
    "Where is `add` defined?", "where is add defined", "Which file defines `add`?", "Who imports add?", "Which files import `node:fs`, and what do they do with it?",
    "Where is imported.ts imported?", "Where is AddItem imported?", "Where is add_item, and who uses it?", "How is `add( )` called?", "What does src/a.ts:12 return?",
    "find add", "Find Add.", "What is the difference between `a b` and lib/c.py?", "Explain TypeScript, e.g. with Node.js and $scope.", "Tell me about größe2 and Ärger.",
    "List the exports of a.ts.", "Is the class Sum used everywhere? I came from `Sum` and Sum2.", "the class add", "What does `fetch` do? Why is x1 there?", "`unclosed is shaped_name",
)


def fact_cases() -> list[dict[str, object]]:
    """What questions name, and which kinds of facts about a name they are shown."""
    facts = [IndexFact("k", kind, "a.ts", 1, "k") for kind in ("defined", "says", "holds", "imported")]
    return [{"question": question, "keys": [{"key": key, "code": code} for key, code in question_keys(question).items()],
             "kinds": [fact.kind for fact in asked_for(question, facts)]} for question in QUESTIONS]


def main() -> None:
    for file, cases in ((FIXTURE, fixture_cases()[0]), (FACTS_FIXTURE, fact_cases())):
        file.write_text(json.dumps(cases, indent=2, ensure_ascii=False) + "\n")
        print(file)


if __name__ == "__main__":
    main()
