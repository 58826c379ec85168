"""``manifest.csv``: a list of patches with their labels, whatever their files are named.

``file,label,case`` is enough. ``group`` (a patient) keeps cases together: what is never split,
weighed and drawn as one is the group then. ``slide,row,col,x_l0,y_l0,cover`` say where a patch was
cut, and why it has its label. What the patches are beyond their pixels stands beside it, in
``manifest.json``.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_files import open_text, read_json
from idc_desktop.plain_text import counted
from trainer.data.patch_files import PatchFile
from trainer.errors import DataError, named
from trainer.files import replacing
from trainer.settings import USUAL

MANIFEST = "manifest.csv"
COLUMNS = ("file", "label", "case", "slide", "row", "col", "x_l0", "y_l0", "cover")
"""Of a manifest that `idc-trainer patches` writes."""

_NEEDED = COLUMNS[:3]
_MOST_CELLS = 1_000_000  # in a row or column; no slide has so many


def find_manifest(data: Path) -> Path | None:
    """Return the manifest that `data` is, or that lies in it; None for a folder without one."""
    if data.is_file():
        return data
    inside = data / MANIFEST
    return inside if inside.is_file() else None


def write_patch_size(out: Path, patch: PatchSize) -> None:
    """Say beside ``OUT/manifest.csv`` what its patches are."""
    with replacing(out / MANIFEST.replace(".csv", ".json")) as file:
        file.write((json.dumps(asdict(patch), indent=1) + "\n").encode())


def read_manifest(path: Path, patch: PatchSize | None) -> tuple[list[PatchFile], PatchSize]:
    """Read a manifest; no patch is opened.

    Parameters
    ----------
    patch : PatchSize or None
        What the user says the patches are.

    Returns
    -------
    files : list of PatchFile
        In the order of case, place and label.
    patch : PatchSize

    Raises
    ------
    DataError
        It cannot be read, lacks a column, names a third class or a file twice, has a case in two
        groups, or its patches were cut with another size or resolution than is said.
    """
    rows = _rows(path)
    known = _patch_size_beside(path)
    if known is not None and patch is not None and known != patch:
        raise DataError(
            f"{path.name}: Its patches were cut with --size {known.side_px} --spacing "
            f"{known.spacing_um_px:g}, not {patch.side_px} and {patch.spacing_um_px:g}. Leave the "
            "two options out."
        )
    patch = known or patch or USUAL
    _require_two_classes(path, rows)
    cases = _groups(path, rows)
    files = _placed(path, rows, cases, patch.side_px)
    twice = [name for name, count in Counter(it.path for it in files).items() if count > 1]
    if twice:
        raise DataError(
            f"{path.name}: {counted(len(twice), 'file')} listed more than once: "
            f"{named([it.name for it in twice])}. Keep one line of each."
        )
    return sorted(files, key=lambda file: file.order), patch


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with open_text(path, "utf-8-sig") as file:
            lines = csv.DictReader(file, strict=True)
            rows = [{name: (it or "").strip() for name, it in row.items() if name} for row in lines]
            columns = lines.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as cause:
        raise DataError(f"{path} cannot be read as a manifest ({cause}).") from cause
    if missing := [name for name in _NEEDED if name not in columns]:
        raise DataError(
            f"{path.name}: The manifest has no column {named(missing)}. It needs "
            f"{', '.join(_NEEDED)}, separated by commas."
        )
    for number, row in enumerate(rows, 2):
        if empty := [name for name in _NEEDED if not row[name]]:
            raise DataError(f"{path.name}, line {number}: {named(empty)} is empty.")
    if not rows:
        raise DataError(f"{path.name}: The manifest names no patch.")
    return rows


def _require_two_classes(path: Path, rows: list[dict[str, str]]) -> None:
    others = Counter(row["label"] for row in rows if row["label"] not in ("0", "1"))
    if others:
        said = ", ".join(f"{label} ({count:,})" for label, count in sorted(others.items())[:8])
        raise DataError(
            f"{path.name}: A label is 0 (not IDC) or 1 (IDC); other labels there: {said}. A model "
            "tells two classes apart: change these labels, or remove their lines."
        )


def _groups(path: Path, rows: list[dict[str, str]]) -> dict[str, str]:
    """Return what each case belongs to: its group, or itself."""
    groups: dict[str, str] = {}
    for row in rows:
        case, group = row["case"], row.get("group") or row["case"]
        if groups.setdefault(case, group) != group:
            raise DataError(
                f"{path.name}: Case {case} is in the groups {groups[case]} and {group}. A case "
                "belongs to one."
            )
    return groups


def _placed(
    path: Path, rows: list[dict[str, str]], groups: dict[str, str], side_px: int
) -> list[PatchFile]:
    """Give each patch its place; slides of a group come below each other.

    Where no place is known, patches lie in a row.
    """
    tops: dict[tuple[str, str, str], int] = {}
    height: Counter[str] = Counter()
    in_row: Counter[tuple[str, str, str]] = Counter()
    places: list[tuple[tuple[str, str, str], int, int]] = []
    lowest: Counter[tuple[str, str, str]] = Counter()
    for number, row in enumerate(rows, 2):
        key = groups[row["case"]], row["case"], row.get("slide", "")
        if row.get("row") and row.get("col"):
            try:
                at = int(row["row"]), int(row["col"])
            except ValueError as cause:
                raise DataError(
                    f"{path.name}, line {number}: row and col must be whole numbers."
                ) from cause
            if min(at) < 0:
                raise DataError(f"{path.name}, line {number}: row and col must not be below 0.")
            if max(at) > _MOST_CELLS:
                raise DataError(
                    f"{path.name}, line {number}: row and col must not be above {_MOST_CELLS:,}."
                )
        else:
            at = 0, in_row[key]
            in_row[key] += 1
        places.append((key, *at))
        lowest[key] = max(lowest[key], at[0] + 1)
    for key in sorted(lowest):
        tops[key] = height[key[0]]
        height[key[0]] += lowest[key]
    return [
        PatchFile(
            key[0],
            1 + side_px * across,
            1 + side_px * (tops[key] + down),
            int(row["label"]),
            path.parent / row["file"],
        )
        for row, (key, down, across) in zip(rows, places, strict=True)
    ]


def _patch_size_beside(path: Path) -> PatchSize | None:
    try:
        said = read_json(path.with_suffix(".json"))
        return PatchSize(said["side_px"], said["spacing_um_px"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
