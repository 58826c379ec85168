"""The phantom: its file, its truth, and that it is the same each time and says what it is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.phantom.making import DESCRIPTION, Phantom, cache_folder, make_phantom
from idc_desktop.slides.reader import Slide
from tests.support.region_files import read_regions

SMALL = (5, 4)
SIZE = (5120, 4096)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return make_phantom(tmp_path_factory.mktemp("phantom"), blocks=SMALL)


def rings(phantom: Phantom) -> list[shapely.Polygon]:
    features = json.loads(phantom.regions.read_text("utf-8"))["features"]
    return [shapely.geometry.shape(feature["geometry"]) for feature in features]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_is_a_pyramid_at_half_a_micron(phantom: Phantom) -> None:
    with Slide(phantom.slide) as slide:
        mpp = slide.require_mpp()
        sizes = [(level.width, level.height) for level in slide.levels]
        assert slide.vendor == "generic-tiff"
        assert slide.warnings == ()
    assert (mpp.x, mpp.y, mpp.source) == (0.5, 0.5, "file")
    assert sizes == [(SIZE[0] // by, SIZE[1] // by) for by in (1, 2, 4, 8, 16)]


def test_it_says_that_it_is_synthetic(phantom: Phantom) -> None:
    with Image.open(phantom.slide) as image:
        for page in range(image.n_frames):
            image.seek(page)
            assert image.tag_v2[270] == DESCRIPTION
    assert "synthetic" in DESCRIPTION
    assert "no patient" in DESCRIPTION
    assert "painted" in phantom.regions.read_text("utf-8")


def test_each_level_is_the_average_of_the_first(phantom: Phantom) -> None:
    with Slide(phantom.slide) as slide:
        whole = slide.read_region(0, 0, 0, *SIZE)
        assert whole.std() > 20  # there is something to average
        for level, by in enumerate((2, 4, 8, 16), 1):
            expected = np.asarray(Image.fromarray(whole).reduce(by), np.float32)
            shown = slide.read_region(level, 0, 0, SIZE[0] // by, SIZE[1] // by)
            difference = shown - expected
            assert abs(difference.mean()) < 0.5
            assert abs(difference).mean() < 4
            assert np.percentile(abs(difference), 99) < 25  # JPEG, on the edges of nuclei


def test_no_seam_between_blocks(phantom: Phantom) -> None:
    """Steps between pixels are no larger at the blocks' edges than beside them."""
    with Slide(phantom.slide) as slide:
        whole = slide.read_region(0, 0, 0, *SIZE).astype(np.int16)
    across = abs(np.diff(whole, axis=1)).mean(axis=(0, 2))
    down = abs(np.diff(whole, axis=0)).mean(axis=(1, 2))
    for steps in (across, down):
        for edge in range(1023, len(steps), 1024):
            # JPEG tiles end there, too: compare with ends of tiles that are within a block.
            others = [steps[at] for at in (edge - 512, edge - 256, edge + 256, edge + 512)]
            assert steps[edge] < 1.35 * max(others)


