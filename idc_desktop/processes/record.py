"""What a run of the engine has said so far, put together from its messages.

The command line and the window follow a run through the same record.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from idc_desktop.errors import GarbledMessageError, ModelError
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import pack, unpack
from idc_desktop.maps.mask import MaskEdits, cells_of
from idc_desktop.maps.probability_map import BlockResult, PatchState, ProbabilityMap
from idc_desktop.models.card import Model, ModelCard, card_without_golden
from idc_desktop.processes.engine_messages import (
    BlockDone,
    Done,
    MaskEdited,
    Note,
    OverviewStrip,
    Plan,
    StoredModel,
    StoredModels,
)
from idc_desktop.processes.message import OVERVIEW, SURVEY, Event, SlideOpened, Started
from idc_desktop.slides.description import SlideDescription


class RunRecord:
    """The state of one analysis, message by message.

    After a restart the engine repeats what it said before: messages are states, not increments.

    Parameters
    ----------
    card : ModelCard or None
        Of the model that was chosen; None if it is to be that of a stored run.

    Attributes
    ----------
    slide : SlideDescription or None
        None until the engine has opened it.
    plan : Plan or None
        None until the model is loaded.
    model : Model or None
        The model of a stored run that was taken without its file.
    stored_models : tuple of StoredModel
        By which there are finished runs, too, and whose files are not at hand.
    analyzed : str or None
        When the last block was committed (UTC), if it is known.
    map : ProbabilityMap or None
    overview : ndarray of uint8, shape (height, width, 3)
    overview_px_l0 : float
        Side of an overview pixel, level-0 pixels.
    notes : list of str
        What the user should know, each once.
    has_computed : bool
        Whether not all of it was stored before.

    Parameters
    ----------
    card : ModelCard or None
        That of the model at hand.
    is_shielded : bool
        Whether the map leaves out what the shield found something on.
    """

    def __init__(self, card: ModelCard | None = None, *, is_shielded: bool = True) -> None:
        self._card, self._is_shielded = card, is_shielded
        self.slide: SlideDescription | None = None
        self.plan: Plan | None = None
        self.model: Model | None = None
        self.stored_models: tuple[StoredModel, ...] = ()
        self.analyzed: str | None = None
        self.map: ProbabilityMap | None = None
        self.overview: npt.NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self.overview_px_l0 = 1.0
        self.notes: list[str] = []
        self.has_computed = False

    @property
    def done_patches(self) -> int:
        """How many patches have a state."""
        return 0 if self.map is None else int(np.count_nonzero(self.map.states))

    def take(self, event: Event) -> None:
        """Take over what the engine says.

        Raises
        ------
        GarbledMessageError
            It does not fit what the engine said before.
        """
        match event:
            case SlideOpened():
                self.slide = event.slide
            case StoredModels():
                self.stored_models = event.models
            case Plan():
                self._take_plan(event)
            case Started():
                self.has_computed |= event.number not in (SURVEY, OVERVIEW)
            case MaskEdited():
                self._take_mask(event)
            case Note():
                if event.text not in self.notes:
                    self.notes.append(event.text)
            case BlockDone():
                self._take_block(event)
            case OverviewStrip():
                self._take_strip(event)
            case Done():
                self.analyzed = event.analyzed

    def _take_plan(self, plan: Plan) -> None:
        if self.slide is None:
            raise GarbledMessageError("plan: no slide is open")
        if plan.card is not None:
            try:
                self.model = Model(plan.model, card_without_golden(json.loads(plan.card)))
            except (ValueError, RecursionError) as error:
                raise GarbledMessageError(f"plan: {error}") from error
        card = self.model.card if self.model is not None else self._card
        if self.map is None:
            context = card.context if card is not None else None
            self.map = ProbabilityMap(plan.grid, context, is_shielded=self._is_shielded)
        elif self.map.grid != plan.grid:
            raise GarbledMessageError("plan: another grid than before")
        self.plan = plan

    def _take_mask(self, event: MaskEdited) -> None:
        if self.map is None:
            raise GarbledMessageError("mask: nothing is planned")
        shape = (self.map.grid.rows, self.map.grid.cols)
        try:
            added, removed = cells_of(event.added, shape), cells_of(event.removed, shape)
        except ValueError as error:
            raise GarbledMessageError(f"mask: {error}") from error
        self.map.mask = MaskEdits(added, removed, event.areas)

    def _take_block(self, event: BlockDone) -> None:
        if self.map is None:
            raise GarbledMessageError("block: nothing is planned")
        grid = self.map.grid
        if event.row + event.rows > grid.rows or event.col + event.cols > grid.cols:
            raise GarbledMessageError("block: it lies off the grid")
        self.map.add(block_result(event))

    def _take_strip(self, strip: OverviewStrip) -> None:
        shape = (strip.height, strip.width, 3)
        if strip.row == 0:
            self.overview, self.overview_px_l0 = np.empty(shape, np.uint8), strip.px_l0
        elif self.overview.shape != shape:
            raise GarbledMessageError("overview: another size than before")
        rows = np.frombuffer(strip.payload, np.uint8).reshape(strip.rows, strip.width, 3)
        self.overview[strip.row : strip.row + strip.rows] = rows


def require_model(event: Event, file: str, sha256: str) -> None:
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
    if isinstance(event, Plan) and event.model != sha256:
        raise ModelError(
            f"{file}: The model file was replaced since it was chosen, so its card does "
            "not tell about these figures. Choose it again."
        )


def block_result(event: BlockDone) -> BlockResult:
    """Return what an event says of a block.

    Raises
    ------
    GarbledMessageError
        States or values are none.
    """
    block = Block(event.number, event.row, event.col, event.rows, event.cols)
    shape = (block.rows, block.cols)
    states = np.frombuffer(event.payload, np.uint8, block.cells).reshape(shape)
    if states.max() >= PatchState.EXCLUDED:  # only derived
        raise GarbledMessageError("block: a state is none of a patch that was tried")
    try:
        layers = unpack(event.layers, event.payload[block.cells :], shape)
    except ValueError as error:
        raise GarbledMessageError(f"block: {error}") from error
    reasons = {(row, col): why for row, col, why in event.reasons}
    return BlockResult(block, states, layers, reasons)


def block_done(result: BlockResult) -> BlockDone:
    """Return the event that tells what became of a block."""
    block = result.block
    return BlockDone(
        number=block.number,
        row=block.row,
        col=block.col,
        rows=block.rows,
        cols=block.cols,
        reasons=tuple((row, col, why) for (row, col), why in sorted(result.reasons.items())),
        layers=tuple(result.layers),
        payload=result.states.tobytes() + pack(result.layers),
    )
