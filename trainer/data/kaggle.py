"""Patches in the Kaggle layout: ``<case>/<0|1>/<case>_idx5_x<X>_y<Y>_class<0|1>.png``.

A folder of patches that is neither ``0`` nor ``1`` holds a class that no model here knows: it is
refused, not left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from idc_desktop.plain_text import counted
from trainer.data.manifest import MANIFEST
from trainer.data.patch_files import PatchFile, Status
from trainer.errors import DataError, named

_NAME = re.compile(r"(?P<case>.+)_idx\d+_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.png")
_PATCH_LIKE = re.compile(r".+_x\d+_y\d+_class.+\.png", re.IGNORECASE)
"""What lies in the wrong folder, and yet was meant to be a patch."""


def _case_folders(data: Path) -> list[Path]:
    """Return the case folders, those nearest to the root first.

    Raises
    ------
    DataError
        A folder cannot be read, or holds patches of another class than 0 and 1.
    """
    found: list[Path] = []
    strange: list[Path] = []
    try:
        level = [data]
        for _ in range(3):
            below = [sub for one in level for sub in _sub_folders(one)]
            cases = [sub for sub in below if (sub / "0").is_dir() or (sub / "1").is_dir()]
            found += cases
            level = [sub for sub in below if sub not in set(cases)]
            inside = [sub for case in cases for sub in _sub_folders(case)]
            others = [sub for sub in inside if sub.name not in ("0", "1")]
            strange += [sub for sub in (*below, *others) if _holds_patches(sub)]
    except OSError as cause:
        raise DataError(
            f"{cause.filename} cannot be read ({cause.strerror}). Name the folder that holds the "
            "cases."
        ) from cause
    if strange:
        raise DataError(
            f"{counted(len(strange), 'folder')} of patches named neither 0 (not IDC) nor 1 "
            f"(IDC): {named([sub.relative_to(data).as_posix() for sub in strange])}. A model tells "
            "two classes apart: move these patches into 0 or 1, or out of the data."
        )
    return found


def _sub_folders(folder: Path) -> list[Path]:
    """Return what may hold patches; hidden folders are those of other programs."""
    return [
        sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")
    ]


def _holds_patches(folder: Path) -> bool:
    return any(_PATCH_LIKE.fullmatch(path.name) for path in folder.iterdir())


def _files(case: Path) -> list[Path]:
    """Return the files of a case's class folders in order; hidden ones are no patches."""
    try:
        return sorted(
            path
            for label in "01"
            if (case / label).is_dir()
            for path in (case / label).iterdir()
            if path.is_file() and not path.name.startswith(".")
        )
    except OSError as cause:
        raise DataError(
            f"{cause.filename} cannot be read ({cause.strerror}). Make it readable, or move its "
            "case elsewhere."
        ) from cause


def find_patches(data: Path) -> list[PatchFile]:
    """Find the files of a folder of case folders (or of one whose sub-folder holds them).

    Raises
    ------
    DataError
        Nothing there is named as a patch, a folder cannot be read, or it holds a third class.
    """
    records: list[PatchFile] = []
    seen: set[tuple[str, int, int, int]] = set()
    for folder in _case_folders(data):
        for path in _files(folder):
            match = _NAME.fullmatch(path.name)
            if match is None:
                flaw = "a patch is named CASE_idx5_xX_yY_class0.png, or ..._class1.png"
                label = int(path.parent.name)
                records.append(PatchFile(folder.name, 0, 0, label, path, Status.BAD_NAME, flaw))
                continue
            record = PatchFile(
                folder.name, int(match["x"]), int(match["y"]), int(match["label"]), path
            )
            key = (record.case, record.x, record.y, int(path.parent.name))
            if key in seen:
                record.status = Status.NESTED_COPY
            elif match["label"] != path.parent.name or match["case"] != folder.name:
                record.status = Status.LABEL_DISAGREEMENT
                record.flaw = f"it lies in case {folder.name}, folder {path.parent.name}"
            seen.add(key)
            records.append(record)
    if not any(record.status is Status.OK for record in records):
        raise DataError(
            f"{data} holds no patch named <case>/<0|1>/<case>_idx5_x<X>_y<Y>_class<0|1>.png, and "
            f"no {MANIFEST}. Name the folder that holds the case folders, or a manifest."
        )
    return sorted(records, key=lambda record: record.order)
