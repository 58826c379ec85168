"""How background is told from tissue."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from idc_desktop.typed_json import Within

if TYPE_CHECKING:  # the settings are said by processes that have no array
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

_Channel = Annotated[int, Within(1, 255)]
Glass = tuple[_Channel, _Channel, _Channel]
"""Red, green and blue."""

_MANY = 50  # patches: so many cannot all be tissue where there is glass around it
_PYRAMID_ERROR = 4  # gray values by which a level may differ from the average of a finer one


@dataclass(frozen=True)
class TissueSettings:
    """How background is told from tissue.

    On a mask of `mask_px` x `mask_px` pixels per patch, averages of the patch's own pixels, a
    pixel is tissue if it is coloured
    (its largest and smallest channel differ by at least `min_chroma`) or grey but darker than
    glass (its largest channel is below `max_glass`), and not black (its largest channel is at
    least `min_light`: unscanned areas of some formats are black). A patch is background if less
    than `min_fraction` of its mask pixels are tissue. Where the slide's `glass` is not white,
    colours are taken relative to it, and what is grey is dirt.
    """

    enabled: bool = True
    mask_px: int = 10
    min_chroma: int = 12
    max_glass: int = 205
    min_light: int = 30
    min_fraction: float = 0.05
    glass: Glass | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as they stand in the run key and in exports."""
        if not self.enabled:
            return {"enabled": False}
        # Without white glass it is another mask, and another run; all others stay what they were.
        settings = asdict(self)
        glass = settings.pop("glass")
        return settings if glass is None else {**settings, "glass": list(glass)}

    def words(self) -> str:
        """Return the rule in a sentence, for people."""
        if not self.enabled:
            return "Everything counts as tissue: glass and background were analyzed, too."
        colour = f"is coloured (its channels differ by {self.min_chroma} of 255 or more)"
        if self.glass is None:
            colour += f" or grey below {self.max_glass}"
        else:
            red, green, blue = self.glass
            colour += f", beside glass of the colour {red}, {green}, {blue}"
        return (
            f"At least {100 * self.min_fraction:g} % of the patch, seen as {self.mask_px} x "
            f"{self.mask_px} pixels, {colour}, and is not black (below {self.min_light})."
        )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TissueSettings:
        """Return the settings of a run key."""
        glass = settings.get("glass")
        return cls(**{**settings, "glass": None if glass is None else tuple(glass)})

    def is_tissue(self, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Judge patches by their mask pixels.

        Parameters
        ----------
        mask : ndarray of uint8, shape (n, mask_px, mask_px, 3)

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        fractions: npt.NDArray[np.float64] = self.is_tissue_colour(mask).mean(axis=(1, 2))
        return fractions >= self.min_fraction

    def any_at_all(self) -> TissueSettings:
        """Return the settings by which a single mask pixel of tissue makes a patch tissue."""
        return replace(self, min_fraction=1 / self.mask_px**2)

    def is_tissue_colour(self, colours: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Judge colours, shape (…, 3)."""
        import numpy as np

        if self.glass is not None:
            colours = np.minimum(colours * (255 / np.array(self.glass, np.float32)), 255)
        high, low = colours.max(axis=-1), colours.min(axis=-1)
        is_tissue: npt.NDArray[np.bool_] = high - low >= self.min_chroma
        if self.glass is None:
            is_tissue |= high < self.max_glass
        is_tissue &= high >= self.min_light
        return is_tissue

    def notes(self, counts: Mapping[str, int]) -> list[str]:
        """Return what should be known of how many patches are background.

        Parameters
        ----------
        counts : mapping
            How many patches there are in which state, as `ProbabilityMap.counts` says.
        """
        background, total = counts["background"], sum(counts.values())
        if total and background == total:
            return [
                "No tissue was found, so nothing was analyzed. --no-tissue-mask analyzes "
                "everything."
            ]
        if self.enabled and not background and total >= _MANY:
            return [
                "No patch is background. If there is glass around the tissue, it is analyzed as "
                "tissue, and the fractions are too low."
            ]
        return []

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
