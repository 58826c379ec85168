"""Messages as an honest process says them."""

from __future__ import annotations

from typing import Any

import numpy as np

from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import PATCH
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.processes.engine_messages import BlockDone, Plan
from idc_desktop.processes.record import block_done
from idc_desktop.slides.description import LevelDescription, SlideDescription

IDENTITY = "ab" * 32
GRID = PatchGrid.over((0, 0, 600, 500), (4.0, 4.0), 400.0)
"""Five rows, six columns."""


def description_of(**changes: Any) -> SlideDescription:
    """Describe a slide of 600 x 500 pixels."""
    said: dict[str, Any] = {
        "file": "a.svs", "vendor": "aperio", "width_l0": 600, "height_l0": 500,
        "levels": (LevelDescription(600, 500, 1.0, 4.0, 4.0),), "mpp_x": 4.0, "mpp_y": 4.0,
        "mpp_source": "file", "objective_power": 20.0, "bounds": (1, 2, 3, 4),
        "identity": IDENTITY, "identity_kind": "rule", "warnings": ("odd",),
    }  # fmt: skip
    return SlideDescription(**said | changes)


def plan_of(grid: PatchGrid = GRID) -> Plan:
    """Plan a run on the CPU."""
    choice = ProviderChoice("auto", "cpu", "no CUDA")
    return Plan(
        "cd" * 32, grid, TissueSettings(), choice, {"numpy": "2"}, blocks=1, restored_blocks=0
    )


def block_of(row: int = 0, col: int = 0, rows: int = 2, cols: int = 2) -> BlockDone:
    """Say of a block that its first patch failed and the others are IDC at 0.25."""
    states = np.full((rows, cols), PatchState.OK, np.uint8)
    stored = np.full((rows, cols), 250_000, np.int32)
    states[0, 0], stored[0, 0] = PatchState.FAILED, -1
    block = Block(0, row, col, rows, cols)
    return block_done(BlockResult(block, states, {PATCH: stored}, {(row, col): "torn"}))
