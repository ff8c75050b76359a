import random
import re

import numpy as np

from pipeline import tasks
from pipeline.batches import Corpus, Stage, batch
from pipeline.tokenizer import Tokenizer, train

STAGE = Stage(until=1.01, length=256, rows=2, characters=(150, 400), turns=(1, 3), chat=0.7, middle=0.2, pictures=0.0)


def test_every_cited_line_shows_its_number_in_the_prompt(corpus_file):
    corpus = Corpus(corpus_file, "train")
    rng = random.Random(1)
    cited = 0
    for _ in range(60):
        spans = tasks.chat(corpus.draw(rng), corpus.names, 1500, 4, rng)
        text = "".join(part for part, _ in spans or [])
        prompt = text.partition("Question: ")[0]
        for path, line in re.findall(r"([\w./]+\.py):(\d+)", text.partition("Question: ")[2]):
            block = prompt.partition(f"=== {path}\n")[2].partition("\n\n===")[0]
            assert re.search(rf"^{line}\| ", block, re.MULTILINE), (path, line)
            cited += 1
    assert cited > 60


def test_a_question_about_an_absent_name_is_declined():
    documents = [tasks.Document("p", "a.py", "python", "def visible_name():\n    return 1\n")]
    files, readme = tasks.repository(documents, 400, random.Random(2))
    pairs = tasks.questions(files, ["absent_name", "visible_name"], readme, random.Random(2))
    assert [answer for _, answer in pairs["unknown"]] == ["I cannot find `absent_name` in this repository."]


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
