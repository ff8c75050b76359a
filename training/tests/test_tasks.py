import random
import re

import numpy as np
import pytest

from pipeline import repository, tasks
from pipeline.batches import Corpus, Stage, batch, encode
from pipeline.index_block import IndexFact, index_block
from pipeline.inventions import Inventor
from pipeline.tokenizer import Tokenizer, train

STAGE = Stage(until=1.01, length=256, rows=2, characters=(150, 400), code=(150, 400), turns=(1, 3), chat=0.7, middle=0.2, pictures=0.0)


def stands_in(block: str, path: str, line: str) -> bool:
    """On a line of its own, or below one that says in which file the next ones are."""
    return f" {path}:{line}| " in block or re.search(rf" holds {re.escape(path)}:\d+\| .*(\n\d+\| .*)*?\n{line}\| ", block) is not None


def test_a_list_says_that_there_is_more_where_the_block_was_cut():
    text = "".join(f"A{n} = {n}\n" for n in range(10, 24)) + "".join(f"def fun{n}():\n    pass\n" for n in range(9))
    file = repository.Indexed("a.py", tasks.Document("p", "a.py", "python", text))
    asked = repository.ask_file([file], file, "list", random.Random(1))
    assert asked is not None
    assert asked.answer == "- a.py:15 `fun0`\n- a.py:17 `fun1`\n- and more"
    assert index_block(asked.facts).endswith("15| def fun0():\n17| def fun1():\n`a.py` holds \u2026 7 more")


def test_every_cited_place_stands_in_the_index_block_or_on_a_numbered_line(corpus_file):
    corpus = Corpus(corpus_file, "train")
    rng = random.Random(1)
    cited = {True: 0, False: 0}
    for _ in range(80):
        held = repository.repository(corpus.draw(rng), 1500, rng)
        use_index = rng.random() < 0.5
        for asked in repository.drawn(held, corpus.names, 4, use_index, rng):
            prompt = "".join(text for text, _ in repository.rendered(held, [asked])[:-1])
            for path, line in re.findall(r"([\w./]+\.py):(\d+)", asked.answer):
                block = prompt.partition(f"=== {path}\n")[2].partition("\n\n===")[0]
                assert stands_in(index_block(asked.facts), path, line) if use_index else re.search(rf"^{line}\| ", block, re.MULTILINE), asked
                cited[use_index] += 1
    assert cited[True] > 60
    assert cited[False] > 60


def test_facts_are_those_of_the_whole_index():
    index = [repository.Indexed("b.py", tasks.Document("p", "b.py", "python", "from a import add\n")),
             repository.Indexed("a.py", tasks.Document("p", "a.py", "python", 'def add(\n    x: int,\n) -> int:\n    return x\n'))]
    assert repository.facts_of_name(index, "add") == [
        IndexFact("add", "imported", "b.py", 1, "from a import add"), IndexFact("add", "defined", "a.py", 1, "def add( x: int, ) -> int:")]
    asked = repository.ask_name(index, index[1], index[1].outline.symbols[0], "takes", random.Random(1))
    assert asked.answer == "`add` is defined in a.py:1 and takes `(x: int)`."
    asked = repository.ask_name(index, index[1], index[1].outline.symbols[0], "imports", random.Random(1))
    assert asked.answer == "`add` is imported in b.py:1."


def test_a_file_is_asked_for_by_those_who_import_it():
    index = [repository.Indexed(f"moved/{path}", tasks.Document("p", f"p/{path}", "python", text))
             for path, text in (("a.py", "def add(x):\n    return x\n"), ("b.py", "from .a import add\n"), ("c.py", "import os\nimport p.a\n"), ("d.py", "import q.a\n"))]
    facts = repository.facts_of_file(index, index[0], "moved/a.py")
    assert [(f.kind, f.path, f.line) for f in facts] == [("holds", "moved/a.py", 1), ("imported", "moved/b.py", 1), ("imported", "moved/c.py", 2)]


@pytest.mark.parametrize(("importer", "module", "target", "means"), [
    ("src/a/x.ts", "../b/y.ts", "src/b/y.ts", True), ("src/a/x.ts", "../b", "src/b/index.ts", True), ("src/a/x.ts", "./y", "src/b/y.ts", False),
    ("src/a/x.ts", "y", "src/a/y.ts", False)])
