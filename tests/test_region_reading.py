"""Files of regions are read in a child that has its limits, and what it says is checked."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idc_desktop.children import region_reader
from idc_desktop.errors import GarbledMessageError, RegionsError
from idc_desktop.export.folder import write_regions
from idc_desktop.processes.region_messages import MAX_POINTS, CheckingArea, RegionsFound
from idc_desktop.processes.region_reading import RegionReading
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.files import RegionsFile
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle, shape_of
from tests.support import crashing_engine, crashing_region_reader, lying_process
from tests.support.crashing_engine import Crash
from tests.support.lying_process import Lie
from tests.support.messages import description_of

REGIONS = [
    Region("Größe, µm", rectangle(10.5, 20, 30, 40.25), "Tumor", (1, 2, 3), is_locked=True),
    Region("", draw_ellipse((0, 0), (300, 200)), "", (9, 8, 7)),
    Region(
        "hole and parts",
        shape_of(
            [
                [[(0, 0), (9, 0), (9, 9)], [(5, 2), (7, 2), (7, 4)]],
                [[(20, 20), (30, 20), (30, 31)]],
            ]
        ),
        "A: B",
        (0, 0, 255),
    ),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "r.geojson"
    write_regions(path, REGIONS)
    return path


def feature(points: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [points]}
    return {"type": "Feature", "geometry": geometry, "properties": {"name": "r"}}


def test_what_the_file_holds_arrives_whole(file: Path) -> None:
    read = RegionReading(file).result()

    assert read.regions == REGIONS
    assert read.notes == ()
    assert read.states_origin
    assert read.placed(description_of(), (1000, 500)) == REGIONS


def test_file_that_says_no_origin_is_moved_to_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "r.geojson"
    path.write_text(json.dumps(feature([[0, 0], [9, 9], [9, 0], [0, 9]])), encoding="utf-8")

    read = RegionReading(path).result()

    (moved,) = read.placed(description_of(), (1000, 500))
    assert moved.shape.bounds == (1000, 500, 1009, 509)
    assert moved.id == read.regions[0].id
    assert "was repaired" in read.notes[0]


NDPA = (
    "<annotations><ndpviewstate><title>T</title><annotation type='freehand'><pointlist>"
    + "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in ((0, 0), (4000, 0), (4000, 8000)))
    + "</pointlist></annotation></ndpviewstate></annotations>"
)


def test_nanometres_of_the_glass_are_laid_on_a_slide_that_says_where_its_middle_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.ndpi.ndpa"
    path.write_text(NDPA)
    read = RegionReading(path).result()

    (placed,) = read.placed(description_of(glass_middle_l0=(100.5, -20.0)), (7, 7))

    assert placed.shape.bounds == pytest.approx((100.5, -20, 101.5, -18))  # 4 µm/px
    with pytest.raises(RegionsError, match=r"a\.svs does not say where that is"):
        read.placed(description_of(), (0, 0))


MARKS = [
    Mark("line", ((0.5, 1), (2000.25, 3)), "Length 1"),
    Mark("angle", ((1, 0), (0, 0), (1, 1)), "Angle 1"),
    Mark("point", ((7, 8),), "Größe"),
    Mark("arrow", ((1, 2), (3, 4)), "Arrow 1"),
    Mark("text", ((5, 6),), "margin is free"),
]


@pytest.mark.parametrize("regions", [REGIONS, []])
@pytest.mark.parametrize("origin", [(0, 0), (1000.0, 500.0)])
def test_marks_that_we_wrote_are_read_back(
    tmp_path: Path, regions: list[Region], origin: tuple[float, float]
) -> None:
    path = tmp_path / "r.geojson.gz"
    write_regions(path, regions, origin, MARKS, (0.5, 0.25))

    read = RegionReading(path).result()

    assert [it.id for it in read.regions] == [it.id for it in regions]
    assert read.notes == ()
    assert read.placed_marks((9, 9)) == read.marks == tuple(MARKS)


def test_lines_of_others_are_no_marks_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.geojson"
    write_regions(path, REGIONS, marks=MARKS[:1])
    said = json.loads(path.read_text(encoding="utf-8"))
    line = said["features"][-1]
    said["features"] += [
        {**line, "properties": {"name": "drawn in QuPath"}},
        {**line, "properties": {"metadata": {"Kind": "angle"}}},  # of two points
    ]
    path.write_text(json.dumps(said), encoding="utf-8")

    read = RegionReading(path).result()

    assert read.marks == (MARKS[0],)
    assert "2 entries were left out" in read.notes[0]
    line["geometry"]["coordinates"][0] = ["x", 1]
    path.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(RegionsError, match=r"'Length 1'\) has no valid coordinates .* damaged"):
        RegionReading(path).result()


def test_many_regions_come_in_several_messages(tmp_path: Path) -> None:
    many = [replace(REGIONS[2], id=f"{k:08x}-0000-4000-8000-{k:012x}") for k in range(600)]
    write_regions(tmp_path / "r.geojson", many)

    batches = list(region_reader._batches(RegionsFile(tmp_path / "r.geojson")))

    assert [len(it) for it in batches] == [256, 256, 88]
    assert RegionReading(tmp_path / "r.geojson").result().regions == many


def test_regions_that_repair_makes_endless_are_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_reader, "MAX_POINTS", 10)

    with pytest.raises(RegionsError, match=r"^r\.geojson: Repaired, .* 10 corners"):
        list(region_reader._batches(RegionsFile(file)))


@pytest.mark.parametrize(
    ("how", "words"),
    [("abort", "was ended by SIGABRT"), ("eat", "took more than 500 MB of memory")],
)
def test_reader_that_dies_refuses_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    monkeypatch.setenv(crashing_engine.VARIABLE, Crash(how, "open").variable())

    with pytest.raises(RegionsError) as caught:
        RegionReading(file, crashing_region_reader.MODULE).result()
    assert str(caught.value).startswith(f"r.geojson: The process that read the regions {words}")
    assert "Simplify the areas" in str(caught.value)


def test_reading_is_ended_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(crashing_engine.VARIABLE, Crash("hang", "open").variable())
    reading = RegionReading(file, crashing_region_reader.MODULE)

    reading.cancel()
    with pytest.raises(RegionsError, match=r"^r\.geojson: The regions were not read to the end"):
        reading.result()


class Ended(Exception):
    """Stands for the end of the process."""


class Outbox:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, event: Any) -> None:
        self.said.append(event)

    def give_up(self, error: Exception) -> None:
        self.said.append(error)
        raise Ended


def test_reader_ends_when_it_has_had_its_time_and_says_at_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((1.0, 24.9, 25.0))
    monkeypatch.setattr(region_reader.time, "process_time", lambda: next(times))
    monkeypatch.setattr(region_reader.time, "sleep", lambda _: None)
    path, outbox = tmp_path / "r.geojson", Outbox()
    path.write_text(json.dumps(feature([[0, 0], [9, 0], [9, 9]])), encoding="utf-8")
    file = RegionsFile(path)
    next(file.regions())

    with pytest.raises(Ended):
        region_reader._watch(file, outbox)  # type: ignore[arg-type]
    *alive, error = outbox.said
    assert alive == [CheckingArea("Feature 1 ('r')")] * 2
    assert isinstance(error, RegionsError)
    assert str(error).startswith("r.geojson: After 25 s only Feature 1 ('r') was reached.")


@pytest.mark.long
def test_outline_that_crosses_itself_without_end_is_refused(tmp_path: Path) -> None:
    at = random.Random(4)
    points = [[at.uniform(0, 1000), at.uniform(0, 700)] for _ in range(10_000)]
    (tmp_path / "r.geojson").write_text(json.dumps(feature(points)), encoding="utf-8")

    with pytest.raises(RegionsError, match=r"Feature 1 \('r'\)"):
        RegionReading(tmp_path / "r.geojson").result()


@pytest.mark.parametrize(
    "change",
    [
        {"heads.0.name": "x" * 301},
        {"heads.0.id": "../../"},
        {"heads.0.roi": "Star"},
        {"heads.0.color": [0, 0, 256]},
        {"heads.0.rings": []},
        {"heads.0.rings": [[]]},
        {"heads.0.rings": [[2]]},
        {"heads.0.rings": [[MAX_POINTS, 3]]},
    ],
)
def test_region_that_cannot_be_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setenv(
        lying_process.VARIABLE,
        Lie("regions", change=change, module="idc_desktop.children.region_reader").variable(),
    )

    with pytest.raises(GarbledMessageError):
        RegionReading(file, lying_process.MODULE).result()


def test_reader_that_sends_regions_without_end_is_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idc_desktop.processes.region_reading.MAX_POINTS", 1000)
    lie = Lie("regions", times=20, module="idc_desktop.children.region_reader")
    monkeypatch.setenv(lying_process.VARIABLE, lie.variable())

    with pytest.raises(GarbledMessageError, match="corners"):
        RegionReading(file, lying_process.MODULE).result()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2e8])
def test_corner_that_is_none_is_refused(bad: float) -> None:
    said = RegionsFound.of(REGIONS)
    points = np.frombuffer(said.payload).copy()
    points[5] = bad

    with pytest.raises(ValueError, match="corner"):
        list(replace(said, payload=points.tobytes()).regions())
