"""What the overview of a slide shows that a stained brightfield scan does not look like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.pixel_kinds import stains_of
from idc_desktop.maps.shield_notes import DISTRUST
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.slides.levels import UNREADABLE_GREY

_LEAST_TISSUE = 0.01  # of the picture: on less than this, dust decides
_LEAST_COLOURED = 0.5  # of the tissue; 0.98 and more on slides of nine laboratories
_MOST_FLAT = 0.02  # of the picture; tissue and glass have noise, and 0.0002 at most
_LEAST_LIGHT = 150  # that the brightest hundredth reaches; 229 and more
_LEAST_BRIGHT = 0.01  # of what is lit
_DARK_MEAN = 64
_MOST_FOREIGN = 0.5  # of what is stained; 0.06 and less on slides of three laboratories
_EVERY_PX = 2  # along each axis: enough for the stain
_LEAST_LUMA, _CHROMA, _CHROMA_RANGE = 200, 128, 12  # glass, if YCbCr is taken for RGB
_LEAST_SUCH_GLASS = 0.05  # of the picture


class Appearance:
    """Looks at a picture of a slide strip by strip."""

    def __init__(self) -> None:
        self._pixels = self._tissue = self._coloured = self._flat = self._sum = 0
        self._unreadable = 0
        self._stained = self._foreign = self._chroma = self._looked_at = 0
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
        self._add_stain(strip[::_EVERY_PX, ::_EVERY_PX])
        # A fill has one value, or almost where it was compressed; so far as it reaches here.
        levels = high.astype(np.int16)
        right = np.abs(levels[:-1, 1:] - levels[:-1, :-1]) <= 1
        below = np.abs(levels[1:, :-1] - levels[:-1, :-1]) <= 1
        flat = is_grey[:-1, :-1] & is_grey[:-1, 1:] & is_grey[1:, :-1] & right & below
        self._flat += int(np.count_nonzero(flat))
        self._lights += np.bincount(high[is_lit], minlength=256)

    def leave_out(self, px: int) -> None:
        """Leave out pixels that are grey because they cannot be read: no scanner made them so."""
        self._unreadable += px

    def _add_stain(self, pixels: npt.NDArray[np.uint8]) -> None:
        stained, foreign = stains_of(pixels)
        self._looked_at += stained.size
        self._stained += int(np.count_nonzero(stained))
        self._foreign += int(np.count_nonzero(foreign))
        red, others = pixels[..., 0], pixels[..., 1:].astype(np.int16)
        is_chroma = (np.abs(others - _CHROMA) <= _CHROMA_RANGE).all(axis=-1)
        # Of differences that are not shifted by 128, glass has none.
        is_chroma |= (others <= _CHROMA_RANGE).all(axis=-1)
        self._chroma += int(np.count_nonzero(is_chroma & (red >= _LEAST_LUMA)))

    def notes(self) -> list[str]:
        """Return what should be known, a sentence or two each; nothing of a usual slide."""
        pixels, flat = self._pixels - self._unreadable, max(0, self._flat - self._unreadable)
        if pixels <= 0:
            return []
        light = self._sum - 3 * UNREADABLE_GREY * self._unreadable
        if light < _DARK_MEAN * 3 * pixels or not self._is_bright():
            return [
                "The slide is dark: it does not look like a stained brightfield scan. Glass "
                f"counts as tissue, and the probabilities are {DISTRUST}."
            ]
        notes = []
        tissue = self._tissue - self._unreadable - flat
        is_uncoloured = self._coloured < _LEAST_COLOURED * tissue
        if tissue >= _LEAST_TISSUE * pixels and is_uncoloured:
            notes.append(
                "The slide is not coloured: it does not look like a scan of H&E, or its channels "
                f"lie on pages of their own. The probabilities are {DISTRUST}."
            )
        elif self._chroma >= _LEAST_SUCH_GLASS * self._looked_at:
            notes.append(
                "Its colours are wrong: glass is red, as where brightness and colour differences "
                "(YCbCr) are taken for red, green and blue. The file states another photometric "
                f"interpretation than it has; the probabilities are {DISTRUST}."
            )
        elif (
            self._stained >= _LEAST_TISSUE * self._looked_at
            and self._foreign > _MOST_FOREIGN * self._stained
        ):
            notes.append(
                "Its colours are not those of haematoxylin and eosin: another stain, or channels "
                f"in another order. The probabilities are {DISTRUST}."
            )
        if flat > _MOST_FLAT * pixels:
            share = 100 * flat / pixels
            notes.append(
                f"{share:.0f} % of the slide is filled with a flat grey, as around a scan that was "
                "padded. It counts as tissue and is analyzed with it."
            )
        return notes

    def _is_bright(self) -> bool:
        """Whether there is glass, or tissue that lets as much light through as tissue does."""
        bright = int(self._lights[_LEAST_LIGHT:].sum()) - self._unreadable
        return bright >= _LEAST_BRIGHT * (int(self._lights.sum()) - self._unreadable)
