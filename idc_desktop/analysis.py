"""The analysis of one slide: blocks in, states and probabilities out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from idc_desktop.errors import ModelError, SlideReadError, cancelled
from idc_desktop.grid import Block
from idc_desktop.inference import PatchClassifier
from idc_desktop.probability_map import MILLIONTHS, NO_PROBABILITY, BlockResult, PatchState
from idc_desktop.slide import Slide
from idc_desktop.tiling import PatchReader

_QUEUED_PER_THREAD = 2
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

    A thread takes a whole block from reading to probabilities, so that with two or more threads
    one reads while another infers. Patches never share a batch with those of another block;
    results are thus the same whatever the number of threads.

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

    def work(block: Block) -> BlockResult | None:
        if cancel.is_set():  # it was only queued: with a large model a block takes a second
            return None
        on_start(block)
        slide.check_unchanged()
        result = _analyze(reader, classifier, block)
        slide.check_unchanged()
        return result

    waiting: deque[Future[BlockResult | None]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for block in blocks:
                if cancel.is_set():
                    break
                waiting.append(pool.submit(work, block))
                if len(waiting) >= _QUEUED_PER_THREAD * threads:
                    yield from _done(waiting.popleft())
            while waiting:
                yield from _done(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
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


def _done(future: Future[BlockResult | None]) -> Iterator[BlockResult]:
    """Wait for a block; yields nothing of one that was not begun."""
    result = future.result()
    if result is not None:
        yield result


def _analyze(reader: PatchReader, classifier: PatchClassifier, block: Block) -> BlockResult:
    try:
        return _classify(block, *reader.read(block), classifier)
    except SlideReadError as error:
        if block.cells == 1:
            return BlockResult.failed(block, str(error))
    # Something in the block is damaged: find out what, patch by patch.
    whole = BlockResult.failed(block, "")
    for row, col in np.ndindex(block.rows, block.cols):
        cell = Block(block.number, block.row + row, block.col + col, 1, 1)
        part = _analyze(reader, classifier, cell)
        whole.states[row, col] = part.states[0, 0]
        whole.millionths[row, col] = part.millionths[0, 0]
        del whole.reasons[cell.row, cell.col]
        whole.reasons.update(part.reasons)
    return whole


def _classify(
    block: Block,
    tissue: npt.NDArray[np.bool_],
    patches: npt.NDArray[np.uint8],
    classifier: PatchClassifier,
) -> BlockResult:
    states = np.where(tissue, PatchState.OK, PatchState.BACKGROUND).astype(np.uint8)
    millionths = np.full(block.cells, NO_PROBABILITY, np.int32)
    reasons: dict[tuple[int, int], str] = {}
    if len(patches):
        probabilities = classifier.predict(patches).astype(np.float64)
        valid = (probabilities >= 0) & (probabilities <= 1)
        inferred = np.flatnonzero(tissue)
        millionths[inferred[valid]] = np.rint(probabilities[valid] * MILLIONTHS)
        for cell, value in zip(inferred[~valid].tolist(), probabilities[~valid], strict=True):
            states[cell] = PatchState.INVALID_OUTPUT
            row, col = divmod(cell, block.cols)
            reasons[block.row + row, block.col + col] = f"the model returned {value}"
    shape = (block.rows, block.cols)
    return BlockResult(block, states.reshape(shape), millionths.reshape(shape), reasons)
