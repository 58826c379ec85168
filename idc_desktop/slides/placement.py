"""Where things lie on a slide, from its properties."""

from __future__ import annotations

from collections.abc import Mapping

from idc_desktop.slides.resolution import Mpp

_FARTHEST_PX = 1e9


def bounds_of(
    properties: Mapping[str, str], size_l0: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return the part of level 0 that was scanned (x, y, width, height), where a file says so."""
    try:
        x, y, width, height = (
            int(properties[f"openslide.bounds-{it}"]) for it in ("x", "y", "width", "height")
        )
    except (KeyError, ValueError):
        return None
    width, height = min(width, size_l0[0] - x), min(height, size_l0[1] - y)
    return (x, y, width, height) if min(x, y) >= 0 and min(width, height) > 0 else None


def glass_middle_of(
    properties: Mapping[str, str], size_l0: tuple[int, int], mpp: Mpp | None
) -> tuple[float, float] | None:
    """Find the middle of the glass, which Hamamatsu's scanners say in nm from the image's."""
    if mpp is None:
        return None
    try:
        x_nm, y_nm = (float(properties[f"hamamatsu.{axis}OffsetFromSlideCentre"]) for axis in "XY")
    except (KeyError, ValueError):
        return None
    x = size_l0[0] / 2 - x_nm / (1000 * mpp.x)
    y = size_l0[1] / 2 - y_nm / (1000 * mpp.y)
    return (x, y) if max(abs(x), abs(y)) <= _FARTHEST_PX else None
