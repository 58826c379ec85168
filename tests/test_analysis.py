"""Analysis of blocks: order, threads, cancelling, damage, slides that change, bad models."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.analysis import blocks
from idc_desktop.analysis.blocks import OutputCheck, analyze_blocks
from idc_desktop.analysis.tiling import Patches, PatchReader
from idc_desktop.errors import AnalysisCancelledError, ModelError, SlideChangedError
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import PATCH
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models import inference
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.models.provider import Provider
from idc_desktop.slides.reader import Slide
from tests.support.cuda import FakeCuda, pretend_cuda
from tests.support.models import TinyModel
from tests.support.scenes import write_tissue_slide
from tests.support.slides import damage_tile, write_tiff

SIDE_CELLS = 2
BLOCKS = 4 * 3


@pytest.fixture(scope="module")
def classifier(tiny_model: TinyModel) -> PatchClassifier:
    return PatchClassifier(read_model(tiny_model.path), "cpu")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 8 x 6 cells of 80 px, all tissue."""
    folder = tmp_path_factory.mktemp("original")
    return write_tissue_slide(folder / "s.tiff", (640, 480), 5.0, seed=4).path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "s.tiff"))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> list[FakeCuda]:
    """A card that takes two blocks at once; a block waits for another, however long."""
    monkeypatch.setattr(inference, "CUDA_BATCH", 2 * SIDE_CELLS**2 + 1)
    monkeypatch.setattr(blocks, "_LONGEST_WAIT_S", 600)
    return pretend_cuda(monkeypatch)


