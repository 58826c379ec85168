"""The store: what was computed, on local disk, safe against kills at any moment.

A folder per slide identity, in it one SQLite file per run. Only one process opens a run file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from idc_desktop import plain_files
from idc_desktop.closing import Closing
from idc_desktop.errors import OutputError, cause_of, remedy_for
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import PATCH, pack, unpack
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.models.card import Model, card_without_golden
from idc_desktop.models.provider import Provider, ProviderChoice
from idc_desktop.storage.database import (
    FACTS,
    FileKind,
    Rows,
    Version,
    as_os_error,
    fact,
    facts_of,
    is_held,
    open_file,
    put,
    transaction,
)
from idc_desktop.storage.salvage import Table
from idc_desktop.storage.user_data import slide_folder

APPLICATION_ID = 0x49444331
"""``IDC1``: says to SQLite tools whose file this is."""

_RUN = Table(
    "CREATE TABLE run (key TEXT NOT NULL, settings TEXT NOT NULL)",
    lambda row: _is_own_key(*row),
)
_PATCH_BLOCKS = Table(  # until version 3: of the patch layer alone
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, millionths BLOB NOT NULL, reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
    lambda row: _is_sound(row, _with_layers),
)
_BLOCKS = Table(
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, layer_names TEXT NOT NULL, layer_values BLOB NOT NULL, "
    "reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
    lambda row: _is_sound(row),
)
_KIND = FileKind(
    "run file",
    "block",
    APPLICATION_ID,
    {
        1: Version((_RUN, _PATCH_BLOCKS)),
        3: Version((FACTS, _RUN, _PATCH_BLOCKS)),
        4: Version((FACTS, _RUN, _BLOCKS), lambda rows: _upgraded(rows)),
        8: Version((FACTS, _RUN, _BLOCKS)),  # a block may be there in part
    },
    patience_s=3.0,  # an engine that was just cancelled ends its block before it gives it free
)
FORMAT_VERSION = _KIND.newest

_KEY_DIGITS = 32  # of the run key, in the name of its file
_CARD, _ANALYZED, _PARTIAL = (
    "card",
    "analyzed",
    "partial",
)  # facts; the others are fields of `RunFacts`, too


def run_key(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that decides a run's numbers."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def adopt(folder: Path, slide_identity: str, former: Callable[[], Iterable[str]]) -> None:
    """Take over what is kept of a slide that an earlier version knew by another identity.

    Its folder is renamed as a whole, with the regions and all runs, so that a kill leaves it under
    one name or the other. Where there is a folder of the new identity already, that one counts, and
    the former stays as it is.

    Parameters
    ----------
    folder : Path
        The data folder.
    former : callable
        Returns the identities by older rules, the latest first; only asked if there is need.

    Raises
    ------
    OutputError
        There is something to take over, and it cannot be.
    """
    place = slide_folder(folder, slide_identity)
    try:
        if place.exists() or not place.parent.exists():
            return
        for identity in former():
            with contextlib.suppress(FileNotFoundError):
                slide_folder(folder, identity).rename(place)
                return
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
            return
        raise OutputError(
            f"{place.name}: What an earlier version kept of this slide cannot be taken over "
            f"({error.strerror}). Close other windows of IDC Desktop, check the permissions of the "
            "data folder, then try again."
        ) from error


def run_path(folder: Path, slide_identity: str, settings: Mapping[str, Any]) -> Path:
    """Return where the run of these settings is, or would be."""
    return _find_run(folder, slide_identity, settings)[0]


def _find_run(
    folder: Path, slide_identity: str, settings: Mapping[str, Any]
) -> tuple[Path, Mapping[str, Any]]:
    """Return the file of a run, and the settings by which it is known there.

    They name the slide by the identity of their time; all that lies in its folder is of the slide.
    """
    place = slide_folder(folder, slide_identity)
    path = place / _file_name(settings)
    if not path.exists():
        wanted = run_key({**settings, "slide": slide_identity})
        for other in _run_files(place):
            with contextlib.suppress(OSError), plain_files.open_file(other) as file:
                for _, text in _RUN.find(file.read()):
                    stored = json.loads(text)
                    is_same = run_key({**stored, "slide": slide_identity}) == wanted
                    if is_same and other.name == _file_name(stored):
                        return other, stored
    return path, settings


def _run_files(place: Path) -> list[Path]:
    return sorted(place.glob(f"run-{_KEY_DIGITS * '?'}.sqlite"))


def _file_name(settings: Mapping[str, Any]) -> str:
    return f"run-{run_key(settings)[:_KEY_DIGITS]}.sqlite"


@dataclass(frozen=True)
class RunFacts:
    """What a run file keeps of a run beside its settings and blocks.

    Attributes
    ----------
    card : mapping
        The model's, without golden patches: a run outlives its model.
    provider, versions : mapping
        What the engine ran on, and who computed.
    partial : bool
        Only some areas were asked for.
    """

    card: Mapping[str, Any]
    provider: Mapping[str, Any]
    versions: Mapping[str, str]
    partial: bool = False


class RunStore(Closing):
    """One run's file, held exclusively while it is open.

    Parameters
    ----------
    folder : Path
        The data folder.
    slide_identity : str
    settings : mapping
        What decides the run's numbers; its hash is the run key.
    restart : bool
        Forget what an earlier run of the same key computed.
    about : RunFacts
        Is kept with what is committed; the model's card also with what was committed without.
    slide_name : str, optional
        For the message that the run is another process's; else the file's name.

    Attributes
    ----------
    restored : tuple of int
        Numbers of the blocks that an earlier run already committed as a whole, all verified.
    is_partial : bool
        What was committed last was asked for in some areas only.
    analyzed : str or None
        When the last block was committed (UTC); None if nobody noted it.
    notes : tuple of str
        What was found wrong with the file, and what was done about it.

    Raises
    ------
    OutputError
        The file cannot be written, another process holds it, or a newer version wrote it.
    """

    def __init__(
        self,
        folder: Path,
        slide_identity: str,
        settings: Mapping[str, Any],
        restart: bool,
        about: RunFacts | None = None,
        slide_name: str | None = None,
    ) -> None:
        self.path, settings = _find_run(folder, slide_identity, settings)
        self._slide_name = slide_name or self.path.name
        self._key = run_key(settings)
        self.notes: tuple[str, ...] = ()

        def check(rows: Rows) -> str | None:
            is_ours = [key for key, _ in rows[_RUN.name]] == [self._key]
            return None if is_ours else "it belongs to another run"

        first = {_RUN.name: [(self._key, json.dumps(settings, sort_keys=True))]}
        try:
            opened = open_file(self.path, _KIND, first, check)
            self._database = opened.database
            rows = opened.rows[_BLOCKS.name]
            self._begun = {row[0] for row in rows}
            self.restored = tuple(sorted(row[0] for row in rows if _is_whole(row)))
            if opened.damage is not None:
                self.notes = (
                    f"The stored run file was damaged ({opened.damage.reason}); it is kept as "
                    f"{opened.damage.kept}. {len(rows)} block(s) were saved, the others "
                    "are computed again.",
                )
            facts = facts_of(opened.rows)
            self.is_partial = facts.get(_PARTIAL) is True
            self.analyzed: str | None = facts.get(_ANALYZED)
            # What was committed by others stays theirs; the card is the same by the run's key.
            self._untold = [fact(*it) for it in asdict(about).items()] if about is not None else []
            if restart:
                with self._writing():
                    self._database.execute("DELETE FROM block")
                self.restored, self.analyzed, self._begun = (), None, set()
            elif about is not None and _CARD not in facts:
                with self._writing():
                    put(self._database, FACTS, [fact(_CARD, about.card)])
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error

    def commit(self, results: list[BlockResult]) -> list[BlockResult]:
        """Make results durable in one transaction; they survive any kill after this returns.

        Returns
        -------
        list of BlockResult
            What is known of these blocks now: with what was committed before of the patches that a
            result says nothing of.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._writing():
            whole = [
                it.over(self._find(it.block.number)) if it.block.number in self._begun else it
                for it in results
            ]
            put(self._database, _BLOCKS, [_to_row(result) for result in whole])
            put(self._database, FACTS, [*self._untold, fact(_ANALYZED, now)])
        self.analyzed, self._untold = now, []
        self._begun |= {it.block.number for it in whole}
        return whole

    def _find(self, number: int) -> BlockResult:
        statement = "SELECT * FROM block WHERE number = ?"
        return _from_row(self._database.execute(statement, (number,)).fetchone())

    def results(self) -> Iterator[BlockResult]:
        """Yield the committed results in the order of their numbers."""
        for row in self._database.execute("SELECT * FROM block ORDER BY number"):
            yield _from_row(row)

    def close(self) -> None:
        """Close the file and give it free."""
        self._database.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with transaction(self._database):
                yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> OutputError:
        if is_held(error):
            return OutputError(
                f"{self._slide_name}: Another process is analyzing this slide with the same "
                "settings. Wait for it, or cancel it."
            )
        cause = as_os_error(error)
        return OutputError(
            f"{self.path.name}: The data folder cannot be written ({cause_of(cause)}). What was "
            f"committed is kept; {remedy_for(cause, 'use another data folder')}, then run the same "
            "command again."
        )


