"""Patches that a manifest lists, of any size."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idc_desktop.models.patch_size import PatchSize
from trainer.cli import main
from trainer.data.dataset import load_store
from trainer.data.manifest import write_patch_size
from trainer.data.painting import paint_background, paint_tissue
from trainer.data.patch_files import Status
from trainer.data.preparing import prepare
from trainer.errors import DataError
from trainer.settings import USUAL

HEADER = ("file", "label", "case")


def write_manifest(
    folder: Path, *rows: tuple[object, ...], header: tuple[str, ...] = HEADER
) -> Path:
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_patches(folder: Path, patch: PatchSize = USUAL) -> list[tuple[str, int, str]]:
    """Write two patches of each class, one in each of the file types, and return their lines."""
    rng = np.random.default_rng(1)
    seen = [*paint_background(rng, 2, patch), *paint_tissue(rng, 2, patch)]
    names = ("a.png", "b.JPG", "sub/c.tiff", "d.png")
    (folder / "sub").mkdir(exist_ok=True)
    for name, pixels in zip(names, seen, strict=True):
        Image.fromarray(pixels).save(folder / name)
    return [(name, label, f"case {label}") for name, label in zip(names, (0, 0, 1, 1), strict=True)]


def prepared(path: Path, out: Path, patch: PatchSize | None = None) -> dict[Status, str]:
    return prepare(path, out, patch=patch).examples


def test_patches_of_any_name_and_type_are_taken(tmp_path: Path) -> None:
    rows = write_patches(tmp_path)
    write_manifest(tmp_path, *rows)

    assert prepared(tmp_path, tmp_path / "store") == {}

    store = load_store(tmp_path / "store")
    assert store.index.label.tolist() == [0, 0, 1, 1]
    assert store.index.case.tolist() == ["case 0", "case 0", "case 1", "case 1"]
    seen = store.read(np.arange(4))
    assert np.array_equal(seen[0], np.asarray(Image.open(tmp_path / "a.png")))
    assert np.array_equal(seen[2], np.asarray(Image.open(tmp_path / "sub/c.tiff")))


def test_group_stands_for_its_cases(tmp_path: Path) -> None:
    rows = [(*row[:2], f"case {number}", "ann" if number < 3 else "bob", "s", 4, number)
            for number, row in enumerate(write_patches(tmp_path))]  # fmt: skip
    write_manifest(tmp_path, *rows, header=(*HEADER, "group", "slide", "row", "col"))

    prepared(tmp_path, tmp_path / "store")

    index = load_store(tmp_path / "store").index
    assert index.case.tolist() == ["ann", "ann", "ann", "bob"]
    # Slides of a group come below each other.
    assert list(zip(index.x, index.y, strict=True)) == [(1, 201), (51, 451), (101, 701), (151, 201)]


def test_patches_of_another_size(tmp_path: Path) -> None:
    patch = PatchSize(96, 4.0)
    path = write_manifest(tmp_path, *write_patches(tmp_path, patch))

    with pytest.raises(DataError, match=r"96 x 96 px, the recipe wants 50 x 50.*add --size 96"):
        prepare(path, tmp_path / "store")
    prepare(path, tmp_path / "store", patch=patch)
    assert load_store(tmp_path / "store").patch == patch
    write_patch_size(tmp_path, patch)
    prepare(path, tmp_path / "again")
    assert load_store(tmp_path / "again").patch == patch
    with pytest.raises(DataError, match="were cut with --size 96 --spacing 4, not 50 and 8"):
        prepare(path, tmp_path / "store", patch=PatchSize(50, 8.0))


def test_each_flaw_is_named(tmp_path: Path) -> None:
    rows = write_patches(tmp_path)
    for name, mode in (("gray.png", "L"), ("deep.png", "I;16"), ("inks.tif", "CMYK")):
        Image.new(mode, (50, 50)).save(tmp_path / name)
    Image.new("RGBA", (50, 50), (1, 2, 3, 128)).save(tmp_path / "thin.png")
    Image.new("RGB", (50, 49)).save(tmp_path / "low.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    shutil.copy(tmp_path / "a.png", tmp_path / "again.png")
    more = ("gray.png", "deep.png", "inks.tif", "thin.png", "low.png", "torn.png", "gone.png")
    write_manifest(tmp_path, *rows, *((name, 0, "z") for name in (*more, "again.png")))

    report = prepare(tmp_path, tmp_path / "store")

    assert report.counts[Status.NOT_RGB] == 4
    assert report.examples[Status.NOT_RGB] == "gray.png: its pixels are of the kind L"
    assert report.examples[Status.ODD_SIZE] == "low.png: 50 x 49 px, the recipe wants 50 x 50"
    assert report.examples[Status.UNREADABLE] == "torn.png"
    assert report.examples[Status.MISSING] == "gone.png"
    assert report.examples[Status.DUPLICATE] == "again.png"
    assert (report.negative, report.positive) == (2, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file;label;case\na.png;0;1\n", "no column case, file, label"),
        ("file,label\na.png,0\n", "no column case"),
        ("file,label,case\n", "names no patch"),
        (
            "file,label,case\na.png,0,1\nd.png,2,1\nb.JPG,DCIS,1\n",
            "other labels there: 2",
        ),
        ("file,label,case\na.png,,1\n", "line 2: label is empty"),
        ("file,label,case\na.png,0,1\na.png,1,1\n", "1 file listed more than once: a.png"),
        ("file,label,case,group\na.png,0,1,x\nd.png,1,1,y\n", "Case 1 is in the groups x and y"),
        ("file,label,case,row,col\na.png,0,1,1.5,2\n", "line 2: row and col must be whole"),
        ("file,label,case,row,col\na.png,0,1,-1,2\n", "line 2: row and col must not be below 0"),
        (
            f"file,label,case,row,col\na.png,0,1,1,{10**30}\n",
            "line 2: row and col must not be above",
        ),
        ("file,label,case\na.png,0,1\nb.JPG,0,1\n", "2 usable patches that are not IDC and 0"),
        ("\ud800", "cannot be read as a manifest"),
    ],
)
def test_manifest_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    write_patches(tmp_path)
    path = tmp_path / "manifest.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(DataError, match=said):
        prepare(path, tmp_path / "store")
    assert main(["prepare", str(path), "--out", str(tmp_path / "store")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