def test_tumours_lie_in_tissue_and_are_darker(phantom: Phantom) -> None:
    tumours = rings(phantom)
    assert len(tumours) == 3
    with Slide(phantom.slide) as slide:
        small = slide.read_region(4, 0, 0, SIZE[0] // 16, SIZE[1] // 16)
    y, x = np.mgrid[: small.shape[0], : small.shape[1]] * 16 + 8
    tissue = TissueSettings()
    coloured = np.ptp(small, axis=-1) >= tissue.min_chroma
    assert 0.15 < 1 - coloured.mean() < 0.8  # there is glass
    inside_any = shapely.contains_xy(shapely.union_all(tumours), x, y)
    for tumour in tumours:
        assert tumour.is_valid
        assert shapely.box(0, 0, *SIZE).contains(tumour)
        assert coloured[shapely.contains_xy(tumour, x, y)].mean() > 0.9
    red = small[..., 0].astype(float)
    assert red[inside_any].mean() < red[coloured & ~inside_any].mean() - 15


def test_regions_are_what_qupath_and_we_read(phantom: Phantom) -> None:
    document = json.loads(phantom.regions.read_text("utf-8"))
    assert document["type"] == "FeatureCollection"
    for feature in document["features"]:
        assert uuid.UUID(feature["id"]).version == 5
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"]["name"] == "Tumor (painted)"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
    regions, notes = read_regions(phantom.regions)
    assert [it.name for it in regions] == [f"Painted tumour {number}" for number in (1, 2, 3)]
    assert notes == []


def test_made_again_it_is_the_same(phantom: Phantom, tmp_path: Path) -> None:
    again = make_phantom(tmp_path / "new" / "folder", blocks=SMALL)

    assert sha256(again.slide) == sha256(phantom.slide)
    assert sha256(again.regions) == sha256(phantom.regions)
    assert sorted(again.slide.parent.iterdir()) == sorted([again.slide, again.regions])


def test_what_is_there_is_not_written_again(phantom: Phantom) -> None:
    before = [path.stat() for path in (phantom.slide, phantom.regions)]
    told: list[float] = []

    assert make_phantom(phantom.slide.parent, told.append, blocks=SMALL) == phantom

    after = [path.stat() for path in (phantom.slide, phantom.regions)]
    assert [(it.st_ino, it.st_mtime_ns) for it in before] == [
        (it.st_ino, it.st_mtime_ns) for it in after
    ]
    assert told == []


@pytest.mark.parametrize("missing", ["slide", "regions"])
def test_half_a_phantom_is_made_again(missing: str, tmp_path: Path) -> None:
    whole = make_phantom(tmp_path, blocks=(1, 1))
    digest = sha256(getattr(whole, missing))
    getattr(whole, missing).unlink()

    assert sha256(getattr(make_phantom(tmp_path, blocks=(1, 1)), missing)) == digest


def test_what_a_kill_left_is_harmless_and_goes(tmp_path: Path) -> None:
    left = tmp_path / f".idc-desktop-{'0' * 16}.tmp"
    left.write_bytes(b"II*\0 half a slide")

    made = make_phantom(tmp_path, blocks=(1, 1))

    assert not left.exists()
    with Slide(made.slide) as slide:
        assert (slide.width_l0, slide.height_l0) == (1024, 1024)


def test_a_failure_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: float) -> None:
        if done > 0.5:
            raise StopError

    with pytest.raises(StopError):
        make_phantom(tmp_path, stop, blocks=(2, 2))

    assert not list(tmp_path.glob("*.tiff"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_progress_rises_to_one(tmp_path: Path) -> None:
    told: list[float] = []
    make_phantom(tmp_path, told.append, blocks=(2, 1))
    assert told == [0.5, 1.0]


def test_the_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IDC_DESKTOP_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("IDC_DESKTOP_CACHE_DIR")
    assert cache_folder().name == "idc-desktop"


def test_planning_loads_neither_qt_nor_a_decoder() -> None:
    code = (
        "import sys, idc_desktop.phantom; "
        "sys.exit(bool({'openslide', 'onnxruntime', 'PySide6'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FULL = """
import json, sys, time
from pathlib import Path
from idc_desktop.phantom.making import make_phantom
start = time.perf_counter()
phantom = make_phantom(Path(sys.argv[1]))
seconds = time.perf_counter() - start
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([str(phantom.slide), seconds, peak]))
"""


@pytest.mark.bench
@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_the_full_phantom_keeps_its_promises(tmp_path: Path) -> None:
    """30 s on two free cores, 500 MB, 80 MB on disk."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    path, seconds, peak_mb = json.loads(done.stdout)

    with Slide(Path(path)) as slide:
        assert (slide.width_l0, slide.height_l0) == (32_768, 24_576)
        assert len(slide.levels) == 5
        assert slide.level_mpp(4) == (8.0, 8.0)
    assert Path(path).name == "phantom-v2.tiff"
    assert Path(path).stat().st_size <= 80e6
    assert peak_mb <= 500
    assert seconds <= 30
