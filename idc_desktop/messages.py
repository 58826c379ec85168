"""What the processes say to each other: every message there is, and what is true of each.

A parent gives a child one job, then commands; the child answers with events. Who receives a
message gets a value of one of these classes, complete and within its bounds, or
`GarbledMessageError`: a decoder that a hostile slide took over can say nothing else. What a
message must be to fit those before it is for who keeps those (`record`, the tile loader).

Raw bytes (`Message.payload`) follow a message where its class says how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Annotated, ClassVar, Self, TypeVar

from idc_desktop import wire
from idc_desktop.description import SlideDescription
from idc_desktop.errors import GarbledMessageError
from idc_desktop.grid import MAX_CELLS, PatchGrid
from idc_desktop.provider import Provider, ProviderChoice, UsedProvider
from idc_desktop.tissue import TissueSettings
from idc_desktop.typed_json import (
    AnyNumber,
    Matching,
    MismatchError,
    Sized,
    Within,
    build,
    decode,
    encode,
)

TILE_PX = 256
"""Side of the tiles that the decoder sends to the window."""

OVERVIEW_SIDE_PX = 4096
"""Largest side of the overview."""

OVERVIEW = -1
"""Stands for the overview where blocks are numbered: it can kill the engine as they can."""

MAX_PICTURE_PX = 64 << 20
"""Pixels of the largest picture that the decoder sends: a label or macro image."""

MAX_TEXT = 1 << 16
"""Characters of the longest text; who quotes a file cuts it here."""

_STATE_BYTES, _MILLIONTHS_BYTES = 1, 4  # of a patch in a block

Number = Annotated[int, Within(OVERVIEW, 1 << 53)]
Count = Annotated[int, Within(0, 1 << 53)]
Cell = Annotated[int, Within(0, MAX_CELLS)]
BlockSide = Annotated[int, Within(1, 256)]
OverviewSide = Annotated[int, Within(1, OVERVIEW_SIDE_PX)]
PictureSide = Annotated[int, Within(1, MAX_PICTURE_PX)]
Name = Annotated[str, Sized(1, 1 << 12)]
Text = Annotated[str, Sized(0, MAX_TEXT)]
Sha256 = Annotated[str, Matching("[0-9a-f]{64}")]
Moment = Annotated[str, Matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")]
"""UTC."""


@dataclass(frozen=True)
class Message:
    """What all messages have."""

    KEY: ClassVar[str]
    """The JSON field that holds the name, another one for each of the three kinds of message."""
    NAME: ClassVar[str]

    payload: bytes = field(default=b"", kw_only=True, repr=False)

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return 0


@dataclass(frozen=True)
class Event(Message):
    """What a child says."""

    KEY = "event"


@dataclass(frozen=True)
class Command(Message):
    """What a child is told while it is at its job."""

    KEY = "command"


@dataclass(frozen=True)
class JobMessage(Message):
    """The first message that a child gets."""

    KEY = "job"
    ANSWERS: ClassVar[tuple[type[Event], ...]]
    """What the child may say, besides `Failure`."""
    COMMANDS: ClassVar[tuple[type[Command], ...]]

    def after_crash(
        self, careful: Iterable[int], crashed: Mapping[int, str], *, has_planned: bool
    ) -> Self:
        """Return the job for the child that follows one that died.

        Parameters
        ----------
        careful : iterable of int
            Blocks under suspicion: they run first, alone.
        crashed : mapping of int to str
            Blocks that are given up, and why.
        has_planned : bool
            A child before it had begun to compute: what it did is not to be forgotten.
        """
        return self


@dataclass(frozen=True)
class Failure(Event):
    """The child ends with an error: the name of its class, and its message."""

    NAME = "error"

    kind: Name
    message: Text


@dataclass(frozen=True)
class Started(Event):
    """What the child is at now, named before it can die of it: a block, or a request."""

    NAME = "start"

    number: Number


@dataclass(frozen=True)
class Reading(Event):
    """A sign of life between the parts of a request that takes long."""

    NAME = "reading"

    request: Count
    parts_left: Annotated[int, Within(1, TILE_PX * TILE_PX)]


@dataclass(frozen=True)
class SlideOpened(Event):
    """The slide is open; with the names of the pictures that came with the scan."""

    NAME = "slide"

    slide: SlideDescription
    associated: Annotated[tuple[Name, ...], Sized(0, 1 << 12)] = ()

    def __post_init__(self) -> None:
        slide = self.slide
        if (slide.mpp_x is None) != (slide.mpp_y is None):
            raise ValueError("the resolution of one axis is unknown")
        x, y, width, height = slide.bounds or (0, 0, 0, 0)
        if x + width > slide.width_l0 or y + height > slide.height_l0:
            raise ValueError(f"bounds {slide.bounds} are not within the slide")


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
    """

    NAME = "plan"

    model: Sha256
    grid: PatchGrid
    tissue: TissueSettings
    provider: ProviderChoice
    versions: dict[str, str]
    blocks: Count
    restored_blocks: Count
    card: Annotated[str, Sized(0, 1 << 20)] | None = None

    def __post_init__(self) -> None:
        if self.grid.rows * self.grid.cols > MAX_CELLS:
            raise ValueError(f"a grid of {self.grid.rows} x {self.grid.cols} is too large")


