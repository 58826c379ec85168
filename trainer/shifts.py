"""How an exported model bears other stain, light and sharpness than those of its data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.assessment import Assessment
from trainer.augmentation import restain
from trainer.dataset import PatchArray
from trainer.evaluation import Metrics, Scored
from trainer.export import load_file, stored_probabilities
from trainer.feeding import Part


@dataclass(frozen=True)
class Shift:
    """A change that all patches go through.

    Attributes
    ----------
    hematoxylin, eosin : float
        Factors of the stains' amounts.
    light : float
        Factor of the lamp's light.
    blur : float
        Share that blurring is mixed in with.
    """

    hematoxylin: float = 1.0
    eosin: float = 1.0
    light: float = 1.0
    blur: float = 0.0

    def __call__(self, patches: PatchArray) -> PatchArray:
        """Change patches, uint8 (n, 50, 50, 3)."""
        return restain(
            patches,
            np.full((1, 1, 1, 1), self.blur, np.float32),
            np.array([[[self.hematoxylin, self.eosin, 1.0]]], np.float32),
            np.full((1, 1, 1), -np.log(self.light), np.float32),
        )


SHIFTS = {
    "hematoxylin +25 %": Shift(hematoxylin=1.25),
    "hematoxylin -25 %": Shift(hematoxylin=0.75),
    "eosin +25 %": Shift(eosin=1.25),
    "eosin -25 %": Shift(eosin=0.75),
    "light -12 %": Shift(light=0.88),
    "blurred": Shift(blur=1.0),
}


def assess_shifts(found: Assessment, part: Part) -> dict[str, Metrics]:
    """Score a model on its part, weighted, as it is and under each of `SHIFTS`."""
    session = load_file(found.model)

    said = {"as they are": found.probability}
    said |= {
        name: stored_probabilities(session, map(of, part.store.batches()))
        for name, of in SHIFTS.items()
    }
    label = part.store.index.label
    return {
        name: Scored(probability, label).metrics(part.weight, found.threshold)
        for name, probability in said.items()
    }
