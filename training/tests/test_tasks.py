import random
import re

import numpy as np

from pipeline import repository, tasks
from pipeline.index_block import IndexFact
from pipeline.batches import Corpus, Stage, batch
from pipeline.tokenizer import Tokenizer, train

STAGE = Stage(until=1.01, length=256, rows=2, characters=(150, 400), turns=(1, 3), chat=0.7, middle=0.2, pictures=0.0)


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
                assert f" {path}:{line}| " in prompt if use_index else re.search(rf"^{line}\| ", block, re.MULTILINE), asked
                cited[use_index] += 1
    assert cited[True] > 60
    assert cited[False] > 60


def test_facts_are_those_of_the_whole_index():
    index = [repository.Indexed("b.py", tasks.Document("p", "b.py", "python", "from a import add\n")),
             repository.Indexed("a.py", tasks.Document("p", "a.py", "python", 'def add(\n    x: int,\n) -> int:\n    return x\n'))]
    assert repository.facts_of_name(index, "add") == [
        IndexFact("add", "imported", "b.py", 1, "from a import add"), IndexFact("add", "defined", "a.py", 1, "def add( x: int, ) -> int:")]
    asked = repository.ask_name(index, index[1], index[1].outline.symbols[0], "takes", random.Random(1))
    assert asked.answer == "`add` takes `(x: int)` (a.py:1)."
    asked = repository.ask_name(index, index[1], index[1].outline.symbols[0], "imports", random.Random(1))
    assert asked.answer == "`add` is imported in b.py:1."


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
