"""What a run of the engine has said so far, put together from its messages.

The command line and the window follow a run through the same record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.description import SlideDescription
from idc_desktop.errors import ModelError
from idc_desktop.grid import Block, PatchGrid
from idc_desktop.probability_map import BlockResult, ProbabilityMap
from idc_desktop.wire import Message


class RunRecord:
    """The state of one analysis, message by message.

    After a restart the engine repeats what it said before: messages are states, not increments.

    Attributes
    ----------
    slide : SlideDescription or None
        None until the engine has opened it.
    plan : dict
        Model's hash, grid, tissue settings, provider and versions; empty until the model is loaded.
    map : ProbabilityMap or None
    overview : ndarray of uint8, shape (height, width, 3)
    overview_px_l0 : float
        Side of an overview pixel, level-0 pixels.
    notes : list of str
        What the user should know, each once.
    """

    def __init__(self) -> None:
        self.slide: SlideDescription | None = None
        self.plan: dict[str, Any] = {}
        self.map: ProbabilityMap | None = None
        self.overview: npt.NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self.overview_px_l0 = 1.0
        self.notes: list[str] = []

    @property
    def done_patches(self) -> int:
        """How many patches have a state."""
        return 0 if self.map is None else int(np.count_nonzero(self.map.states))

    def take(self, message: Message, payload: bytes) -> None:
        """Take over one message of the engine."""
        kind = message["event"]
        if kind == "slide":
            self.slide = SlideDescription.from_message(message)
        elif kind == "plan":
            self.plan = message
            if self.map is None:
                self.map = ProbabilityMap(PatchGrid(**message["grid"]))
        elif kind == "note" and message["text"] not in self.notes:
            self.notes.append(message["text"])
        elif kind == "block" and self.map is not None:
            self.map.add(block_result(message, payload))
        elif kind == "overview":
            self.overview_px_l0 = message["px_l0"]
            if message["row"] == 0:
                self.overview = np.empty((message["height"], message["width"], 3), np.uint8)
            strip = np.frombuffer(payload, np.uint8).reshape(-1, message["width"], 3)
            self.overview[message["row"] : message["row"] + len(strip)] = strip


def require_model(message: Message, file: str, sha256: str) -> None:
    """Refuse the plan of an engine that found another model file than the one chosen.

    Parameters
    ----------
    file, sha256 : str
        Name and hash of the file that was chosen.

    Raises
    ------
    ModelError
        The file was replaced since then: what the engine computes is of another model.
    """
    if message["event"] == "plan" and message["model"] != sha256:
        raise ModelError(
            f"{file}: The model file was replaced since it was chosen, so its card does "
            "not tell about these figures. Choose it again."
        )


def block_result(message: Message, payload: bytes) -> BlockResult:
    """Read a ``block`` message."""
    block = Block(*(message[name] for name in ("number", "row", "col", "rows", "cols")))
    shape = (block.rows, block.cols)
    return BlockResult(
        block,
        np.frombuffer(payload, np.uint8, block.cells).reshape(shape),
        np.frombuffer(payload, "<i4", offset=block.cells).astype(np.int32).reshape(shape),
        {(row, col): why for row, col, why in message["reasons"]},
    )


def block_message(result: BlockResult) -> tuple[Message, bytes]:
    """Write a ``block`` message."""
    block = result.block
    message = {
        "event": "block",
        "number": block.number,
        "row": block.row,
        "col": block.col,
        "rows": block.rows,
        "cols": block.cols,
        "reasons": [[row, col, why] for (row, col), why in sorted(result.reasons.items())],
    }
    return message, result.states.tobytes() + result.millionths.astype("<i4").tobytes()
