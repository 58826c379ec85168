"""How large a slide's pixels are, by its file's tags, by its OME-XML and by the user."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.errors import ResolutionError
from idc_desktop.slides.description import MPP_RANGE
from idc_desktop.slides.reader import Slide
from idc_desktop.slides.resolution import Mpp, find_resolution
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.slides import PINK, Canvas, Rgb, pyramid, write_svs, write_tiff


def painted() -> Rgb:
    canvas = Canvas(640, 512, 2.0)
    canvas.paint((0, 0, 640, 512), PINK, seed=5)
    return canvas.pixels


PIXELS = painted()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exact") / "exact.tiff"
    return write_tiff(path, pyramid(PIXELS, (1, 4)), mpp=(2.0, 2.1))


NONSENSE = ["0", "-0.25", "nan", "inf", "-inf", "1e9", "1e-9", "0.049", "100.1", "abc", ""]


@pytest.mark.parametrize("text", NONSENSE)
def test_senseless_resolution_is_unknown_and_never_used(tmp_path: Path, text: str) -> None:
    path = write_svs(tmp_path / "odd.svs", [PIXELS], mpp=text)

    with Slide(path) as slide:
        assert slide.mpp is None
        assert any("given before" in warning for warning in slide.warnings)
        with pytest.raises(ResolutionError, match=r"odd\.svs: .*--mpp"):
            slide.require_mpp()
    with Slide(path, 0.5) as slide:
        assert (slide.require_mpp().x, slide.require_mpp().source) == (0.5, "user")


@pytest.mark.parametrize(("text", "mpp"), [("0,2500", 0.25), ("5e-1", 0.5), ("0.05", 0.05)])
def test_plausible_resolution_is_taken_however_it_is_written(
    tmp_path: Path, text: str, mpp: float
) -> None:
    with Slide(write_svs(tmp_path / "x.svs", [PIXELS], mpp=text)) as slide:
        assert (slide.require_mpp().x, slide.require_mpp().y) == (mpp, mpp)


@pytest.mark.parametrize("mpp", [0.5, 2.0, 2.1])
def test_resolution_of_the_user_that_contradicts_the_file_is_told(exact: Path, mpp: float) -> None:
    with Slide(exact, mpp) as slide:
        (warning,) = slide.warnings

    assert "2 x 2.1" in warning
    assert f"{mpp:g} is used" in warning


def test_resolution_of_the_user_that_agrees_with_the_file_is_not_worth_a_word(
    tmp_path: Path,
) -> None:
    with Slide(write_svs(tmp_path / "x.svs", [PIXELS], mpp=0.2525), 0.252) as slide:
        assert slide.warnings == ()


def test_resolution_without_a_unit_is_unknown(tmp_path: Path) -> None:
    with Slide(write_tiff(tmp_path / "x.tiff", PIXELS, mpp=None)) as slide:
        assert slide.mpp is None
        with pytest.raises(ResolutionError, match="does not state it"):
            slide.require_mpp()


@given(mpp=st.floats(allow_nan=True, allow_infinity=True))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_resolution_of_the_user_is_taken_or_refused(exact: Path, mpp: float) -> None:
    low, high = MPP_RANGE
    if low <= mpp <= high:
        with Slide(exact, mpp) as slide:
            assert slide.require_mpp().x == slide.require_mpp().y == mpp
            assert slide.require_mpp().source == "user"
    else:
        with pytest.raises(ResolutionError, match="--mpp"):
            Slide(exact, mpp)


@pytest.mark.parametrize("mpp", [8.0, None])
def test_resolution_that_makes_a_slide_of_metres_is_refused(mpp: float | None) -> None:
    """A map of it would have millions of patches."""
    size, tags = (400_000, 400_000), (str(mpp), str(mpp)) if mpp else (None, None)

    found = find_resolution("s.tiff", tags, "", size, None)

    assert found.mpp is None
    if mpp is not None:
        assert found.problem.endswith("8.0 x 8.0 µm/px, which is not plausible: the slide would "
                                      "be 3,200 mm long")  # fmt: skip
    with pytest.raises(ResolutionError, match=r"s\.tiff: 8\.0 µm/px .* 3,200 mm long"):
        find_resolution("s.tiff", tags, "", size, 8.0)
    assert find_resolution("s.tiff", tags, "", size, 0.25).mpp == Mpp(0.25, 0.25, "user")


OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    "<Pixels {}/></Image>{}</OME>"
)
SIZE = 'SizeX="640" SizeY="512"'


def ome(size: str = SIZE, x: str = "1.996", y: str = "2.1", unit: str = "", rest: str = "") -> str:
    units = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    return OME.format(f'{size} PhysicalSizeX="{x}" PhysicalSizeY="{y}" {units}', rest)


@pytest.mark.parametrize(
    ("x", "y", "unit"),
    [
        ("1.996", "2.1", ""),
        ("1.996", "2.1", "µm"),
        ("1996", "2100", "nm"),
        ("0.001996", "0.0021", "mm"),
        ("1.996e-4", "2.1e-4", "cm"),
    ],
)
def test_resolution_is_read_from_ome_xml(x: str, y: str, unit: str) -> None:
    found = find_resolution("s", (None, None), ome(x=x, y=y, unit=unit), (640, 512), None)

    assert found.mpp is not None
    assert (found.mpp.x, found.mpp.y) == (pytest.approx(1.996), pytest.approx(2.1))
    assert found.mpp.source == "file"


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "<OME",
        "1.996",
        ome(unit="pixel"),
        ome(unit="reference frame"),
        ome(x="-1"),
        ome(x="nan"),
        ome(size='SizeX="320" SizeY="256"'),
        ome(rest=f'<Image><Pixels {SIZE} PhysicalSizeX="9" PhysicalSizeY="9"/></Image>'),
        ome().replace("<OME", '<!DOCTYPE OME [<!ENTITY a "b">]><OME'),
        ome().replace("OME ", "Other ").replace("OME>", "Other>"),
    ],
)
def test_what_ome_xml_does_not_say_is_not_guessed(comment: str) -> None:
    """Of another image, of two that disagree, in no length, or in no such file."""
    found = find_resolution("s", (None, None), comment, (640, 512), None)

    assert (found.mpp, found.problem) == (None, "the file does not state it")


def test_ome_xml_is_believed_before_tags_that_contradict_it_and_that_is_told() -> None:
    found = find_resolution("s", ("352.778", "352.778"), ome(), (640, 512), None)
    assert (found.mpp, found.warnings[:-1]) == (Mpp(1.996, 2.1, "file"), ())

    found = find_resolution("s", ("25.4", "25.4"), ome(), (640, 512), None)
    assert found.mpp == Mpp(1.996, 2.1, "file")
    assert "25.4 x 25.4 µm/px, its OME-XML 1.996 x 2.1; the latter" in found.warnings[0]

    found = find_resolution("s", ("2", "2.1"), ome(), (640, 512), None)
    assert found.mpp == Mpp(2.0, 2.1, "file")


def test_resolution_in_ome_xml_that_is_not_plausible_is_quoted() -> None:
    found = find_resolution("s", (None, None), ome(x="500", y="500"), (640, 512), None)

    assert found.mpp is None
    assert "states 500 x 500 µm/px, which is not plausible" in found.problem


def test_slide_whose_size_stands_in_its_ome_xml_only_is_analyzed(
    tmp_path: Path, tiny_model: TinyModel, data_dir: Path
) -> None:
    path = write_tiff(
        tmp_path / "s.ome.tif", PIXELS, mpp=None, description=ome().replace("µ", "&#181;")
    )

    outcome = run_cli(
        "analyze", path, "--out", tmp_path / "out", "--model", tiny_model.path, data_dir=data_dir
    )

    assert outcome.code == 0, outcome
    (row,) = (tmp_path / "out").glob("*/regions.csv")
    assert ",1.996,file," in row.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("mpp", "power", "is_doubtful"),
    [
        (0.25, 40, False), (0.2201, 40, False), (0.5, 20, False), (0.499, 40, True),
        (0.25, 20, True), (2.0, 20, True), (0.5, None, False), (0.5, 0.001, False),
    ],
)  # fmt: skip
def test_scale_that_the_objective_contradicts_is_doubted(
    tmp_path: Path, mpp: float, power: float | None, is_doubtful: bool
) -> None:
    fields = {} if power is None else {"AppMag": str(power)}
    path = write_svs(tmp_path / "x.svs", [PIXELS], mpp=mpp, power=None, fields=fields)
    with Slide(path) as slide:
        doubt = slide.describe().scale_doubt

    assert bool(doubt) is is_doubtful
    if is_doubtful:
        assert f"({power:g}x)" in doubt
        assert f"{mpp:g} µm/px is stated" in doubt


def test_unknown_resolution_is_proposed_by_the_objective_and_never_used(tmp_path: Path) -> None:
    with Slide(write_svs(tmp_path / "x.svs", [PIXELS], mpp=None, power=40)) as slide:
        assert slide.mpp is None
        with pytest.raises(ResolutionError, match=r"Its objective, 40x, suggests 0\.25\.$"):
            slide.require_mpp()
