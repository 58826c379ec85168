"""A look at patches from all over a slide before any is judged: glass, colours, tissue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.appearance import Appearance
from idc_desktop.analysis.folds import tile_means
from idc_desktop.maps.shield_notes import cautions
from idc_desktop.maps.tissue import Glass, TissueSettings

_SMOOTH = 3.0  # deviation of grey values within a tile; of glass 0.2 to 2
_LEAST_LIGHT = 140  # of glass, in each channel
_LEAST_GLASS = 0.1  # of the tiles; on seven slides with white glass, 0.01 at most would be tinted
_MOST_WHITE = 0.1  # of as many tiles as are taken for tinted glass
_BRIGHTER, _MOST_BRIGHTER = 10, 0.02  # grey values; of the tiles


@dataclass(frozen=True)
class Survey:
    """What some patches say of a slide.

    Attributes
    ----------
    tissue : TissueSettings
        As given, and with the slide's glass if that is not white.
    patches : ndarray of uint8, shape (n, side, side, 3)
        Those that are tissue.
    has_wrong_colours : bool
        Whether it does not look like a scan of H&E.
    notes : tuple of str
        What a user should know.
    """

    tissue: TissueSettings
    patches: npt.NDArray[np.uint8]
    has_wrong_colours: bool = False
    notes: tuple[str, ...] = ()


def surveyed(
    patches: npt.NDArray[np.uint8], masks: npt.NDArray[np.uint8], tissue: TissueSettings
) -> Survey:
    """Look at patches from all over a slide.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, side, side, 3)
    masks : ndarray of uint8, shape (n, mask_px, mask_px, 3)
        Of those patches.
    tissue : TissueSettings
    """
    appearance = Appearance()
    appearance.add(patches.reshape(-1, *patches.shape[2:]))
    is_wrong = bool(cautions(appearance.notes()))
    notes: tuple[str, ...] = ()
    if tissue.enabled and not is_wrong and (glass := _tinted_glass(patches, tissue)) is not None:
        tissue = replace(tissue, glass=glass)
        notes = (
            f"The glass is not white (red {glass[0]}, green {glass[1]}, blue {glass[2]}): what has "
            "its colour counts as background.",
        )
    return Survey(tissue, patches[tissue.is_tissue(masks)], is_wrong, notes)


def _tinted_glass(patches: npt.NDArray[np.uint8], tissue: TissueSettings) -> Glass | None:
    """Return the colour of glass that would count as tissue, if that is what the slide's is.

    Glass is smooth and the brightest that there is. Pale tissue is neither, or there is white
    glass beside it.
    """
    side = patches.shape[1] // tissue.mask_px
    means = tile_means(patches, side).reshape(-1, 3)
    grey = patches.mean(axis=-1, dtype=np.float32)
    variance = tile_means(grey * grey, side) - tile_means(grey, side) ** 2
    is_smooth = variance.reshape(-1) < _SMOOTH**2
    is_there = ~(means == 255).all(axis=-1)  # no filling, nor what lies beyond the scan
    means, is_smooth = means[is_there], is_smooth[is_there]
    is_white = ~tissue.is_tissue_colour(means)
    is_tinted = is_smooth & ~is_white & (means.min(axis=-1) >= _LEAST_LIGHT)
    tinted = int(np.count_nonzero(is_tinted))
    is_rare = tinted == 0 or tinted < _LEAST_GLASS * len(means)
    if is_rare or np.count_nonzero(is_white) > _MOST_WHITE * tinted:
        return None
    glass = np.median(means[is_tinted], axis=0)
    if (means > glass + _BRIGHTER).all(axis=-1).mean() > _MOST_BRIGHTER:
        return None
    red, green, blue = np.rint(glass).astype(int).tolist()
    return red, green, blue
