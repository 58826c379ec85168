"""Messages between processes: what is not one, or says what cannot be, is never taken."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pytest

from idc_desktop.errors import GarbledMessageError, ModelError
from idc_desktop.maps.grid import MAX_CELLS, PatchGrid
from idc_desktop.maps.layers import PATCH
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.processes import (
    cut_messages,
    decoder_messages,
    engine_messages,
    message,
    region_messages,
)
from idc_desktop.processes.cut_messages import BlockCut, CutJob, GridLaid, WantedCells
from idc_desktop.processes.decoder_messages import (
    Pixels,
    ReadAssociated,
    Reading,
    ReadPatch,
    ReadTile,
    Unreadable,
    ViewJob,
)
from idc_desktop.processes.engine_messages import (
    ENGINE_JOBS,
    AnalyzeJob,
    BlockDone,
    Doctor,
    DoctorJob,
    Done,
    InfoJob,
    MaskEdited,
    ModelVerified,
    Note,
    OverviewStrip,
    Plan,
    RecallJob,
    StoredModel,
    StoredModels,
    Tried,
    Trying,
    VerifyJob,
)
from idc_desktop.processes.message import (
    Cancel,
    Command,
    Event,
    Failure,
    JobMessage,
    JobOver,
    Message,
    SlideOpened,
    Started,
    receive,
    send,
)
from idc_desktop.processes.record import RunRecord, require_model
from idc_desktop.processes.region_messages import (
    CheckingArea,
    MarksFound,
    ReadRegionsJob,
    RegionsDone,
    RegionsFound,
)
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle
from tests.support.messages import GRID, block_of, description_of, plan_of

JOB = AnalyzeJob(
    "caf\udce9.svs", "baseline", 0.25, "auto", 2, "/data", first=(0.0, 1.5, 2.0, 3.0),
    inside=(((((0.0, 1.0), (2.5, 1.0), (2.5, 3.0)),),),),
    mask=((True, ((((0.0, 1.0), (2.5, 1.0), (2.5, 3.0)),),)),),
    careful=(3, -1), crashed=((4, "was ended by SIGABRT"),),
)  # fmt: skip
SAID: tuple[Message, ...] = (
    JOB,
    InfoJob("a.svs"),
    DoctorJob(),
    VerifyJob("m.onnx", "cuda"),
    ViewJob("a.svs", None, "/data"),
    RecallJob("a.svs", "/data", None, "auto", 2, crashed=((-1, "was ended by SIGABRT"),)),
    Cancel(),
    ReadTile(1, 2, 3, 4),
    ReadPatch(1, PatchSize(50, 8.0), 2, 3),
    ReadAssociated(1, "label"),
    CutJob("a.svs", PatchSize(96, 4.0), None, 2, careful=(1,), crashed=((4, "died"),)),
    WantedCells.of(np.eye(3, 5, dtype=bool)),
    GridLaid(GRID),
    BlockCut(0, 0, 0, 1, 2, 32, 1, ((0, 1, "torn"),), payload=b"\1\3" + bytes(32 * 32 * 3)),
    Failure("SlideError", "a.svs: It is none."),
    JobOver(),
    Started(-1),
    SlideOpened(description_of(), ("label", "macro")),
    SlideOpened(description_of(mpp_x=None, mpp_y=None, mpp_source=None, bounds=None)),
    Doctor({"numpy": "2"}, ("cpu",), None),
    Trying("m.onnx", "cuda"),
    Tried(),
    ModelVerified(ProviderChoice("auto", "cpu", "no driver"), 1e-7),
    Note("µm"),
    StoredModels((StoredModel("a" * 64, "m", "1.0", None),)),
    plan_of(),
    MaskEdited(((0, 1, 3), (4, 0, 1)), (), 2),
    block_of(),
    OverviewStrip(3, 5, 2.5, row=1, rows=2, payload=bytes(18)),
    Done("2026-11-28T15:59:11Z"),
    Pixels(7, 2, 1, payload=bytes(8)),
    Reading(7, 3),
    Unreadable(7, "torn"),
    ReadRegionsJob("caf\udce9.xml"),
    CheckingArea("Feature 1"),
    RegionsFound.of([Region("µ", rectangle(0, 1, 2.5, 3), "IDC", (1, 2, 3))]),
    MarksFound.of([Mark("line", ((0.5, 1.0), (-2.0, 3.0)), "µ")]),
    RegionsDone(("r.xml: 1 entry was left out.",), states_origin=False),
)


def classes(base: type[Message]) -> list[type[Message]]:
    return [
        it
        for module in (message, cut_messages, engine_messages, decoder_messages, region_messages)
        for it in vars(module).values()
        if isinstance(it, type) and issubclass(it, base) and it.__module__ == module.__name__
        if it not in (Message, JobMessage, Command, Event)
    ]


def frame(said: object, payload: bytes = b"", claimed: int | None = None) -> io.BytesIO:
    head = said if isinstance(said, bytes) else json.dumps(said).encode()
    size = len(payload) if claimed is None else claimed
    return io.BytesIO(struct.pack("<II", len(head), size) + head + payload)


def plain(message: Message) -> dict[str, Any]:
    """Return the JSON of a message."""
    pipe = io.BytesIO()
    send(pipe, message)
    head_bytes, _ = struct.unpack("<II", pipe.getvalue()[:8])
    found: dict[str, Any] = json.loads(pipe.getvalue()[8 : 8 + head_bytes])
    return found


@pytest.mark.parametrize("message", SAID, ids=lambda it: type(it).__name__)
def test_message_arrives_as_it_was_sent(message: Message) -> None:
    pipe = io.BytesIO()
    send(pipe, message)
    pipe.seek(0)

    assert receive(pipe, (type(message),)) == message
    assert receive(pipe, (type(message),)) is None


def test_every_kind_of_message_was_tried() -> None:
    known = {it for base in (JobMessage, Command, Event) for it in classes(base)}

    assert {type(it) for it in SAID} == known
    assert {*ENGINE_JOBS, CutJob, ViewJob, ReadRegionsJob} == set(classes(JobMessage))


@pytest.mark.parametrize("base", [JobMessage, Command, Event])
def test_names_are_told_apart(base: type[Message]) -> None:
    names = [it.NAME for it in classes(base)]

    assert len(set(names)) == len(names)


SLIDE, BLOCK, STRIP, PIXELS = (
    plain(it)
    for it in (
        SlideOpened(description_of(), ("label", "macro")),
        block_of(),
        OverviewStrip(3, 5, 2.5, row=1, rows=2, payload=bytes(18)),
        Pixels(7, 2, 1, payload=bytes(8)),
    )
)
LEVEL = SLIDE["slide"]["levels"][0]
ANSWERS = (SlideOpened, Plan, BlockDone, OverviewStrip, Pixels, Note, Started, Reading)


def slide_with(**changes: object) -> dict[str, Any]:
    return SLIDE | {"slide": SLIDE["slide"] | changes}


def grid_with(**changes: object) -> dict[str, Any]:
    said = plain(plan_of())
    return said | {"grid": said["grid"] | changes}


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 50_000,
        b"cposix\nsystem\n(S'true'\ntR.",
        [],
        {},
        {"event": ["slide"]},
        {"event": "format the disk"},
        {"event": "done"},  # not of this job
        {"event": "note", "text": 1},
        {"event": "start", "number": -3},
        {"event": "start", "number": 0.5},
        SLIDE | {"associated": "label"},
        slide_with(identity="../../"),
        slide_with(identity="ab" * 31 + "/."),
        slide_with(identity="ab" * 33),
        slide_with(levels=[]),
        slide_with(levels=[LEVEL | {"downsample": float("nan")}]),
        slide_with(levels=[LEVEL | {"downsample": 0}]),
        slide_with(levels=[LEVEL | {"width": -1}]),
        slide_with(width_l0=0),
        slide_with(width_l0=1 << 40),
        slide_with(height_l0="500"),
        slide_with(mpp_x=-4.0),
        slide_with(mpp_x=float("inf")),
        slide_with(mpp_y=None),
        slide_with(mpp_source="guess"),
        slide_with(bounds=[1, 2, 3]),
        slide_with(bounds=[-1, 2, 3, 4]),
        slide_with(bounds=[590, 2, 11, 4]),
        slide_with(warnings=[None]),
        slide_with(extra=1),
        grid_with(rows=0),
        grid_with(rows=MAX_CELLS, cols=2),
        grid_with(step_x_l0=float("nan")),
        grid_with(step_y_l0=0),
        grid_with(width_l0=-5),
        plain(plan_of())
        | {"provider": {"requested": "auto", "used": "tpu", "fallback_reason": None}},
        plain(plan_of()) | {"model": "../m"},
    ],
)
def test_what_cannot_be_said_is_refused(said: object) -> None:
    with pytest.raises(GarbledMessageError) as caught:
        receive(frame(said), ANSWERS)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("said", "payload_bytes", "claimed"),
    [
        (PIXELS | {"width": 20_000, "height": 20_000}, 16, None),
        (PIXELS | {"width": 20_000, "height": 20_000}, 16, 1_600_000_000),
        (PIXELS | {"width": 0}, 0, None),
        (PIXELS | {"width": -2}, 8, None),
        (PIXELS, 7, None),
        (PIXELS, 9, None),
        (PIXELS, 8, 0xFFFFFFFF),
        (BLOCK, 19, None),
        (BLOCK | {"rows": 0}, 0, None),
        (BLOCK | {"rows": 100_000, "cols": 100_000}, 20, None),
        (BLOCK | {"row": -1}, 20, None),
        (BLOCK | {"reasons": [[2, 0, "not of this block"]]}, 20, None),
        (STRIP, 17, None),
        (STRIP | {"row": 4}, 18, None),
        (STRIP | {"width": 100_000}, 600_000, None),
        (STRIP | {"px_l0": float("nan")}, 18, None),
        (SLIDE, 1, None),
    ],
)
def test_payload_is_as_large_as_the_message_says_or_not_read(
    said: dict[str, Any], payload_bytes: int, claimed: int | None
) -> None:
    pipe = frame(said, bytes(payload_bytes), claimed)

    with pytest.raises(GarbledMessageError):
        receive(pipe, ANSWERS)
    assert len(pipe.getvalue()) - pipe.tell() == payload_bytes


def test_job_is_told_what_died_and_does_not_forget_what_was_computed() -> None:
    again = AnalyzeJob("a", "m", None, "cpu", 1, "d", restart=True)

    before = again.after_crash([5], {4: "why"}, has_planned=False)
    after = before.after_crash([], {4: "why", 5: "too"}, has_planned=True)

    assert (before.restart, before.careful, before.crashed) == (True, (5,), ((4, "why"),))
    assert (after.restart, after.careful, after.crashed) == (False, (), ((4, "why"), (5, "too")))
    assert InfoJob("a").after_crash([5], {}, has_planned=False) == InfoJob("a")


def recorded(*events: Event) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.take(event)
    return record


OPENED = SlideOpened(description_of())


def test_record_is_put_together_from_messages() -> None:
    top = OverviewStrip(2, 2, 3.0, row=0, rows=1, payload=bytes(range(6)))
    bottom = OverviewStrip(2, 2, 3.0, row=1, rows=1, payload=bytes(range(6, 12)))
    last = block_of(3, 4)
    said = (OPENED, plan_of(), Note("odd"), Note("odd"), block_of(), last, top, bottom)

    record = recorded(*said, *said)  # as after a restart

    assert record.slide == OPENED.slide
    assert record.plan == plan_of()
    assert record.notes == ["odd"]
    assert record.map is not None
    assert record.done_patches == 8
    assert record.map.reasons == {(0, 0): "torn", (3, 4): "torn"}
    assert record.map.counts() | {"ok": 6, "failed": 2} == record.map.counts()
    assert record.overview.reshape(-1).tolist() == list(range(12))
    assert record.overview_px_l0 == 3.0


@pytest.mark.parametrize(
    "events",
    [
        (plan_of(),),
        (OPENED, block_of()),
        (OPENED, plan_of(), block_of(row=4)),
        (OPENED, plan_of(), block_of(col=5)),
        (OPENED, plan_of(), plan_of(PatchGrid.over((0, 0, 700, 500), (4.0, 4.0), 400.0))),
        (OverviewStrip(2, 2, 1.0, row=1, rows=1, payload=bytes(6)),),
        (
            OverviewStrip(2, 2, 1.0, row=0, rows=1, payload=bytes(6)),
            OverviewStrip(3, 2, 1.0, row=1, rows=1, payload=bytes(9)),
        ),
    ],
)
def test_message_that_does_not_fit_those_before_is_refused(events: tuple[Event, ...]) -> None:
    before = recorded(*events[:-1])

    with pytest.raises(GarbledMessageError):
        before.take(events[-1])


@pytest.mark.parametrize(
    ("state", "stored"),
    [(5, -1), (6, -1), (255, -1), (1, -2), (1, 1_000_001), (1, 2**31 - 1)],
)
def test_patch_of_no_state_or_probability_is_refused(state: int, stored: int) -> None:
    record = recorded(OPENED, plan_of())
    payload = bytes([state]) + struct.pack("<i", stored)

    with pytest.raises(GarbledMessageError, match="block"):
        record.take(BlockDone(0, 0, 0, 1, 1, (), (PATCH,), payload=payload))
    assert record.done_patches == 0


def test_plan_for_another_model_is_refused() -> None:
    require_model(plan_of(), "m.onnx", "cd" * 32)
    with pytest.raises(ModelError, match="replaced"):
        require_model(plan_of(), "m.onnx", "ef" * 32)


def test_grid_of_these_tests_is_as_they_say() -> None:
    assert (GRID.rows, GRID.cols) == (5, 6)
