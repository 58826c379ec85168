"""What the overview of a slide shows that a stained brightfield scan does not look like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.tissue import TissueSettings

_LEAST_TISSUE = 0.01  # of the picture: on less than this, dust decides
_LEAST_COLOURED = 0.5  # of the tissue; 0.98 and more on slides of nine laboratories
_MOST_FLAT = 0.02  # of the picture; tissue and glass have noise, and 0.0002 at most
_LEAST_LIGHT = 150  # that the brightest hundredth reaches; 229 and more
_LEAST_BRIGHT = 0.01  # of what is lit
_DARK_MEAN = 64


class Appearance:
    """Looks at a picture of a slide strip by strip."""

    def __init__(self) -> None:
        self._pixels = self._tissue = self._coloured = self._flat = self._sum = 0
        self._lights = np.zeros(256, np.int64)

    def add(self, strip: npt.NDArray[np.uint8]) -> None:
        """Take the next rows, shape (rows, width, 3)."""
        like = TissueSettings()
        high, low = strip.max(axis=-1), strip.min(axis=-1)
        is_coloured = high - low >= like.min_chroma
        is_lit = high >= like.min_light
        is_grey = ~is_coloured & (high < like.max_glass) & is_lit
        self._pixels += high.size
        self._sum += int(strip.sum())
        self._tissue += int(np.count_nonzero(is_grey | (is_coloured & is_lit)))
        self._coloured += int(np.count_nonzero(is_coloured & is_lit))
        # A fill has one value, or almost where it was compressed; so far as it reaches here.
        levels = high.astype(np.int16)
        right = np.abs(levels[:-1, 1:] - levels[:-1, :-1]) <= 1
        below = np.abs(levels[1:, :-1] - levels[:-1, :-1]) <= 1
        flat = is_grey[:-1, :-1] & is_grey[:-1, 1:] & is_grey[1:, :-1] & right & below
        self._flat += int(np.count_nonzero(flat))
        self._lights += np.bincount(high[is_lit], minlength=256)

    def notes(self) -> list[str]:
        """Return what should be known, a sentence or two each; nothing of a usual slide."""
        if not self._pixels:
            return []
        if self._sum < _DARK_MEAN * 3 * self._pixels or not self._is_bright():
            return [
                "The slide is dark: it does not look like a stained brightfield scan. Glass "
                "counts as tissue, and the probabilities are not to be trusted."
            ]
        notes = []
        tissue = self._tissue - self._flat
        is_uncoloured = self._coloured < _LEAST_COLOURED * tissue
        if tissue >= _LEAST_TISSUE * self._pixels and is_uncoloured:
            notes.append(
                "The slide is not coloured: it does not look like a scan of H&E, or its channels "
                "lie on pages of their own. The probabilities are not to be trusted."
            )
        if self._flat > _MOST_FLAT * self._pixels:
            share = 100 * self._flat / self._pixels
            notes.append(
                f"{share:.0f} % of the slide is filled with a flat grey, as around a scan that was "
                "padded. It counts as tissue and is analyzed with it."
            )
        return notes

    def _is_bright(self) -> bool:
        """Whether there is glass, or tissue that lets as much light through as tissue does."""
        bright = int(self._lights[_LEAST_LIGHT:].sum())
        return bright >= _LEAST_BRIGHT * int(self._lights.sum())
