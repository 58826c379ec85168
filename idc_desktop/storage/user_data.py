"""The user's data folder: where it is, and that it is closed to other users.

What lies in it tells where slides are and what was found on them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs

PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_MOUNTS = Path("/proc/self/mounts")
_NETWORK_DRIVES = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "afs", "glusterfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs", "pvfs2", "panfs"),
)


def data_folder() -> Path:
    """Return the user's data folder (``IDC_DESKTOP_DATA_DIR`` overrides it); not made here."""
    override = os.environ.get("IDC_DESKTOP_DATA_DIR")
    folder = override or platformdirs.user_data_dir("idc-desktop", False)
    return Path(folder).absolute()  # the engine, which is told of it, stands elsewhere


def network_drive(path: Path) -> str | None:
    """Return the kind of network drive that a path lies on, such as ``nfs4``; None if on none.

    Only Linux tells.
    """
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    place, best, kind = os.path.realpath(path), "", ""
    for line in mounts:
        _, at, its_kind, *_ = line.split(" ")
        at = at.replace("\\040", " ")
        if Path(place).is_relative_to(at) and len(at) >= len(best):
            best, kind = at, its_kind
    return kind if kind.startswith(_NETWORK_DRIVES) else None


def slide_folder(folder: Path, slide_identity: str) -> Path:
    """Return where everything of one slide is kept in a data folder; not made here."""
    return folder / "slides" / slide_identity[:32]


def make_folder(path: Path) -> None:
    """Make a folder in the data folder, and close both to other users.

    Raises
    ------
    OSError
        It cannot be made. One that cannot be closed is used as it is: it belongs to another user,
        or its disk knows no permissions.
    """
    missing = [it for it in (path, *path.parents) if not it.exists()]
    for it in reversed(missing):
        it.mkdir(_PRIVATE_FOLDER, exist_ok=True)
    if not path.is_dir():
        path.mkdir()  # raises what is wrong with it
    for it in {path, data_folder()} & {path, *path.parents}:
        _close(it, _PRIVATE_FOLDER)


def make_file(path: Path) -> None:
    """Make an empty file if there is none, and close it to other users.

    One that is there is not opened: closing it again would take the locks of this process off it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
    except FileExistsError:
        _close(path, PRIVATE_FILE)


def keep_aside(path: Path) -> None:
    """Give a damaged file another name, such as ``settings.corrupt-1.json``; if it goes."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.corrupt-{number}{path.suffix}")).exists():
        number += 1
    with contextlib.suppress(OSError):
        path.rename(aside)


def _close(path: Path, mode: int) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            path.chmod(mode)
