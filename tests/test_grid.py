"""The grid of patches: geometry, blocks and the map that they fill."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import NO_VALUE, PATCH
from idc_desktop.maps.probability_map import BlockResult, PatchState, ProbabilityMap


def grid_of(
    width: int, height: int, mpp: float = 2.0, origin: tuple[int, int] = (0, 0)
) -> PatchGrid:
    return PatchGrid.over((*origin, width, height), (mpp, mpp), 400.0)


@pytest.mark.parametrize("mpp", [0.2485, 0.2527, 0.4990, 0.5032])
def test_step_is_not_rounded_over_10_000_columns(mpp: float) -> None:
    """A step rounded to whole pixels would be off by up to 5,000 pixels there."""
    grid = grid_of(int(10_000 * 400 / mpp), 100, mpp)

    for column in (1, 777, 9_999):
        exact = column * 400 / Fraction(mpp)
        assert abs(Fraction(float(grid.column_edges_l0()[column])) - exact) < Fraction(1, 1000)


def test_axes_have_steps_of_their_own() -> None:
    grid = PatchGrid.over((0, 0, 1000, 1000), (2.0, 0.5), 400.0)

    assert (grid.step_x_l0, grid.step_y_l0) == (200.0, 800.0)
    assert (grid.rows, grid.cols) == (2, 5)


@pytest.mark.parametrize(
    ("width", "cols"),
    [(1, 1), (199, 1), (200, 1), (201, 2), (400, 2), (100_000, 500), (100_001, 501)],
)
def test_last_column_begins_within_the_slide(width: int, cols: int) -> None:
    assert grid_of(width, 1).cols == cols


def test_rounding_of_the_step_makes_no_column_of_nothing() -> None:
    """40,000 px of 0.23 µm are 23 cells, and 23.000000000000004 in floating point."""
    assert 40_000 / (400 / 0.23) > 23
    assert grid_of(40_000, 100, 0.23).cols == 23


def test_exported_edges_are_rounded_half_up_and_end_with_the_slide() -> None:
    grid = grid_of(1002, 350, 400 / 200.5)

    assert grid.column_edges_px().tolist() == [0, 201, 401, 602, 802, 1002]
    assert grid.row_edges_px().tolist() == [0, 201, 350]


def test_exported_edges_begin_at_the_bounds() -> None:
    grid = grid_of(500, 300, origin=(1000, 40))

    assert grid.column_edges_px().tolist() == [1000, 1200, 1400, 1500]
    assert grid.row_edges_px().tolist() == [40, 240, 340]


@given(
    width=st.integers(1, 20_000),
    height=st.integers(1, 20_000),
    mpp=st.floats(0.05, 100),
)
@settings(max_examples=60, deadline=None)
def test_exported_cells_tile_the_slide_without_gap_or_overlap(
    width: int, height: int, mpp: float
) -> None:
    grid = grid_of(width, height, mpp)

    for edges, end in ((grid.column_edges_px(), width), (grid.row_edges_px(), height)):
        assert edges[0] == 0
        assert edges[-1] == end
        assert (np.diff(edges) >= 0).all()


@given(rows=st.integers(1, 40), cols=st.integers(1, 40), side=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_blocks_hold_each_cell_once_and_are_numbered_in_order(
    rows: int, cols: int, side: int
) -> None:
    blocks = list(grid_of(cols * 200, rows * 200).blocks(side))
    seen = Counter(
        (block.row + row, block.col + col)
        for block in blocks
        for row, col in np.ndindex(block.rows, block.cols)
    )

    assert seen == Counter(np.ndindex(rows, cols))
    assert [block.number for block in blocks] == list(range(len(blocks)))
    assert all(1 <= block.rows <= side and 1 <= block.cols <= side for block in blocks)
    assert sum(block.cells for block in blocks) == rows * cols


def test_blocks_of_the_largest_slide_need_no_memory() -> None:
    grid = grid_of(1 << 22, 1 << 22, 0.25)
    tracemalloc.start()
    try:
        count = sum(1 for _ in grid.blocks(8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 328 * 328
    assert peak < 5_000_000


def test_map_is_pending_until_told_and_never_zero() -> None:
    empty = ProbabilityMap(grid_of(600, 400))

    assert (empty.states == PatchState.PENDING).all()
    assert np.isnan(empty.layer().values).all()
    assert sum(empty.counts().values()) == 0


def test_map_takes_a_block_to_its_place() -> None:
    whole = ProbabilityMap(grid_of(800, 600))
    block = Block(3, 1, 2, 2, 2)
    states = np.array([[PatchState.OK, PatchState.BACKGROUND], [PatchState.FAILED, PatchState.OK]])
    stored = np.array([[250_000, NO_VALUE], [NO_VALUE, 0]], np.int32)

    whole.add(BlockResult(block, states.astype(np.uint8), {PATCH: stored}, {(2, 2): "torn"}))

    expected = np.full((3, 4), np.nan)
    expected[1, 2], expected[2, 3] = 0.25, 0.0
    assert np.array_equal(whole.layer().values, expected, equal_nan=True)
    assert whole.reasons == {(2, 2): "torn"}
    for threshold, called in ((0.0, 2), (0.25, 1), (0.250001, 0)):
        assert whole.layer().positive(threshold).sum() == called
    assert whole.counts() == {
        "ok": 2,
        "background": 1,
        "failed": 1,
        "invalid_output": 0,
        "excluded": 0,
    }


def test_what_became_of_a_patch_is_said_in_words() -> None:
    current = ProbabilityMap(PatchGrid.over((0, 0, 400, 200), (1.0, 1.0), 100.0))
    current.add(BlockResult.failed(Block(0, 0, 0, 1, 2), "tile 7 cannot be decoded"))
    current.states[1] = [1, 2, 4, 0]

    assert current.state_text(0, 1) == "failed: tile 7 cannot be decoded"
    words = [current.state_text(1, col) for col in range(4)]
    assert words == ["ok", "background", "invalid output", "pending"]
    assert np.argwhere(current.failed).tolist() == [[0, 0], [0, 1], [1, 2]]
    assert current.failed_patches == 3


def test_failed_block_says_why_for_each_cell() -> None:
    result = BlockResult.failed(Block(7, 4, 6, 2, 3), "the reader died")

    assert (result.states == PatchState.FAILED).all()
    assert result.layers == {}
    assert result.reasons == {(row, col): "the reader died" for row in (4, 5) for col in (6, 7, 8)}
