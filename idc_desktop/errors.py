"""The failures that a user can cause or mend; each knows its exit code.

Messages are whole sentences that say what is wrong, in which file, and what to do next. Anything
that is not an `IdcError` is a defect of ours.
"""

from __future__ import annotations

import errno

_REMEDIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ENOSPC", "EDQUOT"), "free some space, or {elsewhere}"),
    (("EFBIG",), "{elsewhere}, on a disk that takes files of this size"),
    (("EACCES", "EPERM"), "check the permissions, or {elsewhere}"),
    (("EROFS",), "{elsewhere}: this disk is read-only"),
    (("ENAMETOOLONG",), "shorten the name, or {elsewhere}"),
    (("ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY"), "move away what is there, or {elsewhere}"),
    (("ENOENT",), "check that its folder is there, or {elsewhere}"),
    (("ELOOP",), "remove the link, or {elsewhere}"),
    (("EBUSY", "ETXTBSY"), "close the program that has it open, or {elsewhere}"),
    (("EAGAIN",), "wait for it, then try again, or {elsewhere}"),
    (("EMFILE", "ENFILE", "ENOMEM"), "close other programs, then try again"),
)
_OTHER_REMEDY = "check the disk or network drive, or {elsewhere}"
_HELD_OPEN = (32, 33)  # how Windows says that another program has a file open


class IdcError(Exception):
    """Base of every expected failure."""

    exit_code = 3


class SlideError(IdcError):
    """The slide cannot be opened, or must not be analyzed."""


class SlideReadError(SlideError):
    """Pixels of an open slide cannot be decoded."""


class SlideChangedError(SlideError):
    """The slide's file was replaced, edited or removed while it was being read."""


class ResolutionError(SlideError):
    """The slide's resolution (mpp) is unknown or unusable for the model."""


class ModelError(IdcError):
    """The model file is missing, damaged, or breaks the model contract."""


class RegionsError(IdcError):
    """The regions file cannot be used."""


class ProjectError(IdcError):
    """The file of a project, a list of slides, cannot be used."""


class ExportError(IdcError):
    """An exported folder is incomplete or was changed."""


class FormatError(ExportError):
    """A format cannot hold what is exported; others may.

    Attributes
    ----------
    format : str
        Its name.
    """

    def __init__(self, subject: str, name: str, reason: str) -> None:
        super().__init__(f"{subject}: --format {name} is not possible: {reason}.")
        self.format = name


class OutputError(IdcError):
    """Results or the store cannot be written."""

    exit_code = 5


class ForeignResultsError(OutputError):
    """Results would replace those of another slide, which nobody allowed.

    Attributes
    ----------
    finding : str
        What lies there; the message goes on with what to do on the command line.
    """

    def __init__(self, finding: str) -> None:
        super().__init__(
            f"{finding} Give --overwrite to replace it, or choose another folder with --out."
        )
        self.finding = finding


class UsageError(IdcError):
    """The command line makes no sense."""

    exit_code = 2


class AnalysisCancelledError(IdcError):
    """The user stopped the analysis; what was committed is kept."""

    exit_code = 130


class DisplayError(IdcError):
    """No window can be shown here."""


class DefectError(IdcError):
    """A defect of ours in another process; the message is its traceback."""

    exit_code = 1

    @property
    def summary(self) -> str:
        """The last line of the traceback."""
        return str(self).strip().splitlines()[-1]


class GarbledMessageError(DefectError):
    """Another process sent what makes no sense; the message says what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The reader process sent what makes no sense ({what})")


def cancelled(subject: str) -> AnalysisCancelledError:
    """Return the error that ends an analysis which the user stopped.

    Parameters
    ----------
    subject : str
        Name of the slide.
    """
    return AnalysisCancelledError(
        f"{subject}: Cancelled. What was analyzed is kept: run the same command to go on."
    )


def reader_lost(subject: str, how: object) -> SlideError:
    """Return the error that ends the work on a file at which every reader process died or hung.

    Parameters
    ----------
    subject : str
        Name of the file.
    how : object
        What became of the last process, such as ``was ended by SIGABRT``.
    """
    return SlideError(
        f"{subject}: The reader process {how}, again and again. The file is damaged, its disk does "
        "not answer, or memory ran out."
    )


def slide_replaced(subject: str) -> SlideChangedError:
    """Return the error of a slide that is shown and is no longer the file that was opened."""
    return SlideChangedError(f"{subject}: The file changed on disk, or is gone. Open it again.")


def cause_of(error: OSError) -> str:
    """Return why the system refused, without any path."""
    return error.strerror or str(error)


def remedy_for(error: OSError, elsewhere: str = "choose another folder") -> str:
    """Return what to do about a file that cannot be written, as the rest of a sentence.

    Parameters
    ----------
    elsewhere : str
        What helps in any case, such as ``choose another folder with --out``.
    """
    if getattr(error, "winerror", None) in _HELD_OPEN:
        return remedy_for(OSError(errno.EBUSY, ""), elsewhere)
    name = errno.errorcode.get(error.errno or 0, "")
    found = (text for names, text in _REMEDIES if name in names)
    return next(found, _OTHER_REMEDY).format(elsewhere=elsewhere)


def not_written(
    what: str, error: OSError, elsewhere: str = "choose another folder", kept: str = ""
) -> OutputError:
    """Return the error that says what cannot be written, why, and what to do about it.

    Parameters
    ----------
    what : str
        As ``shot.png: The picture cannot be written``.
    elsewhere : str
        See `remedy_for`.
    kept : str
        What is not lost, as the end of the sentence.
    """
    remedy = remedy_for(error, elsewhere)
    tail = f"; {kept}" if kept else ""
    return OutputError(f"{what} ({cause_of(error)}). {remedy[:1].upper()}{remedy[1:]}{tail}.")


def no_room_for_temporary_files(error: OSError) -> OutputError:
    """Return the error that ends what needs a temporary file or folder and cannot have it."""
    if isinstance(error, FileNotFoundError):  # so `tempfile` says that it has tried every place
        error = OSError(errno.ENOSPC, "no folder takes any")
    elsewhere = "name another folder for them in TMPDIR"
    return not_written("Temporary files cannot be written", error, elsewhere)


_BY_NAME: dict[str, type[IdcError]] = {
    error.__name__: error
    for error in (
        SlideError,
        SlideReadError,
        SlideChangedError,
        ResolutionError,
        ModelError,
        RegionsError,
        ExportError,
        OutputError,
        UsageError,
        AnalysisCancelledError,
        DefectError,
    )
}


def from_name(name: str, message: str) -> IdcError:
    """Rebuild an error that another process reported by its class name."""
    return _BY_NAME.get(name, IdcError)(message)
