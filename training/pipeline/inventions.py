"""Makes the few files of a corpus package look like a large repository: paths in invented folders, files that nobody wrote and that import.

Names, folders and lines come from the corpus; who imports what is made up. Answers copy from the facts, so these need to be varied, not true.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.index_block import IndexFact

EXTENSIONS = {"typescript": (".ts", ".ts", ".tsx", ".test.ts", ".mts"), "javascript": (".js", ".js", ".mjs", ".test.js"), "python": (".py", ".py", "_test.py"),
              "go": (".go", "_test.go"), "rust": (".rs",), "cpp": (".cpp", ".h"), "markdown": (".md",)}
IMPORT_LINES = {
    "typescript": ["import {{ {name} }} from '{up}/{stem}.ts';", "import {{ {other}, {name} }} from '{up}/{stem}';", "import {{ type {other}, {name} }} from '{up}/{stem}.ts';",
                   "import type {{ {name} }} from '{up}/{stem}.ts';", "export {{ {name} }} from '{up}/{stem}.js';", "import {{ {name}, {other}, {third} }} from '{up}/{stem}';",
                   "import {name} from \"{up}/{stem}\";"],
    "python": ["from {stem} import {name}", "from .{stem} import {other}, {name}", "from {folder}.{stem} import {name}, {other}", "from {folder} import {name}",
               "from ..{stem} import {name} as {other}"],
    "go": ["import {name} \"{folder}/{stem}\"", "\"{folder}/{name}\""],
    "rust": ["use crate::{stem}::{name};", "use crate::{folder}::{{{other}, {name}}};", "use super::{name};", "pub use {stem}::{name};"],
}
IMPORT_LINES["javascript"] = IMPORT_LINES["typescript"]
TOP_FOLDERS = ("src", "lib", "test", "tests", "packages", "app", "server", "client", "scripts", "internal", "core", "cmd", "tools", "extension", "bench")


@dataclass(frozen=True)
class Inventor:
    """Words of the whole corpus, and the folders of one invented repository."""

    folders: Sequence[str]  # of the repository, "" for its root, each ended by a slash otherwise
    stems: Sequence[str]
    names: Sequence[str]
    rng: random.Random

    @classmethod
    def draw(cls, folder_words: Sequence[str], stems: Sequence[str], names: Sequence[str], rng: random.Random) -> "Inventor":
        """A small tree: most new folders lie in one that there is already."""
        folders = [f"{rng.choice(TOP_FOLDERS if rng.random() < 0.7 else folder_words)}/" for _ in range(rng.randint(1, 3))]
        for _ in range(rng.randint(0, 9)):
            folders.append(f"{rng.choice(folders)}{rng.choice(folder_words)}/")
        return cls([*folders, ""] if rng.random() < 0.5 else folders, stems, names, rng)

    def path(self, stem: str, extension: str) -> str:
        return f"{self.rng.choice(self.folders)}{stem}{extension}"

    def file(self, language: str) -> str:
        """The path of a new file; now and then it is named after its folder or after two words."""
        rng, stem = self.rng, self.rng.choice(self.stems)
        folder = rng.choice(self.folders)
        if folder and rng.random() < 0.15:
            stem = folder.split("/")[-2]
        if rng.random() < 0.35:
            stem += rng.choice("--_") + rng.choice(self.stems)
        return f"{folder}{stem}{rng.choice(EXTENSIONS.get(language, ('.txt',)))}"

    def moved(self, paths: Sequence[str]) -> list[str]:
        """The same files in invented folders; the paths as they are if two would coincide."""
        result = []
        for path in paths:
            name = path.rpartition("/")[2]
            stem, dot, extension = name.partition(".")
            result.append(self.path(self.rng.choice(self.stems) if self.rng.random() < 0.4 else stem, dot + extension))
        return result if len(set(result)) == len(paths) else list(paths)

    def count(self) -> int:
        """How many lines to add: mostly few, now and then more than a block shows."""
        return self.rng.choice((0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 6, 8, 11))

    def imports(self, key: str, name: str, language: str, count: int, stem: str | None = None) -> list[IndexFact]:
        """Facts that `count` invented files import the symbol `name`, from the file of that `stem` if one is given."""
        rng = self.rng
        lines = [line for line in IMPORT_LINES.get(language, IMPORT_LINES["typescript"]) if stem is None or "{stem}" in line]
        facts = []
        for path in {self.file(language): None for _ in range(count)}:
            up = rng.choice((".", "..", "../..", f"../{rng.choice(self.stems)}", f"./{rng.choice(self.stems)}"))
            folder = (rng.choice(self.folders) or "root/").split("/")[0]
            line = rng.choice(lines).format(name=name, other=rng.choice(self.names), third=rng.choice(self.names), up=up, stem=stem or rng.choice(self.stems), folder=folder)
            facts.append(IndexFact(key, "imported", path, rng.randint(1, 40), line))
        return facts

    def file_imports(self, key: str, path: str, language: str, count: int) -> list[IndexFact]:
        """Facts that `count` invented files import the file at `path`."""
        return self.imports(key, self.rng.choice(self.names), language, count, path.rpartition("/")[2].partition(".")[0])

    def definitions(self, key: str, texts: Sequence[tuple[str, str]], language: str, count: int) -> list[IndexFact]:
        """Facts that `count` invented files define `key`, in the manner of `texts` (a name and the line that defines it)."""
        facts = []
        for _ in range(count if texts else 0):
            name, text = self.rng.choice(texts)
            facts.append(IndexFact(key, "defined", self.file(language), int(self.rng.lognormvariate(4, 1.2)) + 1, re.sub(rf"(?<![\w$]){re.escape(name)}(?![\w$])", key, text)))
        return facts
