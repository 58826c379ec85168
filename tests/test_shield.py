"""The shield: what it finds on painted patches, and what becomes of it in map, store and files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from idc_desktop.analysis.shield import Shield
from idc_desktop.analysis.survey import Survey, surveyed
from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import KINDS, PATCH, REASONS, SHIELD
from idc_desktop.maps.probability_map import BlockResult, PatchState, ProbabilityMap
from idc_desktop.maps.shield_notes import cautions, shield_notes
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.card import PatchSize
from idc_desktop.phantom.making import make_phantom
from idc_desktop.slides.reader import Slide
from tests.support import artefacts

Patches = npt.NDArray[np.uint8]

UM_PX = 8.0


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """Patches of the phantom, more than half of each tissue."""
    phantom = make_phantom(tmp_path_factory.mktemp("phantom"), blocks=(4, 4))
    with Slide(phantom.slide) as slide:
        reader = PatchReader(slide, PatchSize(50, UM_PX), TissueSettings(min_fraction=0.6))
        return np.concatenate([reader.read(block)[1] for block in reader.blocks()])


def reasons(patches: Patches, um_px: float = UM_PX, survey: Survey | None = None) -> list[str]:
    return [REASONS[it] for it in Shield(um_px, survey).judge(patches)]


def survey_of(patches: Patches) -> Survey:
    patches = np.concatenate([patches, patches[:, ::-1]])  # enough of them
    return surveyed(patches, patches[:, 2::5, 2::5], TissueSettings())


def test_the_phantom_passes(tissue: Patches) -> None:
    assert len(tissue) > 10
    assert set(reasons(tissue)) == {""}


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("color", artefacts.PENS)
def test_pens_of_all_colours_are_found(tissue: Patches, color: str, share: float) -> None:
    rng = np.random.default_rng(0)
    drawn = [artefacts.pen(patch, share, rng, color) for patch in tissue]

    expected = {"ink"} if color == "black" else {"pen"}
    if share == 1:  # nothing of the slide is left to tell a pen from a picture that is all dark
        expected |= {"colour"}
    assert set(reasons(np.stack(drawn))) <= expected


def test_ink_is_found_and_brown_pigment_is_none(tissue: Patches) -> None:
    rng = np.random.default_rng(0)
    inked = [artefacts.ink(patch, 0.3, rng) for patch in tissue]
    pigment = tissue.copy()
    pigment[:, 10:18, 10:25] = (90, 55, 30)

    assert set(reasons(np.stack(inked))) <= {"ink", "pen"}
    assert set(reasons(pigment)) == {""}


@pytest.mark.parametrize("sigma_px", [1.0, 2.0])
def test_blur_is_found_from_one_pixel_on(tissue: Patches, sigma_px: float) -> None:
    rng = np.random.default_rng(0)
    blurred = np.stack([artefacts.blur(patch, 1.0, rng, sigma_px) for patch in tissue])
    hardly = np.stack([artefacts.blur(patch, 1.0, rng, 0.375) for patch in tissue])

    assert reasons(blurred).count("blur") >= 0.95 * len(tissue)
    assert set(reasons(hardly)) == {""}


def test_colours_of_other_stains_and_wrong_channels_are_found(tissue: Patches) -> None:
    for name, paint in artefacts.WRONG_COLOURS.items():
        if name != "misread":  # what its tissue looks like may be tissue; its glass is red
            wrong = reasons(np.stack([paint(patch) for patch in tissue]))
            assert "" not in wrong, name


@pytest.mark.parametrize(("share", "least"), [(0.5, 0.9), (1.0, 0.9)])
def test_folds_are_found_by_what_the_rest_of_the_slide_absorbs(
    tissue: Patches, share: float, least: float
) -> None:
    rng = np.random.default_rng(0)
    shield = Shield(UM_PX, survey_of(tissue))
    folded = np.stack([artefacts.fold(patch, share, rng) for patch in tissue])

    assert not shield.judge(tissue).any()
    assert np.mean(shield.judge(folded) == REASONS.index("fold")) >= least


@pytest.mark.parametrize(("side_px", "least"), [(13, 0.0), (16, 0.5), (32, 0.5)])  # 100 µm and more
@pytest.mark.parametrize("times", [1, 2])
def test_folds_are_found_in_small_patches_at_any_resolution(
    tissue: Patches, side_px: int, least: float, times: int
) -> None:
    rng = np.random.default_rng(0)
    folded = np.stack([artefacts.fold(patch, 1.0, rng) for patch in tissue])
    whole, folds = (
        it[:, 9 : 9 + side_px, 9 : 9 + side_px].repeat(times, axis=1).repeat(times, axis=2)
        for it in (tissue, folded)
    )
    shield = Shield(UM_PX / times, survey_of(whole))

    assert np.mean(shield.judge(whole) == REASONS.index("fold")) <= 0.1
    assert np.mean(shield.judge(folds) == REASONS.index("fold")) >= least


@pytest.mark.parametrize("name", ["fluorescent", "misread"])
def test_a_slide_of_wrong_colours_has_no_pen(tissue: Patches, name: str) -> None:
    paint = artefacts.WRONG_COLOURS[name]
    glass = np.full((len(tissue), 50, 50, 3), 243, np.uint8)
    wrong = np.stack([paint(patch) for patch in (*tissue, *glass)])

    assert survey_of(wrong).has_wrong_colours
    assert not {"pen", "ink"} & set(reasons(wrong, survey=survey_of(wrong)))


def test_what_is_all_of_one_colour_is_blank() -> None:
    assert reasons(np.full((2, 50, 50, 3), (221, 130, 166), np.uint8)) == ["blank"] * 2


def test_a_verdict_does_not_depend_on_the_other_patches(tissue: Patches) -> None:
    rng = np.random.default_rng(0)
    some = np.stack([*tissue[:6], *(artefacts.blur(it, 0.5, rng) for it in tissue[:6])])

    judge = Shield(UM_PX, survey_of(tissue)).judge
    alone = np.concatenate([judge(some[it : it + 1]) for it in range(len(some))])
    assert judge(some).tolist() == alone.tolist()
    assert judge(some[::-1]).tolist() == alone[::-1].tolist()
    assert judge(some[:0]).shape == (0,)


def test_finer_pixels_are_judged_at_the_same_scale(tissue: Patches) -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([artefacts.pen(patch, 0.4, rng, "green") for patch in tissue[:5]])
    finer = drawn.repeat(4, axis=1).repeat(4, axis=2)

    assert reasons(finer, UM_PX / 4) == reasons(drawn)


def judged_map(verdicts: list[int], *, is_shielded: bool = True) -> ProbabilityMap:
    """Return a map of one row of analyzed patches."""
    count = len(verdicts)
    grid = PatchGrid(1, count, 10.0, 10.0, 0, 0, 10 * count, 10)
    made = ProbabilityMap(grid, is_shielded=is_shielded)
    values = np.linspace(0.1, 0.9, count)[None]
    layers = {
        PATCH: KINDS[PATCH].stored(values),
        SHIELD: np.array([verdicts], np.int32),
    }
    states = np.full((1, count), PatchState.OK, np.uint8)
    made.add(BlockResult(Block(0, 0, 0, 1, count), states, layers))
    return made


def test_what_was_found_leaves_the_figures_unless_the_shield_is_off() -> None:
    made = judged_map([0, REASONS.index("pen"), 0, REASONS.index("fold"), REASONS.index("pen")])

    assert made.counts() == {
        "ok": 2, "background": 0, "failed": 0, "invalid_output": 0, "excluded": 3,
    }  # fmt: skip
    assert made.state_text(0, 1) == "excluded: pen"
    assert [it.name for it in made.layers] == [PATCH]
    assert np.isnan(made.layer().values[0, 1])
    version = made.version
    made.is_shielded = False
    assert made.version > version
    assert made.counts()["ok"] == 5
    assert made.state_text(0, 1) == "ok"
    assert made.copy().counts() == made.counts()


def test_notes_tell_what_was_left_out_and_why() -> None:
    pen, fold = REASONS.index("pen"), REASONS.index("fold")

    assert shield_notes(judged_map([0, 0, 0])) == []
    (some,) = shield_notes(judged_map([0, pen, 0, fold, 0, 0, pen]))
    assert "3 patches" in some
    assert "2 pen, 1 fold" in some
    (most,) = shield_notes(judged_map([pen, pen, 0]))
    assert most.startswith("Most of it shows artefacts")
    (all_of_it,) = shield_notes(judged_map([pen, pen]))
    assert "no patch is left" in all_of_it
    assert cautions([all_of_it]) == [all_of_it]
    (blurred,) = shield_notes(judged_map([REASONS.index("blur")] * 3))
    assert "out of focus" in blurred
    assert cautions([most, blurred, "It is interpolated."]) == [most, blurred]
    (unseen,) = shield_notes(judged_map([-1, -1]))
    assert "earlier version" in unseen
    assert shield_notes(judged_map([pen, pen], is_shielded=False)) == []
