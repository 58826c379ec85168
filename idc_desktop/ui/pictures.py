"""Pictures that are saved as files."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage, QImageWriter

from idc_desktop.errors import OutputError, not_written
from idc_desktop.storage.atomic import replacing


def save_picture(picture: QImage, path: Path, mode: int = 0o666) -> None:
    """Write a picture in the format that the suffix names, PNG if there is none.

    Parameters
    ----------
    mode : int
        Permissions, as `idc_desktop.storage.atomic.replacing` takes them.

    Raises
    ------
    OutputError
        It cannot be written; what was there before is untouched.
    """
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    what = f"{path.name}: The picture cannot be written"
    if not QImageWriter(buffer, (path.suffix[1:] or "png").encode()).write(picture):
        raise OutputError(f"{what} in this format. Let its name end in .png.")
    try:
        with replacing(path, mode) as file:
            file.write(buffer.data().data())
    except OSError as error:
        raise not_written(what, error) from error
