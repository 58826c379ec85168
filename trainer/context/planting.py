"""Planted foci: whether a map finds a small focus as well as single patches do.

Complete slides hold hardly a focus of a few patches, so real patches of IDC are set into benign
tissue of another slide. A patch is judged by its own pixels alone: one that is set into the grid
has the log-odds there that it has in its own slide, so planting log-odds is planting pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from idc_desktop.maps.context import in_context, neighbourhood
from trainer.context.slides import OTHER, Floats, LabelledMap, logits_of_idc
from trainer.errors import DataError

SIZES: Mapping[int, tuple[int, int]] = {1: (1, 1), 2: (1, 2), 4: (2, 2), 9: (3, 3)}
"""Patches of a focus, and its rows and columns."""

PLANTS = 1000
"""Foci of each size that are planted, one at a time, in each slide."""

SPECIFICITY = 0.90
"""At which both maps are compared: of the benign patches of the slide as it is."""

_REACH = 6  # patches around a focus that may matter: three widths of the widest neighbourhood


@dataclass(frozen=True)
class Plants:
    """Foci of one size, each in its surroundings; arrays are (plants, rows, cols) of a window.

    Attributes
    ----------
    own : ndarray of float
        Log-odds, those of the focus in the middle.
    counts : ndarray of bool
    shape : (rows, cols)
        Of the focus.
    """

    own: Floats
    counts: NDArray[np.bool_]
    shape: tuple[int, int]

    @property
    def _focus(self) -> tuple[slice, slice, slice]:
        rows, cols = self.shape
        return np.s_[:, _REACH : _REACH + rows, _REACH : _REACH + cols]

    def alone(self) -> Floats:
        """Return the highest log-odds of each focus, patches by themselves; shape (plants,)."""
        return self.own[self._focus].max(axis=(1, 2))

    def in_context(self, sigma_patches: float) -> Floats:
        """Return the highest log-odds of each focus in its context, shape (plants,)."""
        # One above the other, with room between them that nothing reaches across.
        apart = ((0, 0), (0, _REACH), (0, 0))
        own, counts = np.pad(self.own, apart), np.pad(self.counts, apart)
        width = own.shape[2]
        around = neighbourhood(own.reshape(-1, width), counts.reshape(-1, width), sigma_patches)
        found = in_context(own, around.reshape(own.shape))
        return found[self._focus].max(axis=(1, 2))


def plant(
    slide: LabelledMap, others: Sequence[LabelledMap], size: int, count: int = PLANTS
) -> Plants:
    """Set patches of IDC of other slides into benign tissue of a slide; the same every time.

    Each focus is of patches of one other slide.

    Raises
    ------
    DataError
        There is no benign tissue as large as a focus.
    """
    rng = np.random.default_rng(size)
    rows, cols = SIZES[size]
    benign = slide.scored & (slide.label == OTHER)
    places = np.argwhere(sliding_window_view(benign, (rows, cols)).all(axis=(2, 3)))
    if not len(places):
        raise DataError(
            f"{slide.name} has no {rows} x {cols} benign patches side by side, in which a focus "
            "could be planted. Take the slide out of the folder."
        )
    pools = [logits_of_idc([other]) for other in others]
    around = (_REACH, 2 * _REACH)
    own, counts = (np.pad(it, around) for it in (slide.own, slide.counts))
    windows, known = [], []
    for row, col in places[rng.integers(len(places), size=count)].tolist():
        here = np.s_[row : row + rows + 2 * _REACH, col : col + cols + 2 * _REACH]
        window = own[here].copy()
        focus = rng.choice(pools[rng.integers(len(pools))], (rows, cols))
        window[_REACH : _REACH + rows, _REACH : _REACH + cols] = focus
        windows.append(window)
        known.append(counts[here])
    return Plants(np.array(windows), np.array(known), SIZES[size])


def found_at(values: Floats, benign: Floats) -> float:
    """Return the share of foci that is found where `SPECIFICITY` of the benign patches are not."""
    return float(np.mean(values >= np.quantile(benign, SPECIFICITY)))


def found_foci(
    slide: LabelledMap, others: Sequence[LabelledMap], sigma: float
) -> dict[int, tuple[float, float]]:
    """Return, by patches of a planted focus, which share patches alone find, and in context.

    Parameters
    ----------
    sigma : float
        Width of the neighbourhood, in patches.
    """
    benign = slide.scored & (slide.label == OTHER)
    around = neighbourhood(slide.own, slide.counts, sigma)
    lifted = in_context(slide.own, around)[benign]
    found = {}
    for size in SIZES:
        plants = plant(slide, others, size)
        alone = found_at(plants.alone(), slide.own[benign])
        found[size] = alone, found_at(plants.in_context(sigma), lifted)
    return found
