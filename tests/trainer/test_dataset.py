from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.conftest import CASES, SmallData, write_case
from trainer.data import preparing
from trainer.data.dataset import load_store
from trainer.data.patch_files import Status
from trainer.data.preparing import prepare
from trainer.errors import BusyError, DataError
from trainer.files import sole_user

ALL = 2 * sum(CASES.values())


def test_every_patch_is_indexed_and_read_back(small_data: SmallData, tmp_path: Path) -> None:
    report = prepare(small_data.patches, tmp_path / "store")
    assert report.counts[Status.OK] == ALL
    assert report.cases == len(CASES)
    store = load_store(tmp_path / "store")
    for which in (0, len(store.index) // 2, len(store.index) - 1):
        case, x, y, label = (
            getattr(store.index, name)[which] for name in ("case", "x", "y", "label")
        )
        file = f"{case}_idx5_x{x}_y{y}_class{label}.png"
        with Image.open(small_data.patches / case / str(label) / file) as image:
            assert np.array_equal(store.read(np.array([which]))[0], np.asarray(image))


def test_store_of_the_same_data_is_the_same(small_data: SmallData, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare(small_data.patches, tmp_path / name)
    for file in ("index.csv", "patches.u8", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_each_flaw_is_counted_and_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_case(data, "7", 4, np.random.default_rng(0))
    zero, one = data / "7" / "0", data / "7" / "1"
    first = zero / "7_idx5_x1_y1_class0.png"
    Image.new("RGB", (32, 50)).save(zero / "7_idx5_x951_y1_class0.png")
    (zero / "7_idx5_x951_y51_class0.png").write_bytes(first.read_bytes()[:200])
    (zero / "7_idx5_x951_y101_class0.png").write_bytes(b"")
    shutil.copy(first, zero / "7_idx5_x951_y151_class1.png")
    shutil.copy(first, zero / "8_idx5_x951_y201_class0.png")
    shutil.copy(first, zero / "7_idx5_x951_y251_class0.png")
    shutil.copy(first, zero / "holiday.png")
    shutil.copy(zero / "7_idx5_x51_y1_class0.png", one / "7_idx5_x951_y301_class1.png")
    (zero / "Thumbs.db").write_bytes(b"not a patch")
    (zero / ".hidden").write_bytes(b"of the file manager")
    shutil.copy(first, zero / "7_idx5_x951_y351_class0.PNG")
    report = prepare(data, tmp_path / "store")
    assert report.counts == {
        Status.OK: 7,
        Status.NESTED_COPY: 0,
        Status.BAD_NAME: 3,
        Status.LABEL_DISAGREEMENT: 2,
        Status.MISSING: 0,
        Status.UNREADABLE: 2,
        Status.NOT_RGB: 0,
        Status.ODD_SIZE: 1,
        Status.DUPLICATE: 1,
        Status.CONTRADICTION: 2,
    }
    assert len(load_store(tmp_path / "store").index) == 7
    with (tmp_path / "store" / "index.csv").open(encoding="utf-8", newline="") as file:
        flawed = {row["file"]: row["status"] for row in csv.DictReader(file)}
    assert flawed["7/0/holiday.png"] == Status.BAD_NAME
    assert flawed["7/0/7_idx5_x951_y101_class0.png"] == Status.UNREADABLE


def test_nested_copy_of_the_archive_is_counted_once(small_data: SmallData, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(small_data.patches, archive)
    shutil.copytree(small_data.patches, archive / "IDC_regular_ps50_idx5")
    report = prepare(archive, tmp_path / "store")
    assert report.counts[Status.OK] == ALL
    assert report.counts[Status.NESTED_COPY] == ALL


def test_data_inside_one_more_folder_is_found(small_data: SmallData, tmp_path: Path) -> None:
    shutil.copytree(small_data.patches, tmp_path / "archive" / "IDC_regular_ps50_idx5")
    assert prepare(tmp_path / "archive", tmp_path / "store").counts[Status.OK] == ALL


@pytest.mark.parametrize("missing", [True, False])
def test_folder_without_patches_is_refused(tmp_path: Path, missing: bool) -> None:
    data = tmp_path / "data"
    if not missing:
        data.mkdir()
    with pytest.raises(DataError, match="data"):
        prepare(data, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_one_class_is_refused(tmp_path: Path) -> None:
    write_case(tmp_path / "data", "7", 3, np.random.default_rng(0))
    shutil.rmtree(tmp_path / "data" / "7" / "1")
    with pytest.raises(DataError, match="3 usable patches that are not IDC and 0 that are"):
        prepare(tmp_path / "data", tmp_path / "store")
    assert not (tmp_path / "store" / "index.csv").exists()


@pytest.mark.parametrize("folder", ["7", "7/2", "7/01", "8/benign", "more/8/2"])
def test_patches_of_a_third_class_are_named_and_refused(tmp_path: Path, folder: str) -> None:
    data = tmp_path / "data"
    write_case(data, "7", 3, np.random.default_rng(0))
    (data / "7" / ".cache").mkdir()
    (data / "7" / "notes").mkdir()
    (data / "7" / "notes" / "overview.png").write_bytes(b"no patch")
    assert prepare(data, tmp_path / "store").counts[Status.OK] == 6
    (data / folder).mkdir(parents=True, exist_ok=True)
    first = data / "7" / "0" / "7_idx5_x1_y1_class0.png"
    shutil.copy(first, data / folder / "7_idx5_x951_y1_class2.png")
    with pytest.raises(DataError, match=f"neither 0 .* nor 1 .*: {folder}\\. "):
        prepare(data, tmp_path / "store")


def test_all_that_is_refused_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for label in (0, 1):
        (data / "7" / str(label)).mkdir(parents=True)
        for number in range(3):
            path = data / "7" / str(label) / f"7_idx5_x{number}_y1_class{label}.png"
            Image.new("RGB", (96, 96), (number, label, 0)).save(path)
    (data / "7" / "0" / "tumour 1.png").write_bytes(b"")
    (data / "7" / "0" / "8_idx5_x9_y1_class0.png").write_bytes(b"")
    (data / "7" / "0" / "7_idx5_x9_y9_class0.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as refused:
        prepare(data, tmp_path / "store")
    told = str(refused.value)
    assert len(told.splitlines()) == 1
    for text in (
        "0 usable patches that are not IDC and 0 that are",
        "odd size: 6, first 7/0/7_idx5_x0_y1_class0.png: 96 x 96 px, the recipe wants 50 x 50",
        "bad name: 1, first 7/0/tumour 1.png: a patch is named CASE_idx5_xX_yY_class0.png",
        "label disagreement: 1, first 7/0/8_idx5_x9_y1_class0.png: it lies in case 7, folder 0",
        "unreadable: 1, first 7/0/7_idx5_x9_y9_class0.png",
    ):
        assert text in told


def test_store_that_is_being_written_is_left_alone(small_data: SmallData, tmp_path: Path) -> None:
    with sole_user(tmp_path), pytest.raises(BusyError, match="Another idc-trainer is at work"):
        prepare(small_data.patches, tmp_path)
    assert not list(tmp_path.iterdir())


def test_refused_data_leave_the_store_that_was_there(small_data: SmallData, tmp_path: Path) -> None:
    prepare(small_data.patches, tmp_path / "store")
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    write_case(tmp_path / "data", "7", 3, np.random.default_rng(0))
    shutil.rmtree(tmp_path / "data" / "7" / "1")
    with pytest.raises(DataError):
        prepare(tmp_path / "data", tmp_path / "store")
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_no_old_index_lies_beside_new_pixels(
    small_data: SmallData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(small_data.patches, tmp_path / "store")
    write_case(tmp_path / "data", "7", 30, np.random.default_rng(0))

    def killed(*given: object) -> None:
        raise KeyboardInterrupt(given)

    monkeypatch.setattr(preparing, "write_csv", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "data", tmp_path / "store")
    with pytest.raises(DataError, match="no prepared data"):
        load_store(tmp_path / "store")


def test_damaged_store_is_refused(small_data: SmallData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare"):
        load_store(tmp_path)
    prepare(small_data.patches, tmp_path)
    pixels = (tmp_path / "patches.u8").read_bytes()
    (tmp_path / "patches.u8").write_bytes(pixels[:-7500])
    with pytest.raises(DataError, match=r"patches\.u8"):
        load_store(tmp_path)
    (tmp_path / "patches.u8").write_bytes(b"")
    with pytest.raises(DataError, match="prepare"):
        load_store(tmp_path)


def test_position_under_both_labels_is_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_case(data, "7", 4, np.random.default_rng(0))
    (data / "7" / "1" / "7_idx5_x1_y51_class1.png").rename(
        data / "7" / "1" / "7_idx5_x1_y1_class1.png"
    )
    report = prepare(data, tmp_path / "store")
    assert report.counts[Status.CONTRADICTION] == 2
    assert report.counts[Status.OK] == 6
