"""How large a slide's pixels are: what its file states and what the user gave, if plausible."""

from __future__ import annotations

import contextlib
import math
import xml.parsers.expat
from dataclasses import dataclass
from typing import Literal

from idc_desktop.errors import ResolutionError
from idc_desktop.slides.description import MPP_RANGE

_MAX_SLIDE_MM = 500
"""The largest glass slides, for whole brains and prostates, measure about 250 mm."""

_UM_PER_UNIT = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


@dataclass(frozen=True)
class Mpp:
    """Level-0 resolution in µm per pixel, and whether the ``file`` or the ``user`` gave it."""

    x: float
    y: float
    source: Literal["file", "user"]


@dataclass(frozen=True)
class Resolution:
    """What is known of a slide's resolution.

    Attributes
    ----------
    mpp : Mpp or None
    problem : str
        Why it is unknown.
    warnings : tuple of str
        What a user should know of it.
    """

    mpp: Mpp | None
    problem: str = ""
    warnings: tuple[str, ...] = ()


def find_resolution(
    name: str,
    tags: tuple[str | None, str | None],
    comment: str,
    size_l0: tuple[int, int],
    given_um: float | None,
) -> Resolution:
    """Judge all that is said of a slide's resolution.

    Parameters
    ----------
    name : str
        Of the slide, for messages.
    tags : (x, y)
        What the decoder took from the file, as texts: µm per level-0 pixel.
    comment : str
        What the file says of itself; OME-XML states the resolution there, and is believed before
        the tags, which many programs leave at a default.
    given_um : float, optional
        What the user gave; takes the place of the file's.

    Raises
    ------
    ResolutionError
        `given_um` is not plausible.
    """
    stated = Mpp(*_numbers(tags), "file")
    warnings: tuple[str, ...] = ()
    in_xml = _ome_physical_size(comment, size_l0)
    if in_xml is not None and not (_is_plausible(stated, size_l0) and _is_alike(stated, in_xml)):
        if _is_plausible(in_xml, size_l0) and _is_plausible(stated, size_l0):
            warnings = (
                f"Its TIFF tags state {_quoted(stated)} µm/px, its OME-XML {_quoted(in_xml)}; the "
                "latter is used.",
            )
        if _is_plausible(in_xml, size_l0) or None in tags:
            stated = in_xml
    if given_um is not None:
        return _given(name, Mpp(given_um, given_um, "user"), stated, size_l0)
    if _is_plausible(stated, size_l0):
        if not math.isclose(stated.x, stated.y, rel_tol=0.01):
            warnings += (f"The pixels are not square: {stated.x:g} x {stated.y:g} µm.",)
        return Resolution(stated, warnings=warnings)
    if None in tags and in_xml is None:
        return Resolution(
            None,
            "the file does not state it",
            ("The file states no resolution; it must be given before analysis.",),
        )
    quoted = _quoted(stated) if stated is in_xml else " x ".join(map(str, tags))
    return Resolution(
        None,
        f"the file states {quoted} µm/px, which is not plausible{_why(stated, size_l0)}",
        (
            f"The stated resolution, {quoted} µm/px, is not plausible{_why(stated, size_l0)}. The "
            "right one must be given before analysis.",
        ),
    )


def _given(name: str, given: Mpp, stated: Mpp, size_l0: tuple[int, int]) -> Resolution:
    if not _is_plausible(given, size_l0):
        low, high = MPP_RANGE
        raise ResolutionError(
            f"{name}: {given.x!r} µm/px is no plausible resolution{_why(given, size_l0)}. Give "
            f"--mpp between {low} and {high:g}."
        )
    if not _is_plausible(stated, size_l0) or _is_alike(given, stated):
        return Resolution(given)
    text = f"The file states {_quoted(stated)} µm/px; the given {given.x:g} is used instead."
    return Resolution(given, warnings=(text,))


def _is_plausible(mpp: Mpp, size_l0: tuple[int, int]) -> bool:
    low, high = MPP_RANGE
    return low <= min(mpp.x, mpp.y) and max(mpp.x, mpp.y) <= high and not _why(mpp, size_l0)


def _why(mpp: Mpp, size_l0: tuple[int, int]) -> str:
    """Say that a slide of these pixels would be too large, if so."""
    side_mm = max(mpp.x * size_l0[0], mpp.y * size_l0[1]) / 1000
    return f": the slide would be {side_mm:,.0f} mm long" if side_mm > _MAX_SLIDE_MM else ""


def _is_alike(one: Mpp, other: Mpp) -> bool:
    pairs = ((one.x, other.x), (one.y, other.y))
    return all(math.isclose(*pair, rel_tol=0.01) for pair in pairs)


def _quoted(mpp: Mpp) -> str:
    return f"{mpp.x:g} x {mpp.y:g}"


def _numbers(texts: tuple[str | None, str | None]) -> tuple[float, float]:
    """Return positive numbers, or 0 where a text is none."""
    x, y = (positive(text) or 0.0 for text in texts)
    return x, y


def positive(text: str | None) -> float | None:
    """Return a finite number above 0 as some scanners write it; None of anything else."""
    try:
        value = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _ome_physical_size(comment: str, size_l0: tuple[int, int]) -> Mpp | None:
    """Return the size of a pixel that OME-XML states of the image of this size."""
    if "<OME" not in comment and ":OME" not in comment:
        return None
    elements: list[tuple[str, dict[str, str]]] = []
    parser = xml.parsers.expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = lambda tag, attributes: elements.append(
        (tag.rpartition(" ")[2], attributes)
    )

    def refuse_type(*_: object) -> None:
        raise xml.parsers.expat.ExpatError("an entity can unfold without end")

    parser.StartDoctypeDeclHandler = refuse_type
    with contextlib.suppress(xml.parsers.expat.ExpatError):
        parser.Parse(comment.encode("utf-8", "replace"), True)
    found = {
        Mpp(*_numbers((_in_um(attributes, "X"), _in_um(attributes, "Y"))), "file")
        for tag, attributes in elements
        if tag == "Pixels"
        and (attributes.get("SizeX"), attributes.get("SizeY")) == tuple(map(str, size_l0))
    }
    found = {mpp for mpp in found if min(mpp.x, mpp.y) > 0}
    is_ome = bool(elements) and elements[0][0] == "OME"
    return found.pop() if is_ome and len(found) == 1 else None


def _in_um(attributes: dict[str, str], axis: str) -> str | None:
    """Return the size of a pixel along an axis, µm, as a text."""
    size = positive(attributes.get(f"PhysicalSize{axis}"))
    factor = _UM_PER_UNIT.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    return None if size is None or factor is None else repr(size * factor)
