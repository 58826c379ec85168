"""What the engine and its parent say to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Self

from idc_desktop.maps.grid import MAX_CELLS, PatchGrid
from idc_desktop.maps.layers import VALUE_BYTES, is_stored
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.provider import Provider, ProviderChoice, UsedProvider
from idc_desktop.processes.message import (
    Cancel,
    Cell,
    Count,
    Event,
    JobMessage,
    Name,
    Number,
    SlideOpened,
    Started,
    Text,
)
from idc_desktop.typed_json import AnyNumber, Matching, Sized, Within

OVERVIEW_SIDE_PX = 4096
"""Largest side of the overview."""

_STATE_BYTES = 1  # of a patch in a block

BlockSide = Annotated[int, Within(1, 256)]
OverviewSide = Annotated[int, Within(1, OVERVIEW_SIDE_PX)]
Spans = Annotated[tuple[tuple[Cell, Cell, Cell], ...], Sized(0, MAX_CELLS)]
Outline = tuple[tuple[tuple[tuple[float, float], ...], ...], ...]
"""A shape: the points of each ring of each polygon, level-0 pixels."""

Sha256 = Annotated[str, Matching("[0-9a-f]{64}")]
Moment = Annotated[str, Matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")]
"""UTC."""


@dataclass(frozen=True)
class Doctor(Event):
    """What the libraries of the engine are, and can do."""

    NAME = "doctor"

    versions: dict[str, str]
    providers: tuple[str, ...]
    cuda_problem: str | None


@dataclass(frozen=True)
class Trying(Event):
    """A model runs for the first time: its file's name, and on what."""

    NAME = "trying"

    model: Name
    provider: UsedProvider


@dataclass(frozen=True)
class Tried(Event):
    """The model that was tried keeps the contract."""

    NAME = "tried"


@dataclass(frozen=True)
class ModelVerified(Event):
    """What the model ran on, and its largest |Δp| on the golden patches."""

    NAME = "model"

    provider: ProviderChoice
    golden_error: Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Note(Event):
    """Something that the user should know."""

    NAME = "note"

    text: Text


@dataclass(frozen=True)
class StoredModel:
    """A model by which there is a finished run, and when the newest one was finished."""

    sha256: Sha256
    name: Name
    version: Name
    analyzed: Moment | None


@dataclass(frozen=True)
class StoredModels(Event):
    """Models by which the slide was analyzed and whose files are not those that are at hand."""

    NAME = "stored"

    models: Annotated[tuple[StoredModel, ...], Sized(0, 1 << 10)]


@dataclass(frozen=True)
class Plan(Event):
    """What is about to be computed, or was.

    Attributes
    ----------
    model : str
        SHA-256 of the model's file.
    card : str or None
        The model's card (JSON, without golden patches) where it is that of a stored run.
    blocks, restored_blocks : int
        How many blocks the grid has, and how many of them an earlier run has committed.
    is_partial : bool
        It is asked for in some areas only, or was, as far as it is stored.
    """

    NAME = "plan"

    model: Sha256
    grid: PatchGrid
    tissue: TissueSettings
    provider: ProviderChoice
    versions: dict[str, str]
    blocks: Count
    restored_blocks: Count
    is_partial: bool = False
    card: Annotated[str, Sized(0, 1 << 20)] | None = None

    def __post_init__(self) -> None:
        if self.grid.rows * self.grid.cols > MAX_CELLS:
            raise ValueError(f"a grid of {self.grid.rows} x {self.grid.cols} is too large")


@dataclass(frozen=True)
class MaskEdited(Event):
    """What the user changed of the tissue mask of the grid that is planned (`MaskEdits`)."""

    NAME = "mask"

    added: Spans
    removed: Spans
    areas: Count


@dataclass(frozen=True)
class BlockDone(Event):
    """What became of a block: its states (uint8), then its layers (`layers.pack`).

    Attributes
    ----------
    reasons : tuple of (row, col, text)
        Why patches failed; rows and columns of the grid.
    layers : tuple of str
        Names, in the order of the values.
    """

    NAME = "block"

    number: Number
    row: Cell
    col: Cell
    rows: BlockSide
    cols: BlockSide
    reasons: tuple[tuple[Cell, Cell, str], ...]
    layers: Annotated[tuple[Name, ...], Sized(0, 1 << 4)]

    def __post_init__(self) -> None:
        if unknown := [name for name in self.layers if not is_stored(name)]:
            raise ValueError(f"no layer has the name {unknown[0]!r}")
        for row, col, _ in self.reasons:
            if not (0 <= row - self.row < self.rows and 0 <= col - self.col < self.cols):
                raise ValueError(f"a reason for row {row}, column {col} is not of this block")

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.rows * self.cols * (_STATE_BYTES + len(self.layers) * VALUE_BYTES)


