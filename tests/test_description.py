"""What is known of a slide, from the process that opened it to the one that asked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.processes.message import SlideOpened, receive, send
from idc_desktop.slides.description import LevelDescription
from idc_desktop.slides.reader import Slide
from tests.support.messages import description_of
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
    send(pipe, SlideOpened(said, ("label",)))
    pipe.seek(0)

    assert receive(pipe, (SlideOpened,)) == SlideOpened(said, ("label",))
    assert said.levels == (LevelDescription(600, 500, 1.0, mpp, mpp),)
    assert said.mpp_xy == (None if mpp is None else (mpp, mpp))


def test_pseudonym_is_the_beginning_of_the_identity() -> None:
    assert description_of().pseudonym == "abababababab"
