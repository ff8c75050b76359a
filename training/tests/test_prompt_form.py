import json

from pipeline import prompt_form
from pipeline.prompt_form import SourceFile


def test_the_shared_fixture_is_what_the_code_renders():
    assert json.loads(prompt_form.FIXTURE.read_text()) == prompt_form.fixture_cases()[0]
    assert json.loads(prompt_form.FACTS_FIXTURE.read_text()) == prompt_form.fact_cases()


def test_a_line_is_numbered_after_a_blank_one_at_top_level_and_every_ten_lines():
    text = "a\n  b\n\n  c\n" + "  d\n" * 12 + "e\n"
    numbers = [number for _, number in prompt_form.numbered_lines(text) if number]
    assert numbers == [1, 4, 14, 17]


def test_an_excerpt_counts_from_its_first_line():
    assert prompt_form.file_block(SourceFile("a.py", "x = 1\ny = 2\n", 40)) == "=== a.py\n40| x = 1\n41| y = 2\n"


def test_without_a_repository_the_turn_is_the_question_alone():
    assert prompt_form.conversation([], [], "Hi") == "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