@dataclass(frozen=True)
class StoredRun:
    """A finished run as its file has it.

    Attributes
    ----------
    settings : mapping
        What decided its numbers.
    facts : mapping
        `RunFacts` by name, and when it was `analyzed`; none of runs of version 1.
    results : tuple of BlockResult
    """

    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    results: tuple[BlockResult, ...]

    @property
    def analyzed(self) -> str | None:
        """When its last block was committed (UTC); None if nobody noted it."""
        when = self.facts.get(_ANALYZED)
        return when if isinstance(when, str) else None

    @property
    def model(self) -> Model | None:
        """The model that computed it; None if nobody kept its card."""
        try:
            return Model(self.settings["model"], card_without_golden(self.facts.get(_CARD)))
        except ValueError:
            return None

    @property
    def provider(self) -> ProviderChoice:
        """What it ran on."""
        used = self.settings["provider"]
        known = {"requested": used, "used": used, "fallback_reason": None}
        return ProviderChoice(**self.facts.get("provider", known))

    @property
    def versions(self) -> dict[str, str]:
        """Who computed it; of runs of version 1 only what decided the numbers."""
        known = {it: self.settings[it] for it in ("preprocessing", "onnxruntime")}
        return dict(self.facts.get("versions", known))

    def matches(
        self,
        model: str | None,
        mpp: tuple[float, float] | None,
        provider: Provider,
        is_masked: bool | None,
    ) -> bool:
        """Whether it is what was asked for; None, and ``auto``, ask for nothing in particular.

        Parameters
        ----------
        model : str or None
            SHA-256.
        mpp : (x, y) or None
            Level-0 resolution, µm per pixel.
        is_masked : bool or None
            Whether background was told from tissue.
        """
        settings = self.settings
        return (
            model in (None, settings["model"])
            and (mpp is None or list(mpp) == settings["mpp"])
            and provider in ("auto", settings["provider"])
            and is_masked in (None, settings["tissue"]["enabled"])
        )


