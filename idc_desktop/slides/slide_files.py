"""The files that make up a slide: which they are, whether they changed, their identity.

What belongs to a slide is what the slide itself names, never what else lies in its folder: results
written there, copies, and what operating systems leave behind do not make it another slide.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.errors import SlideChangedError, SlideError
from idc_desktop.slides import preflight
from idc_desktop.slides.dicom_header import is_dicom, read_header

_SAMPLE_BYTES = 64 << 10
_SAMPLES = 64
_END_BYTES = 1 << 20

_SLIDEDAT = "Slidedat.ini"
_SLIDEDAT_BYTES = 1 << 20  # OpenSlide takes no larger one,
_KEY_FILE_BYTES = 64 << 10  # and no larger one of Hamamatsu
_HAMAMATSU_GROUPS = ("Virtual Microscope Specimen", "Uncompressed Virtual Microscope Specimen")
_HAMAMATSU_KEYS = re.compile(r"(ImageFile|MapFile|OptimisationFile|MacroImage)\b")

_RULE = "sha256 of size, ends and 64 samples of"
_ONE_FILE = f"{_RULE} the file (rule 1)"
_SERIES = f"{_RULE} each member of the DICOM series, by SOPInstanceUID (rule 2)"
_MIRAX = f"{_RULE} each file that Slidedat.ini names (rule 2)"
_HAMAMATSU = f"{_RULE} each file that the VMS or VMU file names (rule 2)"


@dataclass(frozen=True)
class _Stamp:
    """What the file system says of a file.

    A changed content shows in the first. Only one that was put back with size and time shows in
    nothing but `entry_ns`, the time at which the file's entry changed; this also follows new
    permissions, links, marks of a backup.
    """

    content: tuple[int, int, int, int]
    entry_ns: int


@dataclass
class _Member:
    """A file of the slide, as it was found; without a stamp if it was not there.

    `place` is its place among the others: members of one place are copies, unless they differ.
    """

    path: Path
    place: str
    stamp: _Stamp | None
    digest: bytes


class SlideFiles:
    """The files of one slide, as they were before it was opened.

    Parameters
    ----------
    path : Path
        The file that is to be opened.

    Attributes
    ----------
    identity : str
        SHA-256 of the size, both ends and 64 samples of each file, in hex digits. It does not
        depend on the names of the files, and is blind to edits between the samples.
    identity_kind : str
        The rule by which it was found.
    missing : tuple of str
        Files that the slide names and that are not there.

    Raises
    ------
    SlideError
        One of the files cannot be read, is no regular file, or lies outside the slide's folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._series_uid, self._other_slides = "", list[str]()
        self.identity_kind, places = self._find()
        self._members = [_found(it, place) for it, place in places.items()]
        self.missing = tuple(it.path.name for it in self._members if it.stamp is None)
        digests = [digest for _, digest in sorted({(it.place, it.digest) for it in self._members})]
        joined = hashlib.sha256(b"".join(digests)).digest()
        self.identity = (digests[0] if len(digests) == 1 else joined).hex()

    def confirm(self, vendor: str) -> None:
        """Raise `SlideError` if the decoder took the file for a format that has more files."""
        if self.identity_kind == _ONE_FILE and vendor in ("dicom", "mirax"):
            raise SlideError(f"{self._path.name}: It mixes two formats. The file is damaged.")

    def refuse_other_series(self) -> None:
        """Raise `SlideError` if another DICOM slide lies in the same folder."""
        if self._other_slides:
            raise SlideError(
                f"{self._path.parent.name}: This folder holds several slides. Give a file of the "
                f"one to read, such as {self._path.name} or {self._other_slides[0]}."
            )

    def check_unchanged(self) -> None:
        """Raise `SlideChangedError` unless the files are those that were opened.

        Where only a file's entry changed, the identity's samples of its content decide. Any number
        of threads may ask.
        """
        name = self._path.name
        try:
            same = all(_is_unchanged(it) for it in self._members)
        except (OSError, SlideError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no file any more"
            raise SlideChangedError(
                f"{name}: The slide is no longer there ({reason}). What was analyzed "
                "is kept: run the same command again when it is back."
            ) from error
        if not same:
            raise SlideChangedError(
                f"{name}: The slide changed on disk while it was being read. Run the same "
                "command again."
            )

    def former_identities(self) -> list[str]:
        """Return by what older rules know the slide, without `identity`.

        Rule 1 counted all that lies in the folder of a slide of several files: what came or went
        there since then hides what it made of them.
        """
        if self.identity_kind == _ONE_FILE:
            return []
        with contextlib.suppress(OSError):  # what is not of the slide need not be readable
            former = self._by_rule_1()
            return [former] if former != self.identity else []
        return []

    def _find(self) -> tuple[str, dict[Path, str]]:
        """Return the rule, and each file with its place."""
        path = self._path
        if preflight.is_dicom_slide(path):
            return _SERIES, self._series()
        if preflight.is_tiff(path):
            return _ONE_FILE, {path: ""}
        if path.suffix.lower() == ".mrxs":
            slidedat = path.with_suffix("") / _SLIDEDAT
            groups = _key_file(slidedat, _SLIDEDAT_BYTES)
            if groups:
                return _MIRAX, _in_order(path, slidedat, _mirax_names(groups))
        else:
            groups = _key_file(path, _KEY_FILE_BYTES)
            for group in filter(groups.__contains__, _HAMAMATSU_GROUPS):
                named = groups[group].items()
                names = [name for key, name in named if name and _HAMAMATSU_KEYS.match(key)]
                return _HAMAMATSU, _in_order(path, path, names)
        return _ONE_FILE, {path: ""}

    def _series(self) -> dict[Path, str]:
        folder = self._path.parent
        headers = {self._path: read_header(self._path)}
        with preflight.reading(self._path.name):
            entries = sorted(folder.iterdir())
        for path in entries:
            # OpenSlide opens each of them, and would wait for ever for a pipe.
            with contextlib.suppress(OSError):
                if not path.is_dir() and preflight.regular_status(path) is not None:
                    headers[path] = read_header(path)
        own = headers[self._path]
        self._series_uid = own.series_uid if own is not None else ""
        members = {self._path: ""}
        for path, header in headers.items():
            if header is None:
                continue
            if path == self._path or header.series_uid == self._series_uid != "":
                if problem := header.problem(path.stat().st_size):
                    raise SlideError(f"{path.name}: {problem}. The file is damaged.")
                members[path] = header.instance_uid
            elif header.is_level:
                self._other_slides.append(path.name)
        return members

    def _by_rule_1(self) -> str:
        path, folder = self._path, self._path.parent
        files = {path}
        if self.identity_kind == _SERIES:
            uid = self._series_uid.encode("ascii")
            files |= {it for it in preflight.regular_files(folder) if _mentions(it, uid)}
        elif self.identity_kind == _MIRAX:
            files |= {it for it in (folder / path.stem).rglob("*") if it.is_file()}
        elif path.suffix.lower() in (".vms", ".vmu"):
            text = path.read_bytes()
            files |= {it for it in preflight.regular_files(folder) if os.fsencode(it.name) in text}
        named = sorted((it.relative_to(folder).as_posix(), it) for it in files)
        digest = hashlib.sha256()
        for name, it in named:
            if len(named) > 1:
                digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
            _update_with_samples(digest, it)
        return digest.hexdigest()


def _found(path: Path, place: str) -> _Member:
    digest = hashlib.sha256()
    with preflight.reading(path.name):
        stamp = _stamp(path)
        if stamp is not None:
            _update_with_samples(digest, path)
    return _Member(path, place, stamp, digest.digest())


def _is_unchanged(member: _Member) -> bool:
    now = _stamp(member.path)
    if now == member.stamp:
        return True
    if now is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if member.stamp is None or now.content != member.stamp.content:
        return False
    digest = hashlib.sha256()
    _update_with_samples(digest, member.path)
    if digest.digest() != member.digest:
        return False
    member.stamp = now
    return True


def _stamp(path: Path) -> _Stamp | None:
    it = preflight.regular_status(path)
    if it is None:
        return None
    return _Stamp((it.st_dev, it.st_ino, it.st_size, it.st_mtime_ns), it.st_ctime_ns)


def _in_order(path: Path, owner: Path, names: Iterable[str]) -> dict[Path, str]:
    """Return a slide's files and their places: those that `owner` names lie beside it."""
    paths = dict.fromkeys([path, owner])
    for name in names:
        # A name with a folder leads out of what is copied, moved and watched as the slide.
        if name == ".." or Path(name).name != name or "\\" in name or "\0" in name:
            raise SlideError(
                f"{path.name}: {owner.name} names a file in another folder ({name!r}). Put all "
                "files of the slide beside each other, as the scanner did."
            )
        paths[owner.parent / name] = None
    return {it: f"{number:06}" for number, it in enumerate(paths)}


def _mirax_names(groups: dict[str, dict[str, str]]) -> list[str]:
    hierarchical, data = groups.get("HIERARCHICAL", {}), groups.get("DATAFILE", {})
    names = [hierarchical[it] for it in ("INDEXFILE",) if it in hierarchical]
    number = 0
    while (key := f"FILE_{number}") in data:
        names.append(data[key])
        number += 1
    return names


def _key_file(path: Path, max_bytes: int) -> dict[str, dict[str, str]]:
    """Read groups of keys as OpenSlide does; empty if it is no such file, or too large for one."""
    with preflight.reading(path.name):
        status = preflight.regular_status(path)
        if status is None or status.st_size > max_bytes:
            return {}
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    groups: dict[str, dict[str, str]] = {}
    keys: dict[str, str] = {}
    for line in map(str.strip, text.split("\n")):
        if line.startswith("[") and line.endswith("]"):
            keys = groups.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            keys[key.strip()] = value.strip()
    return groups


def _mentions(path: Path, uid: bytes) -> bool:
    if not uid or not is_dicom(path):
        return False
    with path.open("rb") as file:
        # Not where it is but the beginning of another.
        return re.search(re.escape(uid) + rb"(?![0-9.])", file.read(_END_BYTES)) is not None


def _update_with_samples(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "little"))
        last = max(0, size - _END_BYTES)
        ends = [(0, _END_BYTES), (last, _END_BYTES)]
        step = size / _SAMPLES
        for offset, length in ends + [(int(k * step), _SAMPLE_BYTES) for k in range(_SAMPLES)]:
            file.seek(offset)
            digest.update(file.read(length))
