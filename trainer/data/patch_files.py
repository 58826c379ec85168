"""What is known of one file of a patch, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Status(StrEnum):
    """What became of one file of the data.

    One rule per flaw; each file is counted under exactly one, and only `OK` patches are ever used:

    - *nested copy*: the original archive repeats itself in a sub-folder; a patch (case, x, y,
      label) that was already met nearer to the root is not a second patch;
    - *bad name*: a file whose name does not follow the layout has no position;
    - *label disagreement*: folder and file name name two classes (or two cases): left out;
    - *missing*: the manifest names it, and it is not there;
    - *unreadable*: not decodable as an image: left out;
    - *not 8-bit RGB*: a model sees three channels of 256 values;
    - *odd size*: patches of another size would need invented pixels: left out;
    - *duplicate*: the same pixels again with the same label: only the first (by case, x, y) is
      kept;
    - *contradiction*: the same pixels, or the same position of a case, under both labels: all of
      them are left out.
    """

    OK = "ok"
    NESTED_COPY = "nested copy"
    BAD_NAME = "bad name"
    LABEL_DISAGREEMENT = "label disagreement"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    NOT_RGB = "not 8-bit RGB"
    ODD_SIZE = "odd size"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"


@dataclass
class PatchFile:
    """A file that is, or was meant to be, a patch.

    Attributes
    ----------
    case : str
        What is never split: a case, or the patient that the manifest names.
    x, y : int
        1-based position of the top-left corner, pixels of the patches' own scale.
    label : int
        1 = IDC.
    flaw : str
        What is wrong with it, beyond its status.
    row : int
        Where it lies in the array file.
    """

    case: str
    x: int
    y: int
    label: int
    path: Path
    status: Status = Status.OK
    flaw: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    row: int = -1

    @property
    def order(self) -> tuple[object, ...]:
        """What files are sorted by."""
        return self.case, self.x, self.y, self.label, self.status is not Status.OK