def finished_runs(folder: Path, slide_identity: str) -> list[StoredRun]:
    """Return all finished runs of a slide, the newest first; one that is being written is not."""
    found = []
    for path in _run_files(slide_folder(folder, slide_identity)):
        # Another process holds it, a newer version wrote it, or the disk fails: not for us.
        with contextlib.suppress(OSError, sqlite3.Error, UnicodeDecodeError, OutputError):
            modified = path.stat().st_mtime
            found += [(it.analyzed or "", modified, it) for it in _finished(path)]
    return [run for *_, run in sorted(found, key=lambda it: it[:2], reverse=True)]


def _finished(path: Path) -> Iterator[StoredRun]:
    opened = open_file(path, replace(_KIND, patience_s=0.0), {}, lambda rows: None)
    opened.database.close()
    results = tuple(map(_from_row, sorted(opened.rows[_BLOCKS.name])))
    for _, text in opened.rows[_RUN.name]:
        settings = json.loads(text)
        with contextlib.suppress(KeyError, TypeError):  # not settings of ours
            cells = settings["grid"]["rows"] * settings["grid"]["cols"]
            if sum(int(np.count_nonzero(it.states)) for it in results) == cells:
                yield StoredRun(settings, facts_of(opened.rows), results)


def _is_whole(row: tuple[Any, ...]) -> bool:
    """Whether every patch of a block has a state."""
    return PatchState.PENDING not in row[5]


def _to_row(result: BlockResult) -> tuple[Any, ...]:
    block = result.block
    reasons = json.dumps([[row, col, why] for (row, col), why in sorted(result.reasons.items())])
    head = (block.number, block.row, block.col, block.rows, block.cols)
    names = json.dumps(list(result.layers))
    row = (*head, result.states.tobytes(), names, pack(result.layers), reasons)
    return (*row, _crc(row))


def _from_row(row: tuple[Any, ...]) -> BlockResult:
    block = Block(*row[:5])
    shape = (block.rows, block.cols)
    return BlockResult(
        block,
        np.frombuffer(row[5], np.uint8).reshape(shape),
        unpack(json.loads(row[6]), row[7], shape),
        {(r, c): why for r, c, why in json.loads(row[8])},
    )


def _is_own_key(key: object, settings: Any) -> bool:  # noqa: ANN401 - whatever stands there
    try:
        return run_key(json.loads(settings)) == key
    except (ValueError, TypeError, RecursionError):
        return False


def _is_sound(
    row: tuple[Any, ...], upgrade: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple
) -> bool:
    try:
        return _crc(row[:-1]) == row[-1] and _from_row(upgrade(row)) is not None
    except (TypeError, ValueError, AttributeError):
        return False


def _crc(row: tuple[Any, ...]) -> int:
    body = (it.encode() if isinstance(it, str) else it for it in row[5:])
    return zlib.crc32(repr(row[:5]).encode() + b"".join(body))


def _upgraded(rows: Rows) -> Rows:
    """Return the rows of version 3 as version 4 has them."""
    return {**rows, _BLOCKS.name: [_with_layers(row) for row in rows[_PATCH_BLOCKS.name]]}


def _with_layers(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the row of a block of the patch layer alone as one of any layers."""
    changed = (*row[:6], json.dumps([PATCH]), *row[6:8])
    return (*changed, _crc(changed))
