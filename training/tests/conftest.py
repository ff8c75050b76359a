import json
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TRAINING))


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus: this pipeline's own source as one training and one held-out package."""
    path = tmp_path_factory.mktemp("data") / "corpus.jsonl"
    with path.open("w") as out:
        for index, file in enumerate(sorted((TRAINING / "pipeline").glob("*.py"))):
            row = {"package": f"own-{index % 3}", "split": "held-out" if index % 3 == 2 else "train", "path": f"pipeline/{file.name}", "language": "python", "text": file.read_text()}
            out.write(json.dumps(row) + "\n")
    return path
