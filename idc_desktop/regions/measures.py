"""Areas and lengths as people read them: in one precision, wherever they stand.

Files for other programs keep every digit; these words are for the window, the report and the
picture, where the same focus must not be 0.32 mm² in one place and 0.320 in another.
"""

from __future__ import annotations

_LEAST_UM2 = 1000  # 0.001 mm²
_LEAST_WHOLE_UM = 10


def mm2_text(area_um2: float | None) -> str:
    """Return an area of so many µm² as a number of mm², such as ``1,234.500``."""
    # A patch is 0.160 mm² with the models at hand, and 0.010 with the smallest that there may be.
    return "–" if area_um2 is None else f"{area_um2 / 1e6:,.3f}"


def mm_text(length_um: float | None) -> str:
    """Return a length of so many µm as a number of mm, such as ``12.34``."""
    return "–" if length_um is None else f"{length_um / 1e3:,.2f}"


def area_text(area_um2: float | None) -> str:
    """Return an area of so many µm² with its unit: ``0.320 mm²``, a nucleus' as ``50 µm²``."""
    if area_um2 is None:
        return "–"
    return f"{area_um2:.3g} µm²" if 0 < area_um2 < _LEAST_UM2 else f"{mm2_text(area_um2)} mm²"


def length_text(length_um: float | None) -> str:
    """Return a length of so many µm with its unit: ``12.34 mm``, ``200 µm``, ``8.5 µm``."""
    if length_um is None:
        return "–"
    if 0 < length_um < _LEAST_WHOLE_UM:
        return f"{length_um:.2g} µm"
    # 999.6 µm are 1.00 mm, not 1,000 µm.
    return f"{length_um:.0f} µm" if round(length_um) < 1000 else f"{mm_text(length_um)} mm"