@dataclass(frozen=True)
class OverviewStrip(Event):
    """Some rows of a picture of the slide, RGB; strips come from the top.

    Attributes
    ----------
    width, height : int
        Of the whole picture.
    px_l0 : float
        Side of one of its pixels, level-0 pixels.
    row, rows : int
        The part that this is.
    """

    NAME = "overview"

    width: OverviewSide
    height: OverviewSide
    px_l0: Annotated[float, Within(1e-6, 1e12)]
    row: Count
    rows: OverviewSide

    def __post_init__(self) -> None:
        if self.row + self.rows > self.height:
            raise ValueError(f"rows {self.row} + {self.rows} are beyond a height of {self.height}")

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.rows * self.width * 3


@dataclass(frozen=True)
class Done(Event):
    """The analysis is over; with the moment when its last block was committed, if it is known."""

    NAME = "done"

    analyzed: Moment | None = None


@dataclass(frozen=True)
class InfoJob(JobMessage):
    """Say what is known of a slide."""

    NAME = "info"
    ANSWERS = (SlideOpened,)
    COMMANDS = (Cancel,)

    slide: str


@dataclass(frozen=True)
class DoctorJob(JobMessage):
    """Say what this installation can do."""

    NAME = "doctor"
    ANSWERS = (Doctor,)
    COMMANDS = (Cancel,)


@dataclass(frozen=True)
class VerifyJob(JobMessage):
    """Hold a model against the contract."""

    NAME = "verify"
    ANSWERS = (Trying, Tried, ModelVerified)
    COMMANDS = (Cancel,)

    model: str
    provider: Provider


@dataclass(frozen=True)
class AnalyzeJob(JobMessage):
    """Compute the map of a slide; what an earlier run has committed comes first.

    Attributes
    ----------
    slide, model, data_folder : str
        Paths; `model` may be the name of a bundled one.
    mpp : float or None
        Resolution that the user gave, µm per level-0 pixel.
    threads : int
        Blocks at work at once.
    tissue : bool
        Whether background is told from tissue.
    restart : bool
        Forget what an earlier run committed.
    recall : bool
        Only tell what an earlier run committed; also of an older version, if it is finished.
    first : (x, y, width, height) or None
        The part of level 0 to analyze before all else.
    inside : tuple of Outline
        Analyze only patches that touch one of these shapes; none: all patches.
    mask : tuple of (is_tissue, Outline), or None
        What the user changed of the tissue mask, the uppermost last; None: as it is kept.
    careful, crashed
        See `after_crash`.
    """

    NAME = "analyze"
    ANSWERS = (
        *(SlideOpened, Trying, Tried, Note, StoredModels, Plan, MaskEdited, Started, BlockDone),
        *(OverviewStrip, Done),
    )
    COMMANDS = (Cancel,)

    slide: str
    model: str
    mpp: AnyNumber | None
    provider: Provider
    threads: Count
    data_folder: str
    tissue: bool = True
    restart: bool = False
    recall: bool = False
    first: tuple[float, float, float, float] | None = None
    inside: tuple[Outline, ...] = ()
    mask: tuple[tuple[bool, Outline], ...] | None = None
    careful: tuple[Number, ...] = ()
    crashed: tuple[tuple[Number, str], ...] = ()

    def after_crash(
        self, careful: Iterable[int], crashed: Mapping[int, str], *, has_planned: bool
    ) -> Self:
        """Return the job for the engine that follows one that died."""
        return replace(
            self,
            restart=self.restart and not has_planned,
            careful=tuple(careful),
            crashed=tuple(crashed.items()),
        )


@dataclass(frozen=True)
class RecallJob(JobMessage):
    """Tell the newest finished run of a slide; its model's file is not needed.

    Attributes
    ----------
    slide, data_folder : str
        Paths.
    mpp : float or None
        Resolution that the user gives; None takes what the run has.
    provider : {"auto", "cpu", "cuda"}
        What it ran on; ``auto`` takes any.
    threads : int
        For reading the overview.
    model : str or None
        SHA-256 of the model that computed it; None takes any.
    tissue : bool or None
        Whether background was told from tissue; None takes either.
    crashed
        See `after_crash`.
    """

    NAME = "recall"
    ANSWERS = (SlideOpened, Note, Plan, MaskEdited, Started, BlockDone, OverviewStrip, Done)
    COMMANDS = (Cancel,)

    slide: str
    data_folder: str
    mpp: AnyNumber | None
    provider: Provider
    threads: Count
    model: Sha256 | None = None
    tissue: bool | None = None
    crashed: tuple[tuple[Number, str], ...] = ()

    def after_crash(
        self, careful: Iterable[int], crashed: Mapping[int, str], *, has_planned: bool
    ) -> Self:
        """Return the job for the engine that follows one that died."""
        return replace(self, crashed=tuple(crashed.items()))


ENGINE_JOBS = (InfoJob, DoctorJob, VerifyJob, AnalyzeJob, RecallJob)