@dataclass(frozen=True)
class BlockDone(Event):
    """What became of a block: its states (uint8), then its probabilities in millionths (int32).

    Attributes
    ----------
    reasons : tuple of (row, col, text)
        Why patches failed; rows and columns of the grid.
    """

    NAME = "block"

    number: Number
    row: Cell
    col: Cell
    rows: BlockSide
    cols: BlockSide
    reasons: tuple[tuple[Cell, Cell, str], ...]

    def __post_init__(self) -> None:
        for row, col, _ in self.reasons:
            if not (0 <= row - self.row < self.rows and 0 <= col - self.col < self.cols):
                raise ValueError(f"a reason for row {row}, column {col} is not of this block")

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.rows * self.cols * (_STATE_BYTES + _MILLIONTHS_BYTES)


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
class Pixels(Event):
    """The picture that was asked for: 32-bit pixels as Qt has them, B, G, R, 255."""

    NAME = "pixels"

    request: Count
    width: PictureSide
    height: PictureSide

    def __post_init__(self) -> None:
        if self.width * self.height > MAX_PICTURE_PX:
            raise ValueError(f"{self.width} x {self.height} pixels are too many")

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.width * self.height * 4


@dataclass(frozen=True)
class Unreadable(Event):
    """What was asked for cannot be read."""

    NAME = "failed"

    request: Count
    message: Text


@dataclass(frozen=True)
class Cancel(Command):
    """End after what has begun."""

    NAME = "cancel"


@dataclass(frozen=True)
class ReadTile(Command):
    """Asks for a tile; at zoom z a pixel of it covers 2^z level-0 pixels."""

    NAME = "tile"

    request: Count
    zoom: Annotated[int, Within(0, 64)]
    col: Count
    row: Count


@dataclass(frozen=True)
class ReadPatch(Command):
    """Asks for the pixels that a model sees of a grid cell and of its eight neighbours."""

    NAME = "patch"

    request: Count
    spacing_um_px: float
    row: Cell
    col: Cell


@dataclass(frozen=True)
class ReadAssociated(Command):
    """Asks for a picture that came with the scan.

    They are read only when asked for, since they may show a patient's name.
    """

    NAME = "associated"

    request: Count
    name: str


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
    careful, crashed
        See `after_crash`.
    """

    NAME = "analyze"
    ANSWERS = (
        *(SlideOpened, Trying, Tried, Note, StoredModels, Plan, Started, BlockDone),
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
    ANSWERS = (SlideOpened, Note, Plan, Started, BlockDone, OverviewStrip, Done)
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


@dataclass(frozen=True)
class ViewJob(JobMessage):
    """Open a slide and read what is asked for, until the parent closes the pipe."""

    NAME = "view"
    ANSWERS = (SlideOpened, Started, Reading, Pixels, Unreadable)
    COMMANDS = (ReadTile, ReadPatch, ReadAssociated)

    slide: str
    mpp: AnyNumber | None
    data_folder: str


JOBS: tuple[type[JobMessage], ...] = (
    InfoJob,
    DoctorJob,
    VerifyJob,
    AnalyzeJob,
    RecallJob,
    ViewJob,
)

AnyMessage = TypeVar("AnyMessage", bound=Message)


def send(stream: IO[bytes], message: Message) -> None:
    """Write one message and flush.

    Raises
    ------
    OSError
        The other side is gone.
    """
    said = {message.KEY: message.NAME, **vars(message)}
    del said["payload"]
    wire.send(stream, encode(said), message.payload)


def receive(stream: IO[bytes], kinds: tuple[type[AnyMessage], ...]) -> AnyMessage | None:
    """Read one message; None when the other side has closed the pipe, even mid-message.

    Parameters
    ----------
    kinds : tuple of classes
        What may be said now, all of them jobs, commands or events.

    Raises
    ------
    GarbledMessageError
        What came is none of them. Nothing that follows it can be read.
    """
    received = wire.receive_head(stream)
    if received is None:
        return None
    head, payload_bytes = received
    name: object = None
    try:
        said = decode(head)
        name = said.pop(kinds[0].KEY, None)
        message = build(_named(kinds, name), said)
        if payload_bytes != message.payload_bytes:
            raise MismatchError(f"{payload_bytes:,} bytes for {message.payload_bytes:,} follow")
    except MismatchError as error:
        raise GarbledMessageError(f"{name or 'message'}: {error}") from error
    if payload_bytes == 0:
        return message
    payload = wire.receive_payload(stream, payload_bytes)
    return None if payload is None else replace(message, payload=payload)


def _named(kinds: tuple[type[AnyMessage], ...], name: object) -> type[AnyMessage]:
    for kind in kinds:
        if name == kind.NAME:
            return kind
    raise MismatchError("not expected here")
