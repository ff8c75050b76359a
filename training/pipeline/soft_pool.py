"""Pictures as soft tokens, for the text model's training: drawings that a tower read, and some made from the embeddings themselves."""

import json
import random
from pathlib import Path

import numpy as np

from pipeline.pictures import CLASS, UNREADABLE, Picture, any_picture

MADE = 0.4  # share of pictures made without the tower
NOISE = (0.0, 0.5)  # of those, as a share of an embedding's length
DECLINED = 0.2  # share of the drawings that the tower could not read


class SoftPool:
    """`wanted` [classes, text width] is what soft tokens should be; `soft` [pictures, CELLS, text width] what the tower makes of drawings."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.wanted, self.soft, self.answers = file["wanted"], file["soft"], json.loads(str(file["answers"]))
        told = [answer != UNREADABLE for answer in self.answers]
        self.told, self.declined = np.flatnonzero(told).tolist(), np.flatnonzero(~np.array(told)).tolist()

    def draw(self, rng: random.Random) -> tuple[Picture, np.ndarray]:
        """A picture with its answer and its soft tokens [CELLS, text width]."""
        if rng.random() >= MADE:
            number = rng.choice(self.declined if self.declined and (not self.told or rng.random() < DECLINED) else self.told)
            return Picture("drawn", self.answers[number]), self.soft[number].astype(np.float32)
        picture = any_picture(rng)
        exact = self.wanted[[CLASS[cell] for cell in picture.cells]]
        noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(exact.shape, np.float32)
        size = rng.uniform(*NOISE) * np.linalg.norm(exact, axis=-1, keepdims=True) / exact.shape[1] ** 0.5
        return picture, exact + size * noise
