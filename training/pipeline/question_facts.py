"""Which facts of the index stand beside a question: those of the names it names, and of these the kinds it asks for.

The same rules as sidecar/context/symbols/question-keys.ts and asked-for.ts; test/fixtures/question-facts.json keeps both in step.
"""

import re
from collections.abc import Sequence

from pipeline.index_block import IndexFact

WORD = re.compile(r"`(?P<quoted>[^`\n]{1,200})`|(?P<plain>(?:[^\W\d]|\$)[\w$./:-]*)")
SMALL, LARGE, LETTER, SIGN = "a-zß-öø-ÿ", "A-ZÀ-ÖØ-Þ", r"[^\W\d_]", r"[^\W_]"
SHAPED = re.compile(rf"[{SMALL}][{LARGE}]|_|{LETTER}\d|{SIGN}[./:]{SIGN}")
NAMES = re.compile(r"(?:TypeScript|JavaScript|GitHub|GitLab|PowerShell|MacOS|macOS|iOS|Node\.js|e\.g|i\.e|and/or)$", re.IGNORECASE)
STOP_WORDS = frozenset(
    "the and for are was were has have had does did done can could should would will what when where which while who whose why how this that these those there here with "
    "without from into onto over under about after before between each every all any some none not but also only just then than them they you your our use used uses using "
    "file files line lines code function functions class classes method methods type types value values name names defined definition called call calls return returns work "
    "works happen happens show tell give make makes get gets set sets list find explain describe test tests repository project folder module import imports imported "
    "exported".split())
BEFORE_NAMES = frozenset(
    "is are does do of function class method type variable constant module interface struct trait enum field property macro import imports imported define defines called "
    "named call calls use uses using".split())
MOST_KEYS = 24
ABOUT_USE = re.compile(r"\b(?:uses?|used|using|usage|calls?|called|callers?|depends?|dependents?|referenced?|references|who|which|everywhere|rename)\b", re.IGNORECASE | re.ASCII)
ABOUT_IMPORTS = re.compile(r"\bimport(?:s|ed|ing|ers?)?\b", re.IGNORECASE | re.ASCII)
ABOUT_MORE = re.compile(r"\b(?:defin\w*|holds?|do|does|takes?|returns?)\b|\bwhere is (?!.*\bimported\b)", re.IGNORECASE | re.ASCII)


def question_keys(question: str) -> dict[str, bool]:
    """What the question names, in order, and whether it is written or shaped as code."""
    keys: dict[str, bool] = {}
    before = ""
    for match in WORD.finditer(question):
        quoted = match["quoted"]
        key = re.sub(r":\d+$", "", match["plain"].rstrip("./:-")) if quoted is None else re.sub(r"\(\s*\)$", "", quoted.strip())
        introduced, before = before in BEFORE_NAMES, key.lower()
        if not key or key in keys:
            continue
        if quoted is not None or (SHAPED.search(key) and not NAMES.match(key)):
            keys[key] = True
        elif re.fullmatch(rf"(?:{LETTER}|\$){{3,}}", key) and before not in STOP_WORDS and (introduced or key[0].isupper()):
            keys[key] = False
    return dict(list(keys.items())[:MOST_KEYS])


def asked_for(question: str, facts: Sequence[IndexFact]) -> list[IndexFact]:
    """Of the facts of one name, those that the question is about."""
    imported = [fact for fact in facts if fact.kind == "imported"]
    others = [fact for fact in facts if fact.kind != "imported"]
    if not imported or not others:
        return list(facts)
    if ABOUT_IMPORTS.search(question):
        return list(facts) if ABOUT_MORE.search(question) else imported
    return list(facts) if ABOUT_USE.search(question) else others


def beside(question: str, facts: Sequence[IndexFact]) -> tuple[IndexFact, ...]:
    """What the product shows of `facts`, key by key in the order of the question."""
    shown: list[IndexFact] = []
    for key, code in question_keys(question).items():
        of = [fact for fact in facts if fact.key == key]
        if code or any(fact.kind == "defined" for fact in of):
            shown += asked_for(question, of)
    return tuple(shown)
