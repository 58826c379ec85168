"""From slides and outlines to patches with labels."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.processes.supervisor import Job
from idc_desktop.regions.shape import Region, rectangle
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.scenes import Scene, write_tissue_slide
from tests.support.slides import PINK, Canvas, damage_tile, write_tiff
from trainer.cli import main
from trainer.cutting import slides as cutting
from trainer.cutting.labels import AMBIGUOUS, UNLABELLED, LabelRules, label_cells
from trainer.data.painting import paint_tissue

MPP = 4.0
STEP = 100  # px of level 0 that a patch is wide
RULES = LabelRules(("IDC",), ("benign",))


def grid_of(cols: int, rows: int) -> PatchGrid:
    return PatchGrid.over((0, 0, cols * STEP, rows * STEP), (MPP, MPP), 400.0)


def box(name: str, left: float, top: float, right: float, bottom: float) -> Region:
    """Outline a part of a grid, in cells."""
    return Region("", rectangle(*(STEP * it for it in (left, top, right, bottom))), name)


def write_outlines(path: Path, *regions: Region) -> Path:
    features: list[dict[str, Any]] = []
    for region in regions:
        ring = region.shape.polygons[0][0].tolist()
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": region.classification},
                },
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@dataclass(frozen=True)
class Work:
    """A slide of 4 x 3 cells of tissue, its outlines, and the folder for patches."""

    scene: Scene
    outlines: Path
    out: Path

    def cut(self, *more: object, negative: str = "benign") -> int:
        names = ["--positive", "idc", "--negative", negative, "--out", str(self.out)]
        return main(
            ["patches", str(self.scene.path), "--annotations", str(self.outlines), *names]
            + [str(it) for it in more]
        )

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "manifest.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def labels(self) -> dict[tuple[int, int], int]:
        return {(int(it["row"]), int(it["col"])): int(it["label"]) for it in self.rows()}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    folder = tmp_path / "slides"
    folder.mkdir()
    scene = write_tissue_slide(folder / "case 7.tiff", (400, 300), MPP, downsamples=(1, 2))
    outlines = write_outlines(
        tmp_path / "case 7.geojson", box("IDC", 0, 0, 2, 1.6), box("Benign", 2, 0, 4, 2)
    )
    return Work(scene, outlines, tmp_path / "out")


EXPECTED = {
    (0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 1,
    (0, 2): 0, (0, 3): 0, (1, 2): 0, (1, 3): 0,
}  # fmt: skip


def test_patches_are_those_that_a_model_sees_with_the_labels_of_their_outlines(work: Work) -> None:
    assert work.cut() == 0

    assert work.labels() == EXPECTED
    pixels = work.scene.levels[1]
    for row in work.rows():
        at = 50 * int(row["row"]), 50 * int(row["col"])
        seen = np.asarray(Image.open(work.out / row["file"]))
        assert np.array_equal(seen, pixels[at[0] : at[0] + 50, at[1] : at[1] + 50])
        assert (row["case"], row["slide"]) == ("case 7", "case 7.tiff")
        assert (int(row["x_l0"]), int(row["y_l0"])) == (2 * at[1], 2 * at[0])
    covers = {(int(it["row"]), int(it["col"])): float(it["cover"]) for it in work.rows()}
    assert covers[1, 0] == pytest.approx(0.6)
    assert covers[1, 2] == 1


def test_cells_that_no_outline_reaches_are_negative_where_that_is_asked_for(work: Work) -> None:
    assert work.cut("--unlabelled", "negative", "--case-from", r"(\d+)\.tiff") == 0

    assert work.labels() == EXPECTED | {(2, col): 0 for col in range(4)}
    assert {it["case"] for it in work.rows()} == {"7"}


def test_patches_of_another_size(work: Work) -> None:
    assert work.cut("--size", 96, "--spacing", 4.0) == 0

    assert set(work.labels().values()) == {0, 1}
    first = next(it for it in work.rows() if (it["row"], it["col"]) == ("0", "0"))
    seen = np.asarray(Image.open(work.out / first["file"]))
    assert np.array_equal(seen, work.scene.levels[0][:96, :96])


@pytest.mark.parametrize(
    ("cover", "label"), [(0.0, UNLABELLED), (0.3, AMBIGUOUS), (0.5, 1), (1.0, 1)]
)
def test_cover_decides(cover: float, label: int) -> None:
    regions = [box("idc", 0, 0, cover, 1)] if cover else []

    assert label_cells(regions, grid_of(2, 1), RULES).label.tolist() == [[label, UNLABELLED]]


def test_positive_outlines_that_overlap_count_once_and_leave_no_negative_beside_them() -> None:
    twice = [box("IDC", 0, 0, 0.3, 1), box("IDC", 0, 0, 0.3, 1), box("benign", 0, 0, 2, 1)]
    found = label_cells(twice, grid_of(2, 1), RULES)

    assert found.label.tolist() == [[AMBIGUOUS, 0]]


def test_outline_without_class_counts_by_its_name() -> None:
    region = Region("IDC ", rectangle(0, 0, STEP, STEP))

    assert label_cells([region], grid_of(1, 1), RULES).label.tolist() == [[1]]


def test_corners_in_whole_pixels_do_not_spoil_the_neighbours() -> None:
    regions = [box("IDC", 0, 0, 1.004, 1), box("benign", 1, 0, 2, 1)]

    assert label_cells(regions, grid_of(2, 1), RULES).label.tolist() == [[1, 0]]


def test_same_command_goes_on(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    assert work.cut() == 0
    whole = (work.out / "manifest.csv").read_bytes()
    patches = sorted((work.out / "patches").iterdir())
    kept = patches[0].stat().st_mtime_ns
    for path in patches[4:]:
        path.unlink()
    patches[3].write_bytes(b"")  # a power cut leaves a name without content
    shutil.rmtree(work.out / "slides")
    (work.out / "manifest.csv").unlink()

    assert work.cut() == 0
    assert (work.out / "manifest.csv").read_bytes() == whole
    assert patches[0].stat().st_mtime_ns == kept
    capsys.readouterr()
    assert work.cut() == 0
    assert "cut before" in capsys.readouterr().out
    assert (work.out / "manifest.csv").read_bytes() == whole


def test_other_labels_replace_those_of_before(work: Work) -> None:
    assert work.cut() == 0
    assert work.cut(negative="other") == 0

    assert work.labels() == {cell: 1 for cell, label in EXPECTED.items() if label}
    assert len(list((work.out / "patches").iterdir())) == 4


def test_engine_that_dies_costs_the_blocks_that_kill_it(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crashing = partial(Job, module="tests.support.crashing_engine")
    monkeypatch.setattr(cutting, "Job", crashing)
    monkeypatch.setenv(VARIABLE, Crash("abort", "blocks").variable())

    assert work.cut() == 4
    assert "8 unreadable" in capsys.readouterr().out
    assert work.labels() == {}


def test_engine_that_dies_once_costs_nothing(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cutting, "Job", partial(Job, module="tests.support.crashing_engine"))
    crash = Crash("segv", "blocks", once=str(tmp_path / "once"))
    monkeypatch.setenv(VARIABLE, crash.variable())

    assert work.cut() == 0
    assert work.labels() == EXPECTED


def test_damaged_tile_costs_its_patches(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    damage_tile(work.scene.path, 1, 0, 0)

    assert work.cut() == 4
    out, err = capsys.readouterr()
    assert "unreadable" in out
    assert "note: case 7.tiff: row 0, column 0:" in err
    assert set(work.labels().items()) < set(EXPECTED.items())


def test_background_in_an_outline_is_left_out(work: Work, tmp_path: Path) -> None:
    canvas = Canvas(400, 300, MPP)
    canvas.paint_cell(0, 0, PINK)
    write_tiff(work.scene.path, canvas.pixels, mpp=MPP)

    assert work.cut() == 0
    assert work.labels() == {(0, 0): 1}


def test_one_bad_slide_stops_no_other(
    work: Work, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, outlines = work.scene.path.parent, tmp_path / "outlines"
    outlines.mkdir()
    (folder / "broken.tiff").write_bytes(b"II*\0" + bytes(100))
    for name in ("case 7", "broken", "nobody"):
        shutil.copy(work.outlines, outlines / f"{name}.geojson")
    shutil.copy(work.scene.path, folder / "lonely.tiff")

    code = main(
        [
            *("patches", str(folder), "--annotations", str(outlines), "--positive", "IDC"),
            *("--negative", "benign", "--out", str(work.out)),
        ]
    )

    assert code == 3
    assert work.labels() == EXPECTED
    err = capsys.readouterr().err
    assert "1 slide without a file of outlines: lonely.tiff" in err
    assert "1 file of outlines without a slide: nobody.geojson" in err
    assert err.count("broken.tiff") == 1


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--min-cover", "0"), 2, "--min-cover must be above 0"),
        (("--mpp", "inf"), 3, "case 7.tiff:"),
        (("--mpp", "nan"), 3, "case 7.tiff:"),
        (("--min-cover", "inf"), 2, "--min-cover must be above 0"),
        (("--size", "20", "--spacing", "8"), 2, "--size must be 32 to 512"),
        (("--spacing", "nan", "--size", "50"), 2, "--spacing must be 0.25 to 16"),
        (("--size", "512", "--spacing", "8"), 2, "edge of 4096 µm"),
        (("--case-from", "("), 2, "no regular expression"),
        (("--case-from", "x(.)"), 3, "case 7.tiff: --case-from x(.) finds no case"),
        (("--negative", "IDC"), 2, "either --positive or --negative"),
        (("--annotations", "nowhere"), 3, "nowhere cannot be read"),
        (("--threads", "0"), 2, "--threads must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    work: Work, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], code: int, said: str
) -> None:
    assert work.cut(*more) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_folder_with_patches_of_another_slide_is_refused(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    assert work.cut() == 0
    write_tissue_slide(work.scene.path, (400, 300), MPP, seed=5)

    assert work.cut() == 3
    assert "patches of another slide of this name" in capsys.readouterr().err


def test_slides_of_one_name_are_refused(
    work: Work, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "case 7.svs"
    shutil.copy(work.scene.path, twin)

    slides = ["patches", str(work.scene.path), str(twin)]
    names = ["--annotations", str(work.outlines), "--positive", "IDC", "--out", str(work.out)]
    assert main([*slides, *names]) == 2
    assert "Slides of one name" in capsys.readouterr().err


def test_class_that_nothing_has_is_named(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    assert work.cut(negative="stroma") == 0

    err = capsys.readouterr().err
    assert "no outline is of the class stroma; there are: IDC (1), Benign (1)" in err
    assert "no patch is negative" in err


def test_artefacts_are_left_out_where_that_is_asked_for(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    canvas = Canvas(400, 300, MPP)
    for col, tissue in enumerate(paint_tissue(np.random.default_rng(3), 4)):
        fine = tissue.repeat(2, axis=0).repeat(2, axis=1)
        canvas.pixels[:STEP, STEP * col : STEP * (col + 1)] = fine
    canvas.paint_cell(1, 3, (25, 60, 190))  # a pen
    write_tiff(work.scene.path, canvas.pixels, mpp=MPP)

    assert work.cut() == 0
    assert work.labels()[1, 3] == 0
    assert work.cut("--shield") == 0
    assert "1 with artefacts" in capsys.readouterr().out
    assert work.labels() == {(0, 0): 1, (0, 1): 1, (0, 2): 0, (0, 3): 0}
    assert len(list((work.out / "patches").iterdir())) == 4
    assert work.cut() == 0
    assert work.labels()[1, 3] == 0


def test_outlined_patch_with_a_little_tissue_is_cut_and_bare_glass_is_not(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    canvas = Canvas(400, 300, MPP)
    canvas.paint_cell(0, 0, (200, 120, 170))
    canvas.pixels[20:40, 250:260] = (200, 120, 170)  # 2 % of cell (0, 2)
    write_tiff(work.scene.path, canvas.pixels, mpp=MPP)

    assert work.cut() == 0
    assert work.labels() == {(0, 0): 1, (0, 2): 0}
    assert "6 without tissue" in capsys.readouterr().out
    # Nobody outlined what stands for all else: there it is background, as in `analyze`.
    assert work.cut("--unlabelled", "negative") == 0
    assert work.labels() == {(0, 0): 1}
