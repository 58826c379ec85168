"""What is said of a map because of what the shield found on its patches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.plain_text import counted

DISTRUST = "not to be trusted"
"""Stands in whatever says that a slide is none for the model."""

_MOSTLY = 0.5  # of the patches that the model judged


def cautions(notes: Iterable[str]) -> list[str]:
    """Return those notes that say that a slide is none for the model."""
    return [note for note in notes if DISTRUST in note]


def shield_notes(probability_map: ProbabilityMap) -> list[str]:
    """Return what a reader of the figures should know, a sentence or two each."""
    found = probability_map.found()
    which = ", ".join(f"{number:,} {reason}" for reason, number in found.items())
    many = sum(found.values())
    notes: list[str] = []
    if not probability_map.is_shielded:
        return notes
    if many:
        left = int(np.count_nonzero(probability_map.analyzed))
        if many > _MOSTLY * (many + left):
            blurred = found.get("blur", 0) > _MOSTLY * (many + left)
            what = "Most of the slide is out of focus" if blurred else "Most of it shows artefacts"
            rest = (
                f"the figures are of the {counted(left, 'patch')} left, and {DISTRUST}"
                if left
                else f"no patch is left, and the probabilities are {DISTRUST}"
            )
            notes.append(f"{what} and is excluded ({which}): {rest}.")
        else:
            notes.append(
                f"{counted(many, 'patch')} excluded from all figures because of artefacts "
                f"({which})."
            )
    if unjudged := probability_map.unjudged_patches:
        notes.append(
            f"{counted(unjudged, 'patch')} analyzed by an earlier version, which looked for no "
            "artefacts: nothing is excluded among them. Analyze again to have it looked for."
        )
    return notes
