"""The engine's job that cuts patches out of a slide, for training."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.blocks import BlockReading, read_blocks
from idc_desktop.analysis.shield import Shield
from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.children.opening import open_slide
from idc_desktop.children.serving import Listen, Outbox
from idc_desktop.errors import GarbledMessageError, cancelled
from idc_desktop.maps.grid import Block
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.processes.cut_messages import (
    BACKGROUND,
    CUT,
    EXCLUDED,
    NOT_WANTED,
    UNREADABLE,
    BlockCut,
    CutJob,
    GridLaid,
    WantedCells,
)
from idc_desktop.processes.engine_messages import Done, Note
from idc_desktop.processes.message import MAX_TEXT, SURVEY, Command, SlideOpened, Started
from idc_desktop.slides.reader import Slide

_FAILED_TEXT = 2000


def cut_patches(job: CutJob, outbox: Outbox, listen: Listen) -> None:
    """Say the grid, wait for the wanted cells, and send what is cut, block by block."""
    cancel = threading.Event()
    answer: queue.Queue[WantedCells | None] = queue.Queue()

    def follow(command: Command) -> None:
        if isinstance(command, WantedCells):
            answer.put(command)
        else:
            cancel.set()
            answer.put(None)

    listen(follow)
    with open_slide(outbox, job.slide, job.mpp) as slide:
        tissue = TissueSettings(enabled=job.tissue)
        reader = PatchReader(slide, job.patch, tissue.any_at_all() if job.any_tissue else tissue)
        if SURVEY not in dict(job.crashed):
            outbox.send(Started(SURVEY))
            reader.look_around()
        outbox.send(SlideOpened(slide.describe()))
        for note in (*slide.warnings, *reader.notes):
            outbox.send(Note(f"{slide.name}: {note}"[:MAX_TEXT]))
        outbox.send(GridLaid(reader.grid))
        command = answer.get()
        if command is None:
            raise cancelled(slide.name)
        if (command.rows, command.cols) != (reader.grid.rows, reader.grid.cols):
            raise GarbledMessageError("cells of another grid")
        _Cutting(job, slide, reader, command, outbox, cancel).run()
        outbox.send(Done())


class _Cutting:
    """The cutting of one slide."""

    def __init__(
        self,
        job: CutJob,
        slide: Slide,
        reader: PatchReader,
        command: WantedCells,
        outbox: Outbox,
        cancel: threading.Event,
    ) -> None:
        self._job, self._slide, self._reader = job, slide, reader
        self._outbox, self._cancel = outbox, cancel
        self._wanted = command.mask
        self._side_px = job.patch.side_px
        self._shield = Shield(job.patch.spacing_um_px, reader.survey)

    def run(self) -> None:
        crashed = dict(self._job.crashed)
        careful = set(self._job.careful) - crashed.keys()
        blocks = [block for block in self._reader.blocks() if self._mask(block).any()]
        for block in blocks:
            if block.number in crashed:
                self._send(BlockReading.failed_whole(block, self._reader, crashed[block.number]))
            # A suspect runs alone, so that a second crash convicts it and nothing else.
            elif block.number in careful:
                self._read([block], threads=1)
        done = careful | crashed.keys()
        others = (block for block in blocks if block.number not in done)
        self._read(others, threads=self._job.threads)

    def _read(self, blocks: Iterable[Block], *, threads: int) -> None:
        def announce(block: Block) -> None:
            self._outbox.send(Started(block.number))

        for reading in read_blocks(
            *(self._slide, self._reader, blocks),
            threads=threads,
            cancel=self._cancel,
            on_start=announce,
        ):
            self._send(reading)

    def _mask(self, block: Block) -> npt.NDArray[np.bool_]:
        return self._wanted[
            block.row : block.row + block.rows, block.col : block.col + block.cols
        ].ravel()

    def _send(self, reading: BlockReading) -> None:
        block, wanted = reading.block, self._mask(reading.block)
        states = np.where(reading.tissue, CUT, BACKGROUND).astype(np.uint8)
        states[list(reading.failed)] = UNREADABLE
        if self._job.shield and len(reading.patches):
            found = self._shield.judge(reading.patches) > 0
            states[np.flatnonzero(reading.tissue)[found]] = EXCLUDED
        states[~wanted] = NOT_WANTED
        patches = reading.patches[(states == CUT)[reading.tissue]]
        reasons = tuple(
            (
                block.row + cell // block.cols,
                block.col + cell % block.cols,
                reason[:_FAILED_TEXT],
            )
            for cell, reason in sorted(reading.failed.items())
            if wanted[cell]
        )
        self._outbox.send(
            BlockCut(
                *(block.number, block.row, block.col, block.rows, block.cols),
                *(self._side_px, len(patches), reasons),
                payload=states.tobytes() + patches.tobytes(),
            )
        )
