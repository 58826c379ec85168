"""How background is told from tissue."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the settings are said by processes that have no array
    import numpy as np
    import numpy.typing as npt

_PYRAMID_ERROR = 4  # gray values by which a level may differ from the average of a finer one


@dataclass(frozen=True)
class TissueSettings:
    """How background is told from tissue.

    On a mask of `mask_px` x `mask_px` pixels per patch, averages of the patch's own pixels, a
    pixel is tissue if it is coloured
    (its largest and smallest channel differ by at least `min_chroma`) or grey but darker than
    glass (its largest channel is below `max_glass`), and not black (its largest channel is at
    least `min_light`: unscanned areas of some formats are black). A patch is background if less
    than `min_fraction` of its mask pixels are tissue.
    """

    enabled: bool = True
    mask_px: int = 10
    min_chroma: int = 12
    max_glass: int = 205
    min_light: int = 30
    min_fraction: float = 0.05

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as they stand in the run key and in exports."""
        return asdict(self) if self.enabled else {"enabled": False}

    def is_tissue(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Judge patches by their mask pixels.

        Parameters
        ----------
        mask : ndarray of uint8, shape (n, mask_px, mask_px, 3)

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        high, low = mask.max(axis=-1), mask.min(axis=-1)
        tissue = ((high - low >= self.min_chroma) | (high < self.max_glass)) & (
            high >= self.min_light
        )
        fractions: npt.NDArray[np.float64] = tissue.mean(axis=(1, 2))
        return fractions >= self.min_fraction

    def any_at_all(self) -> TissueSettings:
        """Return the settings by which a single mask pixel of tissue makes a patch tissue."""
        return replace(self, min_fraction=1 / self.mask_px**2)

    def is_surely_glass(self, mask: npt.NDArray[np.uint8]) -> bool:
        """Whether no patch can be tissue, by mask pixels that are only nearly theirs.

        A coarser level of the pyramid was reduced by other software and compressed again; the
        limits are wider here than such a level differs.
        """
        wider = replace(
            self,
            min_chroma=self.min_chroma - _PYRAMID_ERROR,
            max_glass=self.max_glass + _PYRAMID_ERROR,
            min_light=self.min_light - _PYRAMID_ERROR,
        ).any_at_all()
        return not wider.is_tissue(mask).any()
