"""Pictures that are saved as files."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage, QImageWriter

from idc_desktop.errors import OutputError, not_written
from idc_desktop.storage.atomic import replacing, require_writable


def require_place(path: Path) -> None:
    """Raise `OutputError` if a picture cannot be saved there, before anything is done for it."""
    picture = QImage(1, 1, QImage.Format.Format_RGB32)
    picture.fill(0)
    _encoded(picture, path)
    try:
        require_writable(path)
    except OSError as error:
        raise not_written(_not_written(path), error) from error


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
    data = _encoded(picture, path)
    try:
        with replacing(path, mode) as file:
            file.write(data)
    except OSError as error:
        raise not_written(_not_written(path), error) from error


def _encoded(picture: QImage, path: Path) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, (path.suffix[1:] or "png").encode()).write(picture):
        raise OutputError(f"{_not_written(path)} in this format. Let its name end in .png.")
    return bytes(buffer.data().data())


def _not_written(path: Path) -> str:
    return f"{path.name}: The picture cannot be written"
