"""Files that are written whole or not at all, alone or several together.

What is being written has a name that nobody else uses, in the folder where it belongs, and takes
its own name when it is complete and on the disk. Every `OSError` names the file that was to be
written, never the temporary one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from types import TracebackType

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TEMPORARY = re.compile(r"\.idc-desktop-[0-9a-f]{16}\.tmp")
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
PATIENCE_S = 10.0
"""Files take their names within milliseconds; whoever needs longer has been stopped."""

_LOOK_EVERY_S = 0.02
_LOCK_FILES = 256  # those that are left behind are few, whatever number of folders was written

_UNSUPPORTED = {
    *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY),
    *(errno.EBADF, errno.EISDIR, errno.ENOLCK, errno.EACCES, errno.EPERM),
}
"""How systems say that a folder cannot be synced, or a file not be locked, where it lies."""


@contextlib.contextmanager
def replacing(
    path: Path, mode: int = 0o666, *, is_follow_up: bool = False
) -> Iterator[BufferedRandom]:
    """Open a file that takes the place of `path` when the block ends well.

    Parameters
    ----------
    mode : int
        Permissions, less those that the user's umask takes away.
    is_follow_up : bool
        What is written is made of what `path` holds, which the block reads: no other process
        replaces it meanwhile, so that of two changes none is lost.

    Yields
    ------
    file : binary file
        For writing and reading; removed if the block raises.

    Raises
    ------
    OSError
        It cannot be written; what `path` held before is untouched.
    """
    _remove_leftovers(path.parent, path.parent)
    with contextlib.ExitStack() as stack:
        if is_follow_up:
            stack.enter_context(locked(path.parent))
        temporary = stack.enter_context(_Temporary(path, mode))
        with _blaming(path):
            yield temporary.file
        temporary.finish()
        if not is_follow_up:
            stack.enter_context(locked(path.parent))
        temporary.rename()
    with _blaming(path):
        _sync_folder(path.parent)


class FileGroup:
    """Files of one folder that take their places together when the block ends well.

    If it does not, the folder is as it was before: what was replaced is back, what is new is gone,
    and files of others are untouched. Of several processes that write the same group, one after
    the other replaces all of its files.

    Parameters
    ----------
    folder : Path
        Made if need be.
    patience_s : float
        How long to wait for another process that is replacing files of this folder.
    before : callable, optional
        Called when no other process can replace files any more, and before the first one is: what
        it raises leaves everything as it is.

    Raises
    ------
    BlockingIOError
        It takes longer.
    OSError
        A file cannot be written.

    Examples
    --------
    >>> with FileGroup(folder) as group:
    ...     with group.open("a.csv") as file:
    ...         file.write(b"a")
    ...     with group.open("further/b.csv") as file:
    ...         file.write(b"b")
    """

    def __init__(
        self,
        folder: Path,
        patience_s: float = PATIENCE_S,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._before = before
        self._temporaries: list[_Temporary] = []
        self._made: list[Path] = []
        self._cleaned: set[Path] = set()

    def __enter__(self) -> FileGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_done = False
        try:
            if kind is None:
                for temporary in self._temporaries:
                    temporary.finish()
                with locked(self._folder, self._patience_s):
                    self._before()
                    _replace_all(self._folder, self._temporaries)
                is_done = True
        finally:
            for temporary in self._temporaries:
                temporary.discard()
            for folder in reversed(self._made) if not is_done else ():
                with contextlib.suppress(OSError):  # somebody has put something there
                    folder.rmdir()

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BufferedRandom]:
        """Open a file of the group, for writing and reading.

        Parameters
        ----------
        name : str
            Its path in the folder, with ``/``.
        """
        path = self._folder / name
        temporary = self._temporary(path)
        self._temporaries.append(temporary)
        with _blaming(path):
            yield temporary.file

    def _temporary(self, path: Path) -> _Temporary:
        self._make(path.parent)
        if path.parent not in self._cleaned:
            self._cleaned.add(path.parent)
            _remove_leftovers(path.parent, self._folder)
        try:
            return _Temporary(path)
        except FileNotFoundError:  # a process that failed has removed the folder it had made
            self._make(path.parent)
            return _Temporary(path)

    def _make(self, folder: Path) -> None:
        missing = [it for it in (folder, *folder.parents) if not it.is_dir()]
        for part in reversed(missing):
            with _blaming(part):
                part.mkdir(exist_ok=True)
            self._made.append(part)


@contextlib.contextmanager
def locked(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[bool]:
    """Keep every other process from replacing files of a folder meanwhile.

    The system frees the lock when its holder dies, and nothing is left behind in the folder.

    Yields
    ------
    is_locked : bool
        False where no lock can be had: the block runs without.

    Raises
    ------
    BlockingIOError
        Another process has the lock, for longer than `patience_s`.
    """
    give_up_at = time.monotonic() + patience_s
    with contextlib.ExitStack() as cleanup:
        is_locked: bool | None = None
        for open_lock in (_open_folder, _open_lock_file):
            if is_locked:
                break
            try:
                descriptor = open_lock(folder)
            except OSError:
                continue
            cleanup.callback(os.close, descriptor)
            while (is_locked := try_lock(descriptor)) is False:
                if time.monotonic() >= give_up_at:
                    text = "another process writes here"
                    raise BlockingIOError(errno.EAGAIN, text, str(folder))
                time.sleep(_LOOK_EVERY_S)
        yield bool(is_locked)


def require_file_place(path: Path) -> None:
    """Raise `OSError` if a name is taken by what is no file: a folder, a pipe, a device.

    Nothing of it is opened; a link counts as what it leads to.
    """
    with _blaming(path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not stat.S_ISREG(mode):
            raise FileExistsError(errno.EEXIST, "a device or pipe has this name")


def require_writable(path: Path) -> None:
    """Raise `OSError` if no file can be written there; nothing is changed or left behind."""
    with _Temporary(path):
        pass


class _Temporary:
    """A file that is being written, under a name of its own.

    It is locked while it is open, so that others know that it is no leftover; Windows lets nobody
    remove an open file anyway.
    """

    def __init__(self, target: Path, mode: int = 0o666) -> None:
        self.target = target
        require_file_place(target)
        # What is wrong here is wrong with the folder, whatever file comes first.
        with _blaming(target.parent):
            while True:
                self.path = _free_name(target.parent)
                self.file = _create(self.path, mode)
                if sys.platform == "win32" or self._lock():
                    break
                self.file.close()

    def __enter__(self) -> _Temporary:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _lock(self) -> bool:
        """Lock it; False if it looked like a leftover before, and another process removes it."""
        return try_lock(self.file.fileno()) is not False and self.path.exists()

    def finish(self) -> None:
        """Put everything on the disk."""
        with _blaming(self.target):
            self.file.flush()
            _sync(self.file.fileno())
            self._about = os.fstat(self.file.fileno())

    def rename(self) -> None:
        """Take the place of the target."""
        with _blaming(self.target):
            if sys.platform == "win32":  # which renames no open file
                self.file.close()
            self.path.replace(self.target)

    def is_in_place(self) -> bool:
        """Whether the target is this very file."""
        return os.path.samestat(self.target.lstat(), self._about)

    def discard(self) -> None:
        """Close it, and remove it if it has not taken its place."""
        with contextlib.suppress(OSError):  # what is in the buffer may find no room
            self.file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _replace_all(folder: Path, temporaries: list[_Temporary]) -> None:
    """Let all files take their places, or leave everything as it is."""
    former: dict[Path, Path] = {}
    try:
        for temporary in temporaries:
            with _blaming(temporary.target):
                _keep(temporary.target, folder, former)
        for temporary in temporaries:
            temporary.rename()
        for place in {temporary.target.parent for temporary in temporaries}:
            with _blaming(place):
                _sync_folder(place)
    except BaseException:
        for temporary in reversed(temporaries):
            try:
                _put_back(temporary, former.get(temporary.target))
            except OSError:  # the disk fails in this, too: the former file stays beside the new one
                former.pop(temporary.target, None)
        raise
    finally:
        for kept in former.values():
            with contextlib.suppress(OSError):
                kept.unlink(missing_ok=True)


def _put_back(temporary: _Temporary, kept: Path | None) -> None:
    """Undo a rename, if there was one and nobody has replaced the file since."""
    if os.path.lexists(temporary.target) and temporary.is_in_place():
        if kept is None:
            temporary.target.unlink()
        else:
            kept.replace(temporary.target)


def _keep(path: Path, folder: Path, former: dict[Path, Path]) -> None:
    """Give a file that is there a second name, which goes back if a rename fails."""
    if not os.path.lexists(path):
        return
    former[path] = kept = _free_name(folder)
    try:
        os.link(path, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # no links on this disk, or none to files of others
        # Not copy2: on macOS it makes the copy of a locked file one that cannot be removed either.
        shutil.copyfile(path, kept, follow_symlinks=False)
        shutil.copymode(path, kept, follow_symlinks=False)


def _free_name(folder: Path) -> Path:
    return folder / f".idc-desktop-{secrets.token_hex(8)}.tmp"


def _create(path: Path, mode: int) -> BufferedRandom:
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | _NO_FOLLOW, mode)

    # Not Path.open, which takes no opener. The mode "x" refuses whatever has the name already.
    return open(path, "x+b", opener=opener)


def _remove_leftovers(folder: Path, of_folder: Path) -> None:
    """Remove the temporary files of processes that were killed.

    Parameters
    ----------
    of_folder : Path
        The folder of the group that they belong to. Only with its lock: the former files that a
        process keeps while it holds that lock are not locked themselves.
    """
    with contextlib.suppress(OSError), locked(of_folder, 0.0) as is_locked:
        with os.scandir(folder) as entries:
            found = [Path(it.path) for it in entries if _TEMPORARY.fullmatch(it.name)]
        for path in found if is_locked else ():
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode) and _is_abandoned(path):
                    path.unlink()


def _is_abandoned(path: Path) -> bool:
    """Whether no process has a temporary file open; on Windows its removal would fail."""
    if sys.platform == "win32":
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | _NO_FOLLOW)
    try:
        return try_lock(descriptor) is True
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    """Open a folder to sync it, or as its own lock: the same for every user and data folder."""
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "folders cannot be opened")
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _open_lock_file(folder: Path) -> int:
    """Open the file that stands for a folder which cannot be locked itself (Windows, NFS)."""
    name = hashlib.sha256(os.path.realpath(folder).encode("utf-8", "surrogateescape")).digest()
    path = Path(tempfile.gettempdir()) / f"idc-desktop-{name[0] % _LOCK_FILES:02x}.lock"
    return os.open(path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o666)


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed; False if somebody has, None if it cannot be locked."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        is_held = sys.platform == "win32" or error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
        return False if is_held else None
    return True


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    try:
        descriptor = _open_folder(folder)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return
        raise
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Put a file or folder on the disk; that of a network drive or container may not know how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Name `path` in place of a temporary file, or of none, in an `OSError`."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if not isinstance(name, str | os.PathLike) or _TEMPORARY.fullmatch(Path(name).name):
            error.filename, error.filename2 = str(path), None
        raise
