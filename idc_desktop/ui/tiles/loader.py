"""Tiles for the screen: asked of the decoder process, kept in a cache, dropped when stale."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QImage

from idc_desktop.console import report_defect
from idc_desktop.errors import DefectError, GarbledMessageError, reader_lost, slide_replaced
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_text import in_a_line
from idc_desktop.processes.child import Child, ChildCrashedError
from idc_desktop.processes.decoder_messages import (
    TILE_PX,
    Pixels,
    ReadAssociated,
    Reading,
    ReadPatch,
    ReadTile,
    Unreadable,
    ViewJob,
)
from idc_desktop.processes.message import Event, SlideOpened, Started
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import data_folder
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.ui.tiles.pace import Pace
from idc_desktop.ui.tiles.pyramid import Tile
from idc_desktop.ui.tiles.wishes import Wishes

_CACHED_TILES = 640  # of 256 KiB: 160 MiB
_CRASHES_PER_TILE = 2
_RESTARTS = 16
_PATIENCE_S = 60.0
"""So long a slow network share may take for one answer."""


Request = ReadTile | ReadPatch | ReadAssociated


class _Talk:
    """What was asked of one decoder, and therefore what it may say; for both threads.

    Each request is begun once and answered once, with ever less left to read between, so a decoder
    that a hostile slide took over can neither flood the window nor answer what nobody asked.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._asked: dict[int, Request] = {}
        self._parts_left: dict[int, float] = {}  # of the requests that are begun

    def ask(self, request: Request) -> None:
        """Note a request, before it is sent."""
        self._asked[request.request] = request

    def check(self, event: Event) -> None:
        """Raise `GarbledMessageError` if the decoder may not say this now."""
        match event:
            case SlideOpened() if not self._is_open:
                self._is_open = True
            case Started(number) if number in self._asked and number not in self._parts_left:
                self._parts_left[number] = math.inf
            case Reading(number, left) if left < self._parts_left.get(number, 0):
                self._parts_left[number] = left
            case Pixels(number) | Unreadable(number) if number in self._parts_left:
                del self._parts_left[number]
                asked = self._asked.pop(number)
                if isinstance(event, Pixels) and isinstance(asked, ReadTile):
                    _check_size(event)
            case _:
                raise GarbledMessageError(f"{event.NAME}: nobody asked for it")


def _check_size(tile: Pixels) -> None:
    if (tile.width, tile.height) != (TILE_PX, TILE_PX):
        raise GarbledMessageError(f"pixels: a tile of {tile.width} x {tile.height} pixels")


@dataclass(frozen=True)
class _End:
    """Comes after a decoder's last event: what ended it, if it failed."""

    failure: Exception | None


@dataclass(frozen=True)
class _Heard:
    """What a decoder said, and which of the decoders that the loader had."""

    life: int
    said: Event | _End


