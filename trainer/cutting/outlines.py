"""Which file of outlines belongs to which slide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.errors import UsageError
from trainer.errors import DataError, named

_SUFFIXES = (".geojson", ".json", ".xml", ".ndpa", ".annotations")


@dataclass(frozen=True)
class Matched:
    """Slides with their outlines, and what has no partner.

    Attributes
    ----------
    outlines : dict
        Slide -> file.
    slides_without : list of Path
    files_without : list of Path
    """

    outlines: dict[Path, Path]
    slides_without: list[Path]
    files_without: list[Path]


def match_outlines(slides: Sequence[Path], annotations: Path) -> Matched:
    """Find the file of outlines of each slide, by its name.

    A file belongs to the slide ``a.svs`` if it is named ``a.geojson``, ``a.svs.geojson`` or alike;
    a single file belongs to a single slide whatever its name.

    Raises
    ------
    DataError
        There is no such file or folder, two files belong to one slide, or none to any.
    """
    try:
        files = _files(annotations)
    except OSError as error:
        raise DataError(f"{annotations} cannot be read ({error.strerror}).") from error
    if annotations.is_file() and len(slides) == 1:
        return Matched({slides[0]: annotations}, [], [])
    keys: dict[str, list[Path]] = {}
    for file in files:
        keys.setdefault(_bare(file), []).append(file)
    matched: dict[Path, Path] = {}
    for slide in slides:
        names = dict.fromkeys((slide.name.casefold(), slide.stem.casefold()))
        found = [file for name in names for file in keys.get(name, ())]
        if len(found) > 1:
            raise DataError(
                f"{slide.name}: Several files of outlines belong to this slide: "
                f"{named([it.name for it in found])}. Move all but one elsewhere."
            )
        if found:
            matched[slide] = found[0]
    if not matched:
        raise DataError(
            f"{annotations}: No file of outlines is named like a slide "
            f"({named([it.name for it in slides])}). Name them SLIDE.geojson or SLIDE.xml."
        )
    used = set(matched.values())
    return Matched(
        matched,
        [slide for slide in slides if slide not in matched],
        [file for file in files if file not in used],
    )


def case_names(slides: Sequence[Path], pattern: str | None) -> dict[Path, str]:
    """Return the case of each slide: its name without suffix, or what a pattern finds in its name.

    Parameters
    ----------
    pattern : str or None
        Regular expression; its first group is the case, or all of it where it has none.

    Raises
    ------
    UsageError
        It is none.
    DataError
        It finds nothing in a name.
    """
    if pattern is None:
        return {slide: slide.stem or slide.name for slide in slides}
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--case-from {pattern}: This is no regular expression ({error}).") from (
            error
        )
    cases = {}
    for slide in slides:
        found = expression.search(slide.name)
        case = found and (found[1] if expression.groups else found[0])
        if not case:
            raise DataError(
                f"{slide.name}: --case-from {pattern} finds no case in this name. Correct the "
                "pattern, or leave the slide out."
            )
        cases[slide] = case
    return cases


def _files(annotations: Path) -> list[Path]:
    if not annotations.is_dir():
        annotations.stat()
        return [annotations]
    files = (it for it in sorted(annotations.iterdir()) if not it.name.startswith("."))
    return [it for it in files if it.is_file() and _bare(it) != it.name.casefold()]


def _bare(file: Path) -> str:
    """Return a file's name in lower case, without what says that it holds outlines."""
    name = file.name.casefold().removesuffix(".gz")
    suffix = next((it for it in _SUFFIXES if name.endswith(it)), None)
    return file.name.casefold() if suffix is None else name.removesuffix(suffix)
