"""Files of many vendors and odd ones: analyzed, or refused for the right reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import Outcome, read_csv, run_cli, run_many
from tests.support.models import TinyModel

REGION = "CMU-1-Small-Region.svs"
DICOM = "CMU-1-small-wsidicomizer-dicom"
PYRAMID = "odd/CMU-1-small-vips-pyramid-mpp0.499.tiff"
ANISOTROPIC = "odd/CMU-1-small-anisotropic-mpp0.998x0.499.tiff"

# File or folder -> exit code, and a word of the reason.
FATES: dict[str, tuple[int, str]] = {
    "CMU-1-Small-Region-dicom-12level": (0, ""),
    "broken/CMU-1-Small-Region-first-half.svs": (3, "truncated"),
    "broken/CMU-1-Small-Region-zeroed-400k-700k.svs": (4, "patches failed"),
    "broken/empty.svs": (3, "empty"),
    "camelyon-jpeg-dicom/multiframe_camelyon_challenge_image.dcm": (3, "28.969"),
    "highdicom-sm_image/sm_image.dcm": (0, ""),
    "odd/CMU-1-Saved-1_16.mrxs": (3, "folder"),
    "odd/CMU-1-small-tifffile-resunit-none.tiff": (3, "--mpp"),
    "odd/CMU-1-small-vips-pyramid-default-resolution.tiff": (3, "--mpp"),
    "odd/google-ndpi_test.ndpi": (3, "LFS"),
    "odd/highdicom-ct_image.dcm": (3, "DICOM"),
    "odd/histolab-broken.svs": (3, "format"),
    "odd/large_image-rgba_geotiff.tiff": (3, "--mpp"),
    "odd/large_image-small_la.tiff": (3, "--mpp"),
    "odd/large_image-yb10kx5k.zstd.tiff": (3, "--mpp"),
    "odd/large_image-zero_gi.tif": (3, "format"),
    "odd/lfs-pointer-rgb-image.czi": (3, "LFS"),
    "openslide-python-fixtures/boxes.png": (3, "format"),
    "openslide-python-fixtures/boxes.tiff": (3, "--mpp"),
    "openslide-python-fixtures/boxes_0.dcm": (0, ""),
    "openslide-python-fixtures/small.svs": (0, ""),
    "openslide-python-fixtures/unopenable.tiff": (3, "52479"),
    "openslide-python-fixtures/unreadable.svs": (4, "1 patch failed"),
    "openslide-python-fixtures/😐.svs": (0, ""),
    "test3-DAPI-2-(387).ndpi": (0, ""),
    "wsic-CMU-1-Small-Region.jpeg.tiff": (3, "--mpp"),
    "wsic-bfconvert-JPEG.ome.tiff": (3, "format"),
}


@pytest.fixture(scope="module")
def slides(shared_data: Path) -> Path:
    return shared_data / "slides"


@pytest.fixture(scope="module")
def outcomes(
    slides: Path, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Outcome]:
    base = tmp_path_factory.mktemp("fates")
    commands = [
        ("analyze", slides / name, "--out", base / str(number), "--model", tiny_model.path)
        for number, name in enumerate(FATES)
    ]
    return dict(zip(FATES, run_many(commands, base / "data"), strict=True))


@pytest.fixture(scope="module")
def same_tissue(
    slides: Path, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[tuple[str, str], float]]:
    """One piece of tissue as SVS, DICOM, pyramid and with oblong pixels: cell -> P(IDC)."""
    base = tmp_path_factory.mktemp("same")
    names = [REGION, DICOM, PYRAMID, ANISOTROPIC]
    outcome = run_cli(
        "analyze", *(slides / name for name in names), "--out", base / "out",
        "--model", tiny_model.path, "--provider", "cpu", data_dir=base / "data",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    found = {}
    for name in names:
        stem = name if name == DICOM else Path(name).stem
        rows = read_csv(base / "out" / stem / "patches.csv")
        found[name] = {(row["row"], row["col"]): float(row["prob_IDC"]) for row in rows}
    return found


@pytest.mark.parametrize("name", FATES)
def test_fate_of_a_file(outcomes: dict[str, Outcome], name: str) -> None:
    code, word = FATES[name]
    outcome = outcomes[name]

    assert outcome.code == code, outcome
    assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr
    if code == 3:
        assert len(outcome.error_lines) == 1, outcome
        assert Path(name).name in outcome.error_lines[0]


def test_dicom_folder_equals_the_svs_that_it_was_made_from(
    same_tissue: dict[str, dict[tuple[str, str], float]],
) -> None:
    assert len(same_tissue[REGION]) == 10
    assert same_tissue[DICOM] == same_tissue[REGION]


@pytest.mark.parametrize("name", [PYRAMID, ANISOTROPIC])
def test_scale_decides_and_not_the_pixel_grid(
    same_tissue: dict[str, dict[tuple[str, str], float]], name: str
) -> None:
    """Compressed anew, from another level or with pixels twice as wide: nearly the same."""
    assert same_tissue[name] == pytest.approx(same_tissue[REGION], abs=0.02)


def test_folder_of_a_dicom_series_goes_by_its_own_name(slides: Path, data_dir: Path) -> None:
    outcome = run_cli("info", slides / "CMU-1-small-wsidicomizer-dicom", data_dir=data_dir)

    assert outcome.code == 0, outcome
    assert outcome.stdout.splitlines()[0] == "CMU-1-small-wsidicomizer-dicom"


def test_folder_of_several_dicom_slides_is_refused(
    slides: Path, data_dir: Path, tmp_path: Path
) -> None:
    for path in (slides / DICOM).iterdir():
        shutil.copy(path, tmp_path / path.name)
    shutil.copy(slides / "odd/highdicom-ct_image.dcm", tmp_path / "another-object.dcm")
    assert run_cli("info", tmp_path, data_dir=data_dir).code == 0

    second = shutil.copy(slides / "highdicom-sm_image/sm_image.dcm", tmp_path / "z.dcm")
    outcome = run_cli("info", tmp_path, data_dir=data_dir)

    assert outcome.code == 3, outcome
    assert f"{tmp_path.name}: This folder holds several slides" in outcome.error_lines[0]
    assert run_cli("info", second, data_dir=data_dir).code == 0