class TileLoader(QObject):
    """Loads the tiles of one slide through a decoder process of its own.

    The decoder may die of a damaged tile, or hang: it is started again, and a tile that ends it
    twice is given up; so is the slide, if it ends two in a row before they have opened it.

    Parameters
    ----------
    slide : str
        Path of the slide.
    mpp : float or None
        Resolution given by the user.
    cached_tiles : int
        So many are kept; each takes 256 KiB.
    patience_s : float
        Longest silence, while something is asked, before the decoder is taken to hang.

    Attributes
    ----------
    associated_names : tuple of str
        The pictures that came with the scan; known once the slide is open.
    """

    opened = Signal(SlideDescription)
    """The slide is open; carries what is known of it."""
    refused = Signal(str)
    """The slide cannot be shown; carries the reason."""
    loaded = Signal(object)
    """A tile arrived or was given up; carries it, or None if it may be any."""
    patch_loaded = Signal(QImage)
    """The pixels of the patch that was asked for last and of its neighbours."""
    associated_loaded = Signal(str, object)
    """A picture that came with the scan: its name, and a QImage or the reason why there is none."""

    def __init__(
        self,
        slide: str,
        mpp: float | None,
        parent: QObject | None = None,
        patience_s: float = _PATIENCE_S,
        cached_tiles: int = _CACHED_TILES,
    ) -> None:
        super().__init__(parent)
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.setInterval(round(1000 * patience_s))
        self._silence.timeout.connect(self._on_silence)
        self._job = ViewJob(slide, mpp, str(data_folder()))
        self._name = Path(slide).name
        self._identity: str | None = None
        self._cached_tiles = cached_tiles
        self._cache: OrderedDict[Tile, QImage] = OrderedDict()
        self._pinned: dict[Tile, QImage] = {}
        self._pinned_zoom: int | None = None
        self._broken: set[Tile] = set()
        self._crashes: dict[Tile | tuple[int, int], int] = {}  # by tile, or row and column
        self._wishes = Wishes()
        self._under_way: dict[int, Tile | None] = {}
        self._started: set[int] = set()
        self._patch: ReadPatch | None = None  # the one that was asked for last
        self.associated_names: tuple[str, ...] = ()
        self._associated: dict[int, str] = {}
        self._next_request = 0
        self._closed = False
        self._life = 0
        self._fruitless = 0
        self._heard: HandOver[_Heard] = HandOver(self._on_heard)
        self._child = self._start()

    def pin(self, zoom: int) -> None:
        """Keep all tiles of this zoom for ever: the picture that is there before all others."""
        self._pinned_zoom = zoom

    def take_over(self, other: TileLoader) -> None:
        """Have the pictures that a former loader of the same slide had; both have opened it."""
        if other._identity == self._identity:
            self._pinned_zoom, self._pinned = other._pinned_zoom, other._pinned
            self._cache, self._broken = other._cache, other._broken

    def get(self, tile: Tile) -> QImage | None:
        """Return a tile if it is here."""
        image = self._pinned.get(tile)
        if image is None and (image := self._cache.get(tile)) is not None:
            self._cache.move_to_end(tile)
        return image

    @property
    def loaded_tiles(self) -> int:
        """How many tiles are here."""
        return len(self._pinned) + len(self._cache)

    def is_broken(self, tile: Tile) -> bool:
        """Whether a tile cannot be read."""
        return tile in self._broken

    def want(self, asker: object, tiles: list[Tile]) -> None:
        """Say which tiles an asker wants now, most urgent first; its earlier wishes are dropped.

        Those of several askers are read in turn.
        """
        self._wishes.put(asker, [it for it in tiles if not self._is_needless(it)])
        self._ask()

    def _is_needless(self, tile: Tile) -> bool:
        """Whether a tile is here, on its way, or can never be."""
        return (
            tile in self._cache
            or tile in self._pinned
            or tile in self._broken
            or tile in self._under_way.values()
        )

    @property
    def is_idle(self) -> bool:
        """Whether everything that was wanted is here or given up."""
        return self._identity is not None and not self._wishes and not self._under_way

    def ask_patch(self, patch: PatchSize, row: int, col: int) -> None:
        """Ask for the pixels that a model sees of a grid cell and of its neighbours."""
        self._patch = ReadPatch(self._next(), patch, row, col)
        self._send(self._patch, None)

    def ask_associated(self, name: str) -> None:
        """Ask for a picture that came with the scan."""
        request = self._next()
        self._associated[request] = name
        self._send(ReadAssociated(request, name), None)

    def close(self) -> None:
        """End the decoder."""
        self._closed = True
        self._silence.stop()
        self._end_child()

    def _start(self) -> Child:
        child = Child("idc_desktop.children.decoder", self._job)
        self._life += 1
        self._fruitless += 1  # until it has opened the slide
        self._talk, self._pace = _Talk(), Pace()
        self._silence.start()
        follow = partial(_follow, child, self._life, self._talk, self._heard)
        threading.Thread(target=follow, daemon=True).start()
        return child

    def _end_child(self) -> None:
        # Elsewhere: a decoder that hangs on a slow disk takes seconds to be killed.
        threading.Thread(target=self._child.close, daemon=True).start()

    def _next(self) -> int:
        self._next_request += 1
        return self._next_request

    def _send(self, request: Request, tile: Tile | None) -> None:
        self._under_way[request.request] = tile
        self._talk.ask(request)
        self._child.tell(request)
        self._pace.asked(time.monotonic())
        if not self._silence.isActive():
            self._silence.start()

    def _ask(self) -> None:
        is_open = self._identity is not None and not self._closed
        while is_open and len(self._under_way) < self._pace.at_once:
            tile = self._wishes.next(self._is_needless)
            if tile is None:
                return
            self._send(ReadTile(self._next(), tile.zoom, tile.col, tile.row), tile)

    def _on_heard(self, heard: _Heard) -> None:
        if heard.life != self._life or self._closed:
            return
        if not isinstance(heard.said, _End):
            self._on_event(heard.said)
        else:
            self._on_ended(heard.said.failure)

    def _on_event(self, event: Event) -> None:
        self._silence.start()
        match event:
            case SlideOpened():
                self._on_opened(event)
            case Started(number):
                self._started.add(number)
            case Pixels(request, width, height):
                # The copy owns its memory; a QImage over the payload would not.
                picture = QImage(event.payload, width, height, QImage.Format.Format_RGB32).copy()
                self._on_answered(request, picture)
            case Unreadable(request, reason):
                self._on_answered(request, reason)

    def _on_opened(self, event: SlideOpened) -> None:
        self._fruitless = 0
        if self._identity is None:
            self._identity = event.slide.identity
            self.associated_names = event.associated
            self.opened.emit(event.slide)
        elif self._identity != event.slide.identity:  # the decoder before this one had another file
            self._on_ended(slide_replaced(self._name))
            return
        self._ask()
        self._rest()

    def _on_answered(self, request: int, answer: QImage | str) -> None:
        """Take a picture, or the reason why there is none."""
        self._started.discard(request)
        tile = self._under_way.pop(request)
        self._pace.answered(time.monotonic(), is_last=not self._under_way)
        if tile is not None and isinstance(answer, QImage):
            self._keep(tile, answer)
        elif tile is not None:
            self._broken.add(tile)
        elif request in self._associated:
            self.associated_loaded.emit(self._associated.pop(request), answer)
        elif self._patch is not None and request == self._patch.request:
            self._patch = None
            if isinstance(answer, QImage):
                self.patch_loaded.emit(answer)
        self._ask()
        self._rest()
        self.loaded.emit(tile)

    def _rest(self) -> None:
        """Wait for nothing if nothing was asked: then silence is no sign of a hang."""
        if not self._under_way:
            self._silence.stop()

    def _on_silence(self) -> None:
        # Not only killed: one that waits for a dead network share does not even die of that.
        reason = f"said nothing for {self._silence.interval() / 1000:g} s"
        self._on_ended(ChildCrashedError(reason))

    def _keep(self, tile: Tile, image: QImage) -> None:
        if tile.zoom == self._pinned_zoom:
            self._pinned[tile] = image
            return
        self._cache[tile] = image
        while len(self._cache) > self._cached_tiles:
            self._cache.popitem(last=False)

    def _on_ended(self, failure: Exception | None) -> None:
        self._end_child()
        crashed = isinstance(failure, ChildCrashedError) and self._life <= _RESTARTS
        if isinstance(failure, ChildCrashedError) and failure.is_excessive:
            crashed = crashed and self._identity is not None  # else it would be so again
        if not crashed or self._fruitless >= _CRASHES_PER_TILE:
            self._closed = True
            self._silence.stop()
            if isinstance(failure, ChildCrashedError):
                failure = failure.lost(self._name)
            elif failure is None:
                failure = reader_lost(self._name, "ended")
            elif isinstance(failure, DefectError):
                report_defect(str(failure))
            self.refused.emit(in_a_line(failure, self._name))
            return
        patch = self._patch
        for request in self._started:
            tile = self._under_way.get(request)
            if tile is not None and self._is_deadly(tile):
                self._broken.add(tile)
            elif patch is not None and patch.request == request:
                patch = None if self._is_deadly((patch.row, patch.col)) else patch
        for name in self._associated.values():
            self.associated_loaded.emit(name, "The reader process died of it.")
        self._associated.clear()
        again = [it for it in self._under_way.values() if it is not None and it not in self._broken]
        self._wishes.put_first(again)
        self._under_way.clear()
        self._started.clear()
        self._child = self._start()
        if patch is not None:
            self.ask_patch(patch.patch, patch.row, patch.col)
        self.loaded.emit(None)

    def _is_deadly(self, part: Tile | tuple[int, int]) -> bool:
        """Count a decoder that died of a tile or patch; tell whether it is to be given up."""
        self._crashes[part] = self._crashes.get(part, 0) + 1
        return self._crashes[part] >= _CRASHES_PER_TILE


def _follow(child: Child, life: int, talk: _Talk, heard: HandOver[_Heard]) -> None:
    """Hand over what a decoder says; in a thread that holds nothing of the window's."""
    failure: Exception | None = None
    try:
        for event in child.events(wait_forever=True):
            talk.check(event)
            heard.put(_Heard(life, event))
    except Exception as error:  # noqa: BLE001 - whatever it is, this reader is lost
        failure = error
    heard.put(_Heard(life, _End(failure)))