def test_relative_imports_of_typescript(importer, module, target, means):
    documents = (tasks.Document("p", path, "typescript", "") for path in (importer, target))
    importer, target = documents
    assert repository.imports_file(importer, module, target) == means


@pytest.mark.parametrize("kind", [k for k in repository.KIND_WEIGHTS if k not in ("about", "talk")])
def test_answers_follow_from_the_block_also_in_an_invented_repository(corpus_file, kind):
    corpus = Corpus(corpus_file, "train")
    rng = random.Random(4)
    found = 0
    for _ in range(60):
        inventor = Inventor.draw(corpus.folders, corpus.stems, corpus.names, rng)
        held = repository.repository(corpus.draw(rng), 600, rng, inventor)
        for asked in repository.drawn(held, corpus.names, 2, True, rng, (kind,)):
            block = index_block(asked.facts)
            for path, line in re.findall(r"([\w./-]+):(\d+)", asked.answer):
                assert stands_in(block, path, line), asked
            for name in re.findall(r"`(\w+)`", asked.answer):
                assert name in block or kind == "unknown", asked
            found += 1
    assert found > 10


def test_importers_of_a_file_name_it():
    inventor = Inventor.draw(["core"], ["stem"], ["Name"], random.Random(2))
    facts = [fact for language in ("typescript", "python", "rust") for _ in range(10) for fact in inventor.file_imports("a/pool.ts", "a/pool.ts", language, 3)]
    assert len(facts) > 20
    assert all("pool" in fact.text for fact in facts)
    assert len({fact.path for fact in facts}) > 5


def test_a_conversation_is_cut_between_turns(corpus_file, tmp_path):
    train(corpus_file, tmp_path / "t.model", 900, 1_000_000)
    tokenizer = Tokenizer(tmp_path / "t.model")
    spans = [("<bos>a", 0.1), ("\n\nq", 0.1), ("one<end_of_turn>", 1.0), ("\nq", 0.1), ("two two two<end_of_turn>", 1.0)]
    whole, _ = encode(tokenizer, spans, 1000)
    cut, weights = encode(tokenizer, spans, len(whole) - 1)
    assert len(cut) == len(weights) < len(whole)
    assert cut == whole[:len(cut)]
    assert cut[-1] == tokenizer.control["<end_of_turn>"]
    assert len(encode(tokenizer, [("<bos>" + "word " * 50, 0.4)], 20)[0]) == 20
    assert len(encode(tokenizer, spans, 2)[0]) == len(whole)  # none fits: left out by the caller


def test_a_name_that_is_nowhere_is_declined():
    index = [repository.Indexed("a.py", tasks.Document("p", "a.py", "python", "def visible_name():\n    return 1\n"))]
    assert repository.ask_unknown(index, ["visible_name"], random.Random(2)) is None
    every = [repository.ask_unknown(index, ["absent_name"], random.Random(seed)) for seed in range(20)]
    assert all(asked.answer == f"I cannot find `{asked.facts[0].key}` in this repository." for asked in every)
    assert {asked.facts[0] for asked in every} >= {IndexFact("absent_name", "nowhere")}


def test_the_middle_fits_between_prefix_and_suffix(corpus_file):
    document = max(Corpus(corpus_file, "train").packages[0], key=lambda d: len(d.text))
    examples = [tasks.fill_in_middle(document, [], 900, random.Random(seed)) for seed in range(30)]
    assert sum(spans is not None for spans in examples) > 15
    for spans in filter(None, examples):
        prefix, suffix, middle = spans[2][0], spans[4][0], spans[6][0].removesuffix("<eos>")
        assert middle.strip()
        assert prefix + middle + suffix in document.text + "\n"


def test_a_batch_is_a_pure_function_of_its_step(corpus_file, tmp_path):
    train(corpus_file, tmp_path / "t.model", 900, 1_000_000)
    tokenizer = Tokenizer(tmp_path / "t.model")
    corpus = Corpus(corpus_file, "train")
    first, again, other = (batch(corpus, tokenizer, STAGE, 1, step) for step in (3, 3, 4))
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["tokens"], other["tokens"])
    assert (first["weights"][first["segments"] == 0] == 0).all()
    assert (first["weights"] == 1).any()
