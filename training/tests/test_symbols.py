import pytest

from pipeline.symbols import first_sentence, outline


def test_typescript_definitions_imports_and_descriptions():
    text = '''import { b } from "./b.ts";

/** Adds two numbers. Never fails. */
export function add(a: number, b = [1, 2]): number {
  return a;
}
export interface Shape {}
const run = async (x: string) => x;
'''
    found = outline("typescript", text)
    assert found.imports == {"./b.ts": 1}
    assert [(s.name, s.kind, s.line) for s in found.symbols] == [("add", "function", 4), ("Shape", "type", 7), ("run", "function", 8)]
    assert found.symbols[0].parameters == "a: number, b = [1, 2]"
    assert found.symbols[0].returns == "number"
    assert found.symbols[0].description == "Adds two numbers."
    assert found.symbols[2].parameters == "x: string"


def test_methods_of_typescript_are_not_mistaken_for_statements():
    found = outline("typescript", "class Box {\n  async open(key: number): Promise<void> {\n    if (key) {\n    return later(key) {\n  private get(): X {\n")
    assert [(s.name, s.parameters, s.returns, s.top_level) for s in found.symbols[1:]] == [("open", "key: number", "Promise<void>", False), ("get", "", "X", False)]


def test_python_methods_lose_self_and_keep_their_docstring():
    found = outline("python", 'import os.path\nfrom .a import b\nclass Box:\n    def open(self, key: int) -> bool:\n        """Open the box with a key."""\n', 10)
    assert found.imports == {"os.path": 10, ".a": 11}
    method = found.symbols[1]
    assert (method.name, method.line, method.parameters, method.returns, method.description) == ("open", 13, "key: int", "bool", "Open the box with a key.")


@pytest.mark.parametrize(("language", "line", "name", "parameters", "returns"), [
    ("go", "func (r *Reader) Read(p []byte) (n int, err error) {", "Read", "p []byte", "(n int, err error)"),
    ("rust", "pub fn parse(input: &str) -> Result<Ast, Error> {", "parse", "input: &str", "Result<Ast, Error>"),
])
def test_signatures_of_go_and_rust(language, line, name, parameters, returns):
    symbol = outline(language, line).symbols[0]
    assert (symbol.name, symbol.parameters, symbol.returns) == (name, parameters, returns)


def test_a_description_is_one_sentence_of_prose():
    assert first_sentence("Reads the whole file, then closes it. More text.") == "Reads the whole file, then closes it."
    assert first_sentence("eslint-disable-next-line no console here") is None
    assert first_sentence("Short.") is None