def analyze(
    slide: Slide,
    classifier: PatchClassifier,
    *,
    threads: int = 2,
    cancel: threading.Event | None = None,
    on_start: Callable[[Block], None] = lambda block: None,
    reader: PatchReader | None = None,
) -> Iterator[BlockResult]:
    reader = reader or PatchReader(slide, PatchSize(50, 8.0), TissueSettings())
    return analyze_blocks(
        slide,
        reader,
        classifier,
        reader.grid.blocks(SIDE_CELLS),
        threads=threads,
        cancel=cancel or threading.Event(),
        on_start=on_start,
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_and_are_the_same_for_any_number_of_threads(
    path: Path, classifier: PatchClassifier, threads: int
) -> None:
    with Slide(path) as slide:
        alone = list(analyze(slide, classifier, threads=1))
        found = list(analyze(slide, classifier, threads=threads))

    assert [it.block.number for it in found] == list(range(BLOCKS))
    for one, other in zip(alone, found, strict=True):
        assert (one.states == PatchState.OK).all()
        assert np.array_equal(one.states, other.states)
        assert np.array_equal(one.layers[PATCH], other.layers[PATCH])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_cuda_classifies_blocks_together_and_finds_the_same(
    path: Path,
    tiny_model: TinyModel,
    classifier: PatchClassifier,
    card: list[FakeCuda],
    threads: int,
    is_damaged: bool,
) -> None:
    on_card = PatchClassifier(read_model(tiny_model.path), "cuda")
    card[0].sizes.clear()
    if is_damaged:
        damage_tile(path, 0, 1, 1)
    with Slide(path) as slide:
        expected = list(analyze(slide, classifier))
        found = list(analyze(slide, on_card, threads=threads))

    assert on_card.provider.used == "cuda"
    assert any((it.states == PatchState.FAILED).any() for it in found) == is_damaged
    for one, other in zip(expected, found, strict=True):
        assert one.block == other.block
        assert np.array_equal(one.states, other.states)
        assert np.array_equal(one.layers[PATCH], other.layers[PATCH])
        assert list(one.reasons.items()) == list(other.reasons.items())
    assert set(card[0].sizes) == {2 * SIDE_CELLS**2 + 1}
    if not is_damaged:
        assert len(card[0].sizes) == BLOCKS / 2


def test_block_on_cuda_waits_for_others_only_so_long(
    path: Path, tiny_model: TinyModel, card: list[FakeCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card = PatchClassifier(read_model(tiny_model.path), "cuda")
    card[0].sizes.clear()
    monkeypatch.setattr(blocks, "_LONGEST_WAIT_S", -1)
    with Slide(path) as slide:
        list(analyze(slide, on_card))

    assert len(card[0].sizes) == BLOCKS


def test_every_block_is_announced_before_its_result(
    path: Path, classifier: PatchClassifier
) -> None:
    announced: list[int] = []
    with Slide(path) as slide:
        for result in analyze(slide, classifier, on_start=lambda it: announced.append(it.number)):
            assert result.block.number in announced

    assert sorted(announced) == list(range(BLOCKS))


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_cancel_yields_what_was_begun_and_then_raises(
    path: Path, tiny_model: TinyModel, card: list[FakeCuda], provider: Provider
) -> None:
    classifier = PatchClassifier(read_model(tiny_model.path), provider)
    cancel = threading.Event()
    announced: list[int] = []
    found: list[int] = []

    def collect(results: Iterator[BlockResult]) -> None:
        for result in results:
            found.append(result.block.number)
            if len(found) == 3:
                cancel.set()

    with Slide(path) as slide:
        results = analyze(
            slide, classifier, cancel=cancel, on_start=lambda it: announced.append(it.number)
        )
        with pytest.raises(AnalysisCancelledError, match=r"s\.tiff: Cancelled"):
            collect(results)

    assert found == sorted(announced)
    assert 3 <= len(found) < BLOCKS


def test_cancel_begins_nothing_that_was_only_queued(
    path: Path, classifier: PatchClassifier
) -> None:
    cancel = threading.Event()
    announced: list[int] = []
    both_queued = threading.Event()

    def start(block: Block) -> None:
        announced.append(block.number)
        both_queued.wait(0.5)  # the next block is in the queue by then
        cancel.set()

    with Slide(path) as slide, pytest.raises(AnalysisCancelledError):
        list(analyze(slide, classifier, threads=1, cancel=cancel, on_start=start))

    assert announced == [0]


def test_torn_tile_costs_the_patches_on_it_and_no_other(
    tmp_path: Path, original: Path, classifier: PatchClassifier
) -> None:
    with Slide(original) as slide:
        pixels = slide.read_region(0, 0, 0, 640, 480)
    whole = write_tiff(tmp_path / "whole.tiff", pixels, mpp=5.0, tile=64, compression="jpeg")
    torn = Path(shutil.copy(whole, tmp_path / "torn.tiff"))
    left, top, right, bottom = damage_tile(torn, 0, 4, 3)
    hit = {
        (row, col)
        for row in range(6)
        for col in range(8)
        if left < 80 * (col + 1) and right > 80 * col and top < 80 * (row + 1) and bottom > 80 * row
    }
    with Slide(whole) as slide:
        clean = list(analyze(slide, classifier))
    with Slide(torn) as slide:
        found = list(analyze(slide, classifier))

    failed = set()
    for one, other in zip(clean, found, strict=True):
        spared = other.states == PatchState.OK
        assert np.array_equal(one.layers[PATCH][spared], other.layers[PATCH][spared])
        failed |= set(other.reasons)
        assert (other.states == PatchState.FAILED).sum() == len(other.reasons)
    assert failed == hit


def replaced(path: Path, colour: int) -> None:
    """Put another slide in the place of an open one."""
    other = path.with_suffix(".new")
    write_tiff(other, np.full((480, 640, 3), (colour, 80, 120), np.uint8), mpp=5.0)
    other.replace(path)


def rewritten(path: Path, colour: int) -> None:
    """Put other pixels into the open file, and its time back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 8)
        file.write(bytes([colour]) * (status.st_size // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class ReplacingReader(PatchReader):
    """Reads a slide that is replaced while one of its blocks is being read."""

    def __init__(
        self, slide: Slide, at: int, after: bool, replace: Callable[[Path, int], None]
    ) -> None:
        super().__init__(slide, PatchSize(50, 8.0), TissueSettings())
        self._path, self._at, self._after, self._replace = slide.path, at, after, replace

    def read(self, block: Block) -> tuple[np.ndarray, Patches]:
        if block.number == self._at and not self._after:
            self._replace(self._path, 200)
        read = super().read(block)
        if block.number == self._at and self._after:
            self._replace(self._path, 200)
        return read


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("replace", [replaced, rewritten] if os.name != "nt" else [replaced])
def test_nothing_is_yielded_of_a_slide_that_was_replaced_while_it_was_read(
    path: Path,
    original: Path,
    classifier: PatchClassifier,
    replace: Callable[[Path, int], None],
    threads: int,
    after: bool,
) -> None:
    with Slide(original) as slide:
        clean = list(analyze(slide, classifier))
    found: list[BlockResult] = []
    with Slide(path) as slide:
        results = analyze(
            slide, classifier, threads=threads, reader=ReplacingReader(slide, 5, after, replace)
        )
        with pytest.raises(SlideChangedError, match=r"s\.tiff: The slide changed on disk"):
            found.extend(results)

    assert len(found) <= 5
    for one, other in zip(clean, found, strict=False):
        assert np.array_equal(one.layers[PATCH], other.layers[PATCH])


def test_removed_slide_stops_the_analysis(path: Path, classifier: PatchClassifier) -> None:
    def remove(block: Block) -> None:
        if block.number == 4:
            path.unlink()

    found: list[BlockResult] = []
    with Slide(path) as slide, pytest.raises(SlideChangedError, match="no longer there"):
        found.extend(analyze(slide, classifier, threads=1, on_start=remove))

    assert len(found) <= 4


@pytest.mark.parametrize(
    ("ok", "invalid", "refused"),
    [(0, 10, False), (0, 11, True), (10_988, 11, True), (10_989, 11, False), (20_000, 21, True)],
)
def test_model_is_refused_for_more_than_a_thousandth_of_invalid_outputs_and_more_than_ten(
    ok: int, invalid: int, refused: bool
) -> None:
    """Patches that the model never saw do not count."""
    check = OutputCheck("m.onnx", "s.tiff", 60_000)
    unseen = [PatchState.BACKGROUND, PatchState.FAILED] * 10_000
    for part in ([PatchState.INVALID_OUTPUT] * invalid, unseen, [PatchState.OK] * ok):
        check.count(_outputs(part))

    if refused:
        with pytest.raises(
            ModelError, match=rf"^m\.onnx: {invalid} of {ok + invalid:,} outputs .*s\.tiff"
        ):
            check.finish()
    else:
        check.finish()


def test_model_is_refused_at_once_when_nothing_that_follows_can_mend_it() -> None:
    check = OutputCheck("m.onnx", "s.tiff", 60_000)
    check.count(_outputs([PatchState.INVALID_OUTPUT] * 60))

    with pytest.raises(ModelError, match="61 of 61 outputs"):
        check.count(_outputs([PatchState.INVALID_OUTPUT]))


def _outputs(states: list[PatchState]) -> BlockResult:
    row = np.array([states], np.uint8)
    return BlockResult(Block(0, 0, 0, *row.shape), row, {})
