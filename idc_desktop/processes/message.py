"""A message between processes: what all of them have, how one is sent, and what all children say.

A parent gives a child one job, then commands; the child answers with events. Who receives a
message gets a value of one of the classes that it expects, complete and within its bounds, or
`GarbledMessageError`: a decoder that a hostile slide took over can say nothing else. What a
message must be to fit those before it is for who keeps those (`record`, the tile loader).

Raw bytes (`Message.payload`) follow a message where its class says how many. The messages
themselves are in `engine_messages`, `decoder_messages` and
`region_messages`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Annotated, ClassVar, Self, TypeVar

from idc_desktop.errors import GarbledMessageError
from idc_desktop.maps.grid import MAX_CELLS
from idc_desktop.processes import wire
from idc_desktop.slides.description import SlideDescription
from idc_desktop.typed_json import MismatchError, Sized, Within, build, decode, encode

OVERVIEW = -1
"""Stands for the overview where blocks are numbered: it can kill the engine as they can."""

SURVEY = -2
"""As `OVERVIEW`, of the look around that comes before all blocks."""

MAX_TEXT = 1 << 16
"""Characters of the longest text; who quotes a file cuts it here."""

Number = Annotated[int, Within(SURVEY, 1 << 53)]
Count = Annotated[int, Within(0, 1 << 53)]
Cell = Annotated[int, Within(0, MAX_CELLS)]
Name = Annotated[str, Sized(1, 1 << 12)]
Text = Annotated[str, Sized(0, MAX_TEXT)]


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
    """The first message that a child gets.

    Attributes
    ----------
    stays : bool
        The child does not end with the job: it says `JobOver` and waits for the next one.
    """

    KEY = "job"
    ANSWERS: ClassVar[tuple[type[Event], ...]]
    """What the child may say, besides `Failure` and `JobOver`."""
    COMMANDS: ClassVar[tuple[type[Command], ...]]

    stays: bool = field(default=False, kw_only=True)

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
class JobOver(Event):
    """The job is over, whatever came of it, and the child waits for the next one."""

    NAME = "over"


@dataclass(frozen=True)
class Started(Event):
    """What the child is at now, named before it can die of it: a block, or a request."""

    NAME = "start"

    number: Number


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
class Cancel(Command):
    """End after what has begun."""

    NAME = "cancel"


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
        What may be said now.

    Raises
    ------
    GarbledMessageError
        What came is none of them. Nothing that follows it can be read.
    """
    received = wire.receive_head(stream)
    if received is None:
        return None
    head, payload_bytes = received
    what = "message"
    try:
        said = decode(head)
        kind = _kind_of(said, kinds)
        what = kind.NAME
        del said[kind.KEY]
        message = build(kind, said)
        if payload_bytes != message.payload_bytes:
            raise MismatchError(f"{payload_bytes:,} bytes for {message.payload_bytes:,} follow")
    except MismatchError as error:
        raise GarbledMessageError(f"{what}: {error}") from error
    if payload_bytes == 0:
        return message
    payload = wire.receive_payload(stream, payload_bytes)
    return None if payload is None else replace(message, payload=payload)


def _kind_of(said: Mapping[str, object], kinds: tuple[type[AnyMessage], ...]) -> type[AnyMessage]:
    for kind in kinds:
        if said.get(kind.KEY) == kind.NAME:
            return kind
    raise MismatchError("not expected here")
