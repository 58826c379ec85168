"""The analysis of one slide: blocks in, states and probabilities out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.shield import Shield, Verdicts
from idc_desktop.analysis.tiling import Patches, PatchReader
from idc_desktop.errors import ModelError, SlideReadError, cancelled
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import KINDS, NO_VALUE, PATCH, SHIELD
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.slides.reader import Slide

_QUEUED_PER_THREAD = 2
_LONGEST_WAIT_S = 0.25  # of a block for others to be classified with
_INVALID_OUTPUTS = 10
_OUTPUTS_PER_INVALID = 1000


def analyze_blocks(
    slide: Slide,
    reader: PatchReader,
    classifier: PatchClassifier,
    blocks: Iterable[Block],
    *,
    threads: int,
    cancel: threading.Event,
    on_start: Callable[[Block], None],
) -> Iterator[BlockResult]:
    """Read and classify blocks, yielding each result in the order of `blocks`.

    On the CPU a thread takes a whole block from reading to probabilities, so that with two or more
    threads one reads while another infers, and patches never share a batch with those of another
    block. On CUDA all threads read, and the blocks that they have read are classified together: a
    card needs more patches at once than a block has, and its batches are always of one size.
    Either way the results are the same whatever the number of threads.

    Parameters
    ----------
    threads : int
        At least 1.
    cancel : threading.Event
        When set, blocks under way are finished and yielded first.
    on_start : callable
        Told of each block before it is read, from the thread that reads it.

    Raises
    ------
    AnalysisCancelledError
        `cancel` was set.
    SlideChangedError
        The slide's files changed; nothing read after that is yielded.
    ModelError
        The model failed to run.
    """
    read_alone = _reads(slide, reader, on_start)
    shield = Shield(reader.patch.spacing_um_px, reader.survey)

    def read(block: Block) -> BlockReading:
        reading = read_alone(block)
        return replace(reading, verdicts=shield.judge(reading.patches))

    def analyze(block: Block) -> BlockResult:
        return next(_classify([read(block)], classifier))

    with ThreadPoolExecutor(threads) as pool:
        if classifier.provider.used == "cuda":
            readings = _in_order(pool, threads, read, blocks, cancel)
            yield from _classify_together(readings, classifier)
        else:
            yield from _in_order(pool, threads, analyze, blocks, cancel)
    if cancel.is_set():
        raise cancelled(slide.name)


def read_blocks(
    slide: Slide,
    reader: PatchReader,
    blocks: Iterable[Block],
    *,
    threads: int,
    cancel: threading.Event,
    on_start: Callable[[Block], None],
) -> Iterator[BlockReading]:
    """Read blocks, yielding each in the order of `blocks`; parameters and errors as above."""
    with ThreadPoolExecutor(threads) as pool:
        yield from _in_order(pool, threads, _reads(slide, reader, on_start), blocks, cancel)
    if cancel.is_set():
        raise cancelled(slide.name)


class OutputCheck:
    """Refuses a model of which too many outputs are no probabilities: over 10, and over 0.1 %.

    A few are patches that failed; so many say that the others are not to be trusted either. Whether
    it is too many does not depend on the order in which the blocks come.

    Parameters
    ----------
    model, slide : str
        Names, for the message.
    cells : int
        Cells of the slide: no more outputs can come.
    """

    def __init__(self, model: str, slide: str, cells: int) -> None:
        self._model = model
        self._slide = slide
        self._cells = cells
        self._outputs = self._invalid = 0

    def count(self, result: BlockResult) -> None:
        """Take a block into account; raise `ModelError` if no further one can mend it."""
        invalid = int(np.count_nonzero(result.states == PatchState.INVALID_OUTPUT))
        self._outputs += invalid + int(np.count_nonzero(result.states == PatchState.OK))
        self._invalid += invalid
        self._require_few_of(self._cells)

    def finish(self) -> None:
        """Raise `ModelError` if it was too much."""
        self._require_few_of(self._outputs)

    def _require_few_of(self, outputs: int) -> None:
        if self._invalid > max(_INVALID_OUTPUTS, outputs / _OUTPUTS_PER_INVALID):
            raise ModelError(
                f"{self._model}: {self._invalid:,} of {self._outputs:,} outputs of the model on "
                f"{self._slide} are no probabilities (not a number, or outside 0 to 1), so the "
                "analysis was stopped. What was analyzed is kept. Choose another model."
            )


@dataclass(frozen=True)
class BlockReading:
    """What was read of a block.

    Attributes
    ----------
    tissue : ndarray of bool, shape (rows * cols,)
    patches : ndarray of uint8, shape (n, side, side, 3)
        Those of the cells that are tissue.
    failed : mapping
        Cells, counted like `tissue`, that cannot be read, and why.
    chosen : ndarray of bool, shape (rows * cols,)
        The cells that were to be read; of the others nothing is known.
    verdicts : ndarray of uint8, shape (n,)
        What the shield says of the patches.
    """

    block: Block
    tissue: npt.NDArray[np.bool_]
    patches: Patches
    failed: Mapping[int, str]
    chosen: npt.NDArray[np.bool_]
    verdicts: Verdicts = field(default_factory=lambda: np.zeros(0, np.uint8))

    @classmethod
    def failed_whole(cls, block: Block, reader: PatchReader, reason: str) -> BlockReading:
        """Return the reading of a block of which nothing can be read."""
        nowhere = np.zeros(block.cells, np.bool_)
        failed = dict.fromkeys(range(block.cells), reason)
        return cls(block, nowhere, reader.no_patches(), failed, reader.chosen(block))


_Made = TypeVar("_Made")


def _in_order(
    pool: ThreadPoolExecutor,
    threads: int,
    work: Callable[[Block], _Made],
    blocks: Iterable[Block],
    cancel: threading.Event,
) -> Iterator[_Made]:
    """Work on blocks in the threads of a pool; yield what is made of them, in their order."""

    def begin(block: Block) -> _Made | None:
        # It was only queued: with a large model a block takes a second.
        return None if cancel.is_set() else work(block)

    waiting: deque[Future[_Made | None]] = deque()
    try:
        for block in blocks:
            if cancel.is_set():
                break
            waiting.append(pool.submit(begin, block))
            if len(waiting) >= _QUEUED_PER_THREAD * threads:
                yield from _done(waiting.popleft())
        while waiting:
            yield from _done(waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _done(future: Future[_Made | None]) -> Iterator[_Made]:
    """Wait for a block; yields nothing of one that was not begun."""
    made = future.result()
    if made is not None:
        yield made


def _reads(
    slide: Slide, reader: PatchReader, on_start: Callable[[Block], None]
) -> Callable[[Block], BlockReading]:
    """Return what reads a block of a slide that must stay what it is."""

    def read(block: Block) -> BlockReading:
        on_start(block)
        slide.check_unchanged()
        reading = _read(reader, block)
        slide.check_unchanged()
        return reading

    return read


def _read(reader: PatchReader, block: Block) -> BlockReading:
    chosen = reader.chosen(block)
    try:
        return BlockReading(block, *reader.read(block), {}, chosen)
    except SlideReadError as error:
        if block.cells == 1:
            nothing = np.zeros(1, np.bool_), reader.no_patches()
            return BlockReading(block, *nothing, {0: str(error)}, chosen)
    # Something in the block is damaged: find out what, patch by patch.
    parts = [
        _read(reader, Block(block.number, block.row + row, block.col + col, 1, 1))
        for row, col in np.ndindex(block.rows, block.cols)
    ]
    return BlockReading(
        block,
        np.concatenate([part.tissue for part in parts]),
        np.concatenate([part.patches for part in parts]),
        {cell: part.failed[0] for cell, part in enumerate(parts) if part.failed},
        chosen,
    )


def _classify_together(
    readings: Iterable[BlockReading], classifier: PatchClassifier
) -> Iterator[BlockResult]:
    """Classify blocks as soon as there are patches for a whole batch, or one has waited long."""
    waiting: list[BlockReading] = []
    patches, since = 0, time.monotonic()
    for reading in readings:
        is_full = patches + len(reading.patches) > classifier.batch_size
        if is_full or time.monotonic() - since > _LONGEST_WAIT_S:
            yield from _classify(waiting, classifier)
            waiting, patches, since = [], 0, time.monotonic()
        waiting.append(reading)
        patches += len(reading.patches)
    yield from _classify(waiting, classifier)


def _classify(readings: list[BlockReading], classifier: PatchClassifier) -> Iterator[BlockResult]:
    """Classify the patches of some blocks at once."""
    if not readings:
        return
    patches = np.concatenate([it.patches for it in readings])
    probabilities = classifier.predict(patches).astype(np.float64)
    done = 0
    for reading in readings:
        yield _result(reading, probabilities[done : done + len(reading.patches)])
        done += len(reading.patches)


def _result(reading: BlockReading, probabilities: npt.NDArray[np.float64]) -> BlockResult:
    block, tissue = reading.block, reading.tissue
    states = np.where(tissue, PatchState.OK, PatchState.BACKGROUND).astype(np.uint8)
    states[~reading.chosen] = PatchState.PENDING
    values = np.full(block.cells, np.nan)
    shield = np.full(block.cells, NO_VALUE, np.int32)
    states[list(reading.failed)] = PatchState.FAILED
    reasons = dict(reading.failed)
    valid = (probabilities >= 0) & (probabilities <= 1)
    inferred = np.flatnonzero(tissue)
    values[inferred[valid]] = probabilities[valid]
    shield[inferred] = reading.verdicts
    states[inferred[~valid]] = PatchState.INVALID_OUTPUT
    for cell, value in zip(inferred[~valid].tolist(), probabilities[~valid], strict=True):
        reasons[cell] = f"the model returned {value}"
    shape = (block.rows, block.cols)
    return BlockResult(
        block,
        states.reshape(shape),
        {PATCH: KINDS[PATCH].stored(values.reshape(shape)), SHIELD: shield.reshape(shape)},
        {
            (block.row + cell // block.cols, block.col + cell % block.cols): reasons[cell]
            for cell in sorted(reasons)
        },
    )
