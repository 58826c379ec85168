"""The one observable state of the window; widgets watch it and never each other."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from idc_desktop.card import ModelCard
from idc_desktop.errors import AnalysisCancelledError, IdcError
from idc_desktop.export import Analysis, write_folder
from idc_desktop.grid import PatchGrid, ProbabilityMap
from idc_desktop.model_file import ModelFile, find_model, read_model
from idc_desktop.record import RunRecord
from idc_desktop.store import data_folder
from idc_desktop.supervisor import Job, usable_threads
from idc_desktop.ui.tile_loader import TileLoader
from idc_desktop.wire import Message

_TAKING_S = 0.01


class SlideDocument(QObject):
    """A slide, the run on it, and how its map is shown.

    Attributes
    ----------
    path : Path or None
        The slide that is open or being opened.
    slide : dict
        The decoder's description; empty until the slide is open.
    tiles : TileLoader or None
    model : ModelFile
    selected : (row, col) or None
        The patch that was clicked.
    view_l0 : (x, y, width, height) or None
        What the user looks at, level-0 pixels.
    run : RunRecord
        The run that is shown; empty if there is none.
    state : {"empty", "opening", "recalling", "ready", "running", "paused", "done", "failed"}
    message : str
        What the state means, for people; the reason if it is ``failed``.
    """

    slide_changed = Signal()
    state_changed = Signal()
    map_changed = Signal()
    view_changed = Signal()
    """Threshold, opacity or visibility of the map."""
    noted = Signal(str)
    refused = Signal(str)
    """A slide could not be opened; carries the reason. What was open stays."""

    _woken = Signal()

    def __init__(self, model: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path: Path | None = None
        self.slide: dict[str, Any] = {}
        self.tiles: TileLoader | None = None
        self.model: ModelFile = read_model(find_model(model))
        self.run = RunRecord()
        self.state = "empty"
        self.message = "Open a slide, or drop one here."
        self.mpp: float | None = None
        self.provider = "auto"
        self.view_l0: tuple[float, float, float, float] | None = None
        self._threshold: float | None = None
        self._opacity = 0.5
        self._map_visible = True
        self._job: Job | None = None
        self._candidate: tuple[TileLoader, Path, float | None] | None = None
        self.selected: tuple[int, int] | None = None
        # Messages pile up here faster than frames are painted; they are taken in small portions.
        self._inbox: deque[tuple[Job, Message | None, bytes | Exception | None]] = deque()
        self._woken.connect(self._take_messages)

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def map(self) -> ProbabilityMap | None:
        """The map as far as it is computed."""
        return self.run.map

    @property
    def grid(self) -> PatchGrid | None:
        """The grid of the map."""
        return self.run.map.grid if self.run.map is not None else None

    @property
    def mpp_xy(self) -> tuple[float, float] | None:
        """Level-0 resolution, µm per pixel, if known."""
        if not self.slide or self.slide["mpp_x"] is None:
            return None
        return self.slide["mpp_x"], self.slide["mpp_y"]

    @property
    def threshold(self) -> float:
        """The operating point: the user's, else the model's."""
        return self.card.threshold if self._threshold is None else self._threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        self._threshold = value
        self.view_changed.emit()

    @property
    def opacity(self) -> float:
        """Opacity of the map, 0 to 1."""
        return self._opacity

    @opacity.setter
    def opacity(self, value: float) -> None:
        self._opacity = value
        self.view_changed.emit()

    @property
    def map_visible(self) -> bool:
        """Whether the map is painted."""
        return self._map_visible

    @map_visible.setter
    def map_visible(self, value: bool) -> None:
        self._map_visible = value
        self.view_changed.emit()

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; what is open now stays until the new one can be shown."""
        self._drop_candidate()
        tiles = TileLoader(str(path.absolute()), mpp, self)
        self._candidate = (tiles, path, mpp)
        tiles.opened.connect(self._on_opened)
        tiles.refused.connect(lambda reason: self._on_refused(tiles, reason))
        if self.path is None:
            self._set_state("opening", f"Opening {path.name} …")

    def close(self) -> None:
        """Close the slide and end the processes that serve it."""
        self._drop_candidate()
        self._leave()
        self._set_state("empty", "Open a slide, or drop one here.")
        self.slide_changed.emit()
        self.map_changed.emit()
        self.view_changed.emit()

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            self._candidate[0].close()
            self._candidate[0].deleteLater()
            self._candidate = None

    def _leave(self) -> None:
        """Let go of the slide; a run on it stops, keeping what it did."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
        if self.tiles is not None:
            self.tiles.close()
            self.tiles.deleteLater()
            self.tiles = None
        self.path, self.slide, self.run = None, {}, RunRecord()
        self._threshold = None
        self.selected = None

    def choose_model(self, name: str) -> None:
        """Take another model; the map on screen, of the former one, goes.

        Raises
        ------
        ModelError
            The model cannot be used; the former one stays.
        """
        model = read_model(find_model(name))
        if model.sha256 == self.model.sha256:
            return
        if self._job is not None:
            self._job.close()
            self._job = None
        self.model, self.run, self._threshold = model, RunRecord(), None
        if self.slide and self.mpp_xy is not None:
            self._recall()
        self.map_changed.emit()
        self.view_changed.emit()

    def analyze(self) -> None:
        """Start or resume the analysis, what is in view first; of a finished one, start anew."""
        if self.path is None or not self.slide or self.mpp_xy is None:
            return
        if self._job is None:
            self._start(recall=False, restart=self.state == "done")
            self._set_state("running", "Starting the analysis …")

    def _start(self, *, recall: bool, restart: bool) -> None:
        assert self.path is not None
        self.run = RunRecord()
        job = Job(
            {
                "job": "analyze",
                "slide": str(self.path.absolute()),
                "model": str(self.model.path),
                "mpp": self.mpp,
                "provider": self.provider,
                "threads": usable_threads(),
                "tissue": True,
                "restart": restart,
                "recall": recall,
                "data_folder": str(data_folder()),
                "first": list(self.view_l0) if self.view_l0 else None,
            },
            self.path.name,
        )
        self._job = job
        threading.Thread(target=self._follow, args=(job,), daemon=True).start()

    def pause(self) -> None:
        """Stop the analysis after what it has begun; it can be resumed."""
        if self._job is not None:
            self._job.cancel()

    def export(self, folder: Path) -> Path:
        """Write the six files of the finished run into a folder of the slide's name.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        assert self.path is not None
        name = self.path.name if self.path.is_dir() else self.path.stem
        analysis = Analysis.of(self.run, self.model, self.path.name, self.threshold, "patch")
        write_folder(folder / name, analysis, [])
        return folder / name

    def _follow(self, job: Job) -> None:
        failure: Exception | None = None
        try:
            for message, payload in job.events():
                self._hand_over(job, message, payload)
        except IdcError as error:
            failure = error
        self._hand_over(job, None, failure)

    def _hand_over(
        self, job: Job, message: Message | None, payload: bytes | Exception | None
    ) -> None:
        """Put a message, or with None the end of the job, into the inbox; from any thread."""
        was_empty = not self._inbox
        self._inbox.append((job, message, payload))
        if was_empty:
            with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
                self._woken.emit()

    def _take_messages(self) -> None:
        until = time.monotonic() + _TAKING_S
        has_grown = False
        while self._inbox and time.monotonic() < until:
            job, message, payload = self._inbox[0]
            if job is self._job:
                if message is None:
                    assert not isinstance(payload, bytes)
                    self._end(payload)
                else:
                    assert isinstance(payload, bytes)
                    has_grown |= message["event"] in ("plan", "block")
                    self._take(message, payload)
            self._inbox.popleft()  # last, so that the other thread wakes us only for a new pile
        if has_grown:
            self.map_changed.emit()
        if self._inbox:
            QTimer.singleShot(0, self._take_messages)

    def _recall(self) -> None:
        """Show what an earlier analysis of the same slide, model and settings has stored."""
        self._start(recall=True, restart=False)
        self._set_state("recalling", "Looking for an earlier analysis …")

    def _on_opened(self, description: Message) -> None:
        if self._candidate is None:
            return
        candidate, self._candidate = self._candidate, None
        self._leave()
        self.tiles, self.path, self.mpp = candidate
        self.slide = description
        for warning in description["warnings"]:
            self.noted.emit(warning)
        if self.mpp_xy is None:
            self._set_state("ready", "The resolution is unknown: give it to analyze.")
        else:
            self._recall()
        self.slide_changed.emit()
        self.map_changed.emit()
        self.view_changed.emit()

    def _on_refused(self, tiles: TileLoader, reason: str) -> None:
        if self._candidate is not None and self._candidate[0] is tiles:
            self._drop_candidate()
            self.refused.emit(reason)
            if self.path is None:
                self._set_state("failed", reason)
        else:  # the slide that is open can no longer be read
            self._set_state("failed", reason)

    def _take(self, message: Message, payload: bytes) -> None:
        known = len(self.run.notes)
        self.run.take(message, payload)
        for note in self.run.notes[known:]:
            self.noted.emit(note)

    def _end(self, failure: Exception | None) -> None:
        self._job = None
        states = self.map.states if self.map is not None else None
        if failure is None and states is not None and states.all():
            self._set_state("done", "The analysis is complete.")
        elif failure is None and states is not None and states.any():
            self._set_state("paused", "An earlier analysis was not finished; it can be resumed.")
        elif failure is None:
            self._set_state("ready", "Ready to analyze.")
        elif isinstance(failure, AnalysisCancelledError):
            self._set_state("paused", "Paused; what was analyzed is kept.")
        else:
            self._set_state("failed", str(failure))
        self.map_changed.emit()

    def _set_state(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        self.state_changed.emit()
