"""Lengths and angles of marks, in the units of the slide."""

from __future__ import annotations

import json

import pytest

from idc_desktop.regions import geojson
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle


@pytest.mark.parametrize(
    ("points", "scale", "degrees"),
    [
        (((1, 0), (0, 0), (0, 1)), (1, 1), 90),
        (((1, 0), (0, 0), (1, 1)), (1, 1), 45),
        (((1, 0), (0, 0), (1, 1)), (1, 3**0.5), 60),  # pixels that are no squares
        (((1, 1), (0, 0), (1, 0)), (1, 1), 45),
        (((5, 2), (3, 2), (-4, 2)), (0.25, 0.5), 180),
    ],
)
def test_angle_is_that_on_the_glass(
    points: tuple[tuple[float, float], ...], scale: tuple[float, float], degrees: float
) -> None:
    mark = Mark("angle", points, "")
    assert mark.angle_deg(scale) == pytest.approx(degrees)
    assert mark.length(scale) is None


def test_length_is_that_on_the_glass_and_nothing_else_has_one() -> None:
    assert Mark("line", ((1, 1), (5, 4)), "").length((0.5, 1)) == pytest.approx(13**0.5)
    assert Mark("line", ((1, 1), (5, 4)), "").angle_deg((1, 1)) is None
    assert Mark("arrow", ((1, 1), (5, 4)), "").length((1, 1)) is None
    assert Mark("angle", ((1, 1), (1, 1), (5, 4)), "").angle_deg((1, 1)) is None
    with pytest.raises(ValueError, match="no angle of 2 points"):
        Mark("angle", ((1, 1), (5, 4)), "")


def test_marks_and_verdicts_stand_in_geojson() -> None:
    texts: list[str] = []
    judged = Region("Focus 1", rectangle(0, 0, 9, 9), verdict="DCIS", note="n", is_focus=True)
    marks = [Mark("line", ((10, 10), (40, 50)), "A"), Mark("text", ((15, 16),), "here")]

    geojson.write(texts.append, [judged], (10.0, 10.0), None, marks, (2.0, 2.0))

    region, line, text = json.loads("".join(texts))["features"]
    assert region["properties"]["classification"]["name"] == "DCIS"
    assert region["properties"]["metadata"] == {"Verdict": "DCIS", "Note": "n"}
    assert line["geometry"] == {"type": "LineString", "coordinates": [[0, 0], [30, 40]]}
    assert line["properties"]["measurements"] == {"Length µm": 100}
    assert text["geometry"] == {"type": "Point", "coordinates": [5, 6]}
    assert text["properties"]["metadata"] == {"Kind": "text"}
    assert "measurements" not in text["properties"]
    (found,) = geojson.parse("".join(texts).encode()).entries
    assert (found.verdict, found.note) == ("DCIS", "n")
