"""The prompt form of the product, rendered byte for byte as the sidecar renders it.

test/fixtures/prompt-form.json (written by `python -m pipeline.prompt_form`) keeps both in step.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FIXTURE = Path(__file__).resolve().parent.parent.parent / "test" / "fixtures" / "prompt-form.json"
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


def first_turn(files: Sequence[SourceFile], question: str) -> str:
    """Body of the first user turn; only the question where there is no repository."""
    if not files:
        return question
    blocks = "\n".join(map(file_block, files))
    return f"{RULES}\n\n{blocks}\nQuestion: {question}"


def later_turn(question: str, repository: bool = True) -> str:
    return f"Question: {question}" if repository else question


def user_turn(body: str) -> str:
    return f"<start_of_turn>user\n{body}<end_of_turn>\n<start_of_turn>model\n"


def conversation(files: Sequence[SourceFile], turns: Sequence[tuple[str, str]], question: str) -> str:
    """The exact prompt text, `<bos>` included, for `question` after the answered `turns`."""
    text = "<bos>"
    for index, (asked, answered) in enumerate([*turns, (question, None)]):
        text += user_turn(first_turn(files, asked) if index == 0 else later_turn(asked, bool(files)))
        if answered is not None:
            text += f"{answered}<end_of_turn>\n"
    return text


def fill_in_middle(files: Sequence[SourceFile], prefix: str, suffix: str) -> str:
    """The exact completion prompt; file blocks of other files stand before the prefix, each followed by a blank line."""
    context = "".join(f"{file_block(file)}\n" for file in files)
    return f"<bos>{context}<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"


def fixture_cases() -> list[dict[str, object]]:
    files = [
        SourceFile("src/a.ts", "export function add(a: number, b: number): number {\n  return a + b;\n}\n\nexport function sub(a: number, b: number): number {\n  return a - b;\n}\n"),
        SourceFile("src/b.ts", "import { add } from './a.ts';\r\n\r\nconst values = [\r\n  1,\r\n  2,\r\n];\r\nadd(1, 2);\r\n\r\n\r\n"),
    ]
    long_file = SourceFile("lib/table.py", "# Squares.\n\nTABLE = {\n" + "".join(f"    {n}: {n * n},\n" for n in range(25)) + "}\n\n\n@cache\ndef square(n):\n    return TABLE[n]\n")
    odd = SourceFile("docs/read me.md", "# Title\n\n  \n<b>indented</b>\n\ttab\n    \u00e9t\u00e9 \u6f22\u5b57\n9 digits first\n_name\n#tag\n@at\n$dollar\n")
    cases = [
        {"name": "two files, first turn", "files": files, "turns": [], "question": "Where is `add` defined?"},
        {"name": "later turn", "files": files[:1], "turns": [["Where is `add` defined?", "`add` is defined in src/a.ts:1."]], "question": "What does `sub` take?"},
        {"name": "numbers every ten lines", "files": [long_file], "turns": [], "question": "List the functions in lib/table.py."},
        {"name": "odd lines", "files": [odd, SourceFile("empty.txt", ""), SourceFile("blank.txt", "\n\n"), SourceFile("one.txt", "x")], "turns": [], "question": "What is in empty.txt?"},
        {"name": "excerpt that begins at line 40", "files": [SourceFile("src/a.go", "func Add(a, b int) int {\n\treturn a + b\n}\n", 40)], "turns": [], "question": "Where is `Add` defined?"},
        {"name": "no repository", "files": [], "turns": [["Hello", "Hello!"]], "question": "What can you do?"},
    ]
    rendered: list[dict[str, object]] = []
    for case in cases:
        prompt = conversation(case["files"], [(a, b) for a, b in case["turns"]], case["question"])
        rendered.append({**case, "files": [{"path": f.path, "text": f.text, "firstLine": f.first_line} for f in case["files"]], "prompt": prompt})
    completion = {"name": "completion", "files": [{"path": f.path, "text": f.text, "firstLine": f.first_line} for f in files[:1]],
                  "prefix": "const x = ", "suffix": ";\n", "prompt": fill_in_middle(files[:1], "const x = ", ";\n")}
    bare = {"name": "completion without context", "files": [], "prefix": "def f(", "suffix": "):\n", "prompt": fill_in_middle([], "def f(", "):\n")}
    return [{"chat": rendered, "complete": [completion, bare]}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIXTURE)
    arguments = parser.parse_args()
    arguments.out.write_text(json.dumps(fixture_cases()[0], indent=2, ensure_ascii=False) + "\n")
    print(arguments.out)


if __name__ == "__main__":
    main()
