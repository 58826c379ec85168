"""What is known of a slide, from the process that opened it to the one that asked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.description import LevelDescription, SlideDescription, results_name
from idc_desktop.slide import Slide
from idc_desktop.wire import receive, send
from tests.support.slides import write_tiff


@pytest.mark.parametrize("mpp", [None, 2.0])
def test_description_is_the_same_on_the_other_side_of_a_pipe(
    tmp_path: Path, mpp: float | None
) -> None:
    path = tmp_path / "s.tiff"
    write_tiff(path, [np.full((500, 600, 3), 200, np.uint8)], mpp=mpp)
    with Slide(path) as slide:
        said = slide.describe()
    pipe = io.BytesIO()
    send(pipe, {"event": "slide", **said.as_dict(), "associated": ["label"]})
    pipe.seek(0)
    arrived = receive(pipe)

    assert arrived is not None
    assert SlideDescription.from_message(arrived[0]) == said
    assert said.levels == (LevelDescription(600, 500, 1.0, mpp, mpp),)
    assert said.mpp_xy == (None if mpp is None else (mpp, mpp))


def test_bounds_arrive_as_they_were() -> None:
    known = SlideDescription(
        file="a.svs", vendor="aperio", width_l0=9, height_l0=8, levels=(), mpp_x=None, mpp_y=None,
        mpp_source=None, objective_power=20.0, bounds=(1, 2, 3, 4), identity="ab" * 32,
        warnings=("odd",),
    )  # fmt: skip
    assert SlideDescription.from_message(known.as_dict()) == known
    assert known.pseudonym == "abababababab"


def test_results_go_by_the_name_of_the_file_or_folder(tmp_path: Path) -> None:
    series = tmp_path / "series.1.2"
    series.mkdir()

    assert results_name(tmp_path / "a.b.tiff") == "a.b"
    assert results_name(series) == "series.1.2"
