"""What a slide of several files is known by: by its own files only, and as before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.errors import OutputError, SlideChangedError, SlideError
from idc_desktop.maps.grid import Block
from idc_desktop.maps.probability_map import BlockResult
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.slides.reader import Slide
from idc_desktop.storage.run_files import RunStore, adopt, run_key
from idc_desktop.storage.user_data import slide_folder
from idc_desktop.ui.tiles.loader import TileLoader
from tests.support.command import read_json, run_cli
from tests.support.models import TinyModel
from tests.support.older_files import write_run_1
from tests.support.scans import write_dicom, write_mirax, write_vmu
from tests.support.slides import PINK, Canvas, pyramid
from tests.ui.support import WAIT_MS

KINDS = ("mirax", "dicom", "vmu")


@dataclass
class Scan:
    """A slide of several files: what to open, and all its files."""

    path: Path
    files: list[Path]

    @property
    def identity(self) -> str:
        with Slide(self.path) as slide:
            return slide.identity()


def write_scan(kind: str, folder: Path) -> Scan:
    canvas = Canvas(640, 512, 2.0)
    canvas.paint((0, 0, 640, 512), PINK, seed=5)
    folder.mkdir(exist_ok=True)
    if kind == "mirax":
        path = write_mirax(folder / "scan.mrxs", pyramid(canvas.pixels, (1, 2)), mpp=2.0)
    elif kind == "vmu":
        path = write_vmu(folder / "scan.vmu", canvas.pixels)
    else:
        pytest.importorskip("pydicom")
        for number, pixels in enumerate(pyramid(canvas.pixels, (1, 2))):
            path = folder / f"level{number}.dcm"
            write_dicom(path, pixels, mpp=2.0 * 2**number, number=number)
    return Scan(path, sorted(it for it in folder.rglob("*") if it.is_file()))


@pytest.fixture(params=KINDS)
def scan(request: pytest.FixtureRequest, tmp_path: Path) -> Scan:
    return write_scan(request.param, tmp_path / "scan")


def rule_1(scan: Scan) -> str:
    """Compute anew what earlier versions knew a small slide by: all files of its folder, named."""
    digest = hashlib.sha256()
    for file in sorted(scan.files, key=Path.as_posix):
        data = file.read_bytes()
        assert len(data) < 1 << 20 or scan.path.suffix == ".vmu"
        digest.update(file.relative_to(scan.path.parent).as_posix().encode() + b"\0")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data[: 1 << 20] + data[max(0, len(data) - (1 << 20)) :])
        for number in range(64):
            start = int(number * len(data) / 64)
            digest.update(data[start : start + (64 << 10)])
    return digest.hexdigest()


def test_identity_is_of_the_slides_own_files(scan: Scan, tmp_path: Path) -> None:
    before = scan.identity
    for folder in {it.parent for it in scan.files}:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._level0.dcm", "notes.txt"):
            (folder / name).write_bytes(b"left behind")
        (folder / "results").mkdir()
        (folder / "results" / "patches.csv").write_text("minx\n", encoding="ascii")
    assert scan.identity == before

    moved = Path(shutil.copytree(scan.path.parent, tmp_path / "elsewhere"))
    assert Scan(moved / scan.path.name, []).identity == before


@pytest.mark.parametrize("kind", KINDS)
def test_identity_follows_every_file_of_the_slide(kind: str, tmp_path: Path) -> None:
    scan = write_scan(kind, tmp_path / "scan")
    found = {scan.identity}
    changed = 0
    for file in scan.files:
        data = file.read_bytes()
        if file.suffix in (".ini", ".vmu"):
            file.write_bytes(data + b"# seen by nobody\n")
        elif file.name != "Index.dat":  # of which no byte may be another
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        else:
            file.write_bytes(data + b"\0")
        changed += 1
        found.add(scan.identity)

    assert len(found) == changed + 1


def test_mirax_slide_under_another_name_is_the_same(tmp_path: Path) -> None:
    scan = write_scan("mirax", tmp_path / "scan")
    before = scan.identity
    scan.path.with_suffix("").rename(scan.path.with_name("other"))

    assert Scan(scan.path.rename(scan.path.with_name("other.mrxs")), []).identity == before


def test_dicom_series_is_the_same_however_its_files_are_named_and_copied(tmp_path: Path) -> None:
    scan = write_scan("dicom", tmp_path / "scan")
    before = scan.identity
    for file in scan.files:
        file.rename(file.with_name("x" + file.name[::-1]))
    renamed = sorted(scan.path.parent.iterdir())
    shutil.copy(renamed[0], renamed[0].with_name("copy"))
    # As a segmentation does: an object of its own that names the series it was made of.
    about = renamed[0].with_name("about.dcm")
    write_dicom(about, Canvas(64, 64, 2.0).pixels, mpp=2.0, number=7, series=77)
    data = about.read_bytes().replace(rb"PRIMARY\VOLUME", rb"PRIMARY\LABEL ")
    about.write_bytes(data + b"1.2.3.1\0")

    for path in [*renamed, scan.path.parent]:
        assert Scan(path, []).identity == before


def test_series_whose_number_begins_as_that_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    scan = write_scan("dicom", tmp_path / "scan")
    before = scan.identity
    write_dicom(
        scan.path.with_name("z.dcm"), Canvas(64, 64, 2.0).pixels, mpp=2.0, number=1, series=11
    )

    assert scan.identity == before
    with pytest.raises(SlideError, match=r"^scan: This folder holds several slides\..* z\.dcm"):
        Slide(scan.path.parent)


def test_dicom_files_of_one_uid_that_differ_are_another_slide(tmp_path: Path) -> None:
    scan = write_scan("dicom", tmp_path / "scan")
    before = scan.identity
    data = scan.files[0].read_bytes()
    (scan.path.parent / "a.dcm").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    assert scan.identity != before


@pytest.mark.parametrize("name", ["../b.dat", "/tmp/b.dat", "sub/b.dat", r"..\b.dat", ".."])
@pytest.mark.parametrize("kind", ["mirax", "vmu"])
def test_file_outside_the_slides_folder_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    scan = write_scan(kind, tmp_path / "scan")
    owner = next(it for it in scan.files if it.suffix in (".ini", ".vmu"))
    text = owner.read_text(encoding="utf-8-sig")
    inside = "Data0001.dat" if kind == "mirax" else "scan_map.ngr"
    owner.write_text(text.replace(inside, name), encoding="utf-8")

    with pytest.raises(SlideError, match=r"^scan\.\w+: .* names a file in another folder"):
        Slide(scan.path)


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_data_file_that_is_kept_elsewhere_counts_and_is_watched(tmp_path: Path) -> None:
    """As in data sets whose files are links into a store."""
    scan = write_scan("mirax", tmp_path / "scan")
    before = scan.identity
    data = scan.path.with_suffix("") / "Data0001.dat"
    kept = data.rename(tmp_path / "kept")
    data.symlink_to(kept)
    assert scan.identity == before

    with Slide(scan.path) as slide:
        with kept.open("ab") as file:
            file.write(b"x")
        with pytest.raises(SlideChangedError):
            slide.check_unchanged()
    assert scan.identity != before


def test_missing_data_file_is_named_and_its_coming_back_is_a_change(tmp_path: Path) -> None:
    scan = write_scan("mirax", tmp_path / "scan")
    before = scan.identity
    data = scan.path.with_suffix("") / "Data0000.dat"
    away = data.rename(tmp_path / "away")
    with Slide(scan.path) as slide:
        assert [it for it in slide.warnings if it.startswith("Data0000.dat is missing")]
        assert slide.identity() != before
        away.rename(data)
        with pytest.raises(SlideChangedError, match=r"scan\.mrxs: The slide changed"):
            slide.check_unchanged()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(20)
def test_named_pipe_among_the_files_of_a_slide_is_refused_at_once(
    scan: Scan, tmp_path: Path
) -> None:
    """OpenSlide would wait for ever for somebody who writes into it."""
    began = time.monotonic()
    for file in [*scan.files, scan.path.parent / "foreign"]:
        is_foreign = file.name == "foreign"
        if is_foreign and scan.path.suffix != ".dcm":
            continue
        away = None if is_foreign else file.rename(tmp_path / "away")
        os.mkfifo(file)
        with pytest.raises(SlideError, match=rf"^{file.name}: It is a named pipe \(FIFO\)"):
            Slide(scan.path)
        file.unlink()
        if away is not None:
            away.rename(file)

    assert scan.identity
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(20)
def test_file_that_becomes_a_named_pipe_ends_the_reading(tmp_path: Path) -> None:
    scan = write_scan("mirax", tmp_path / "scan")
    with Slide(scan.path) as slide:
        data = scan.path.with_suffix("") / "Data0001.dat"
        data.unlink()
        os.mkfifo(data)
        with pytest.raises(SlideChangedError, match=r"^scan\.mrxs: The slide is no longer there"):
            slide.check_unchanged()


@pytest.mark.skipif(os.name == "nt", reason="OpenSlide holds the files")
@pytest.mark.parametrize("kind", KINDS)
def test_change_of_any_file_is_noticed(kind: str, tmp_path: Path) -> None:
    scan = write_scan(kind, tmp_path / "scan")
    for file in scan.files:
        data, status = file.read_bytes(), file.stat()
        with Slide(scan.path) as slide:
            slide.check_unchanged()
            with file.open("r+b") as open_file:
                open_file.seek(len(data) - 1)
                open_file.write(bytes([data[-1] ^ 1]))
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
            with pytest.raises(SlideChangedError, match="The slide changed on disk"):
                slide.check_unchanged()
        file.write_bytes(data)


def test_former_identity_is_that_of_earlier_versions(scan: Scan) -> None:
    with Slide(scan.path) as slide:
        assert slide.former_identities() == [rule_1(scan)]
        assert slide.identity() != rule_1(scan)


# --- what is kept of a slide that was known by another identity ------------------------------


REGION = Region("Tumour", rectangle(0, 0, 400, 400))


def as_earlier_version_kept_it(data_dir: Path, scan: Scan) -> Path:
    """Turn what is kept of a slide into what an earlier version would have kept."""
    former, now = rule_1(scan), slide_folder(data_dir, scan.identity)
    with RegionBook(now) as book:
        book.edit(put=[REGION])
    for run in now.glob("run-*.sqlite"):
        with contextlib.closing(sqlite3.connect(run)) as database:
            ((text,),) = database.execute("SELECT settings FROM run").fetchall()
        settings = json.loads(text)
        with RunStore(data_dir, settings["slide"], settings, restart=False) as store:
            results = list(store.results())
        run.unlink()
        settings["slide"] = former
        write_run_1(run.with_name(f"run-{run_key(settings)[:32]}.sqlite"), settings, results)
    return now.rename(slide_folder(data_dir, former))


def test_analysis_and_regions_of_an_earlier_version_are_found_again(
    tmp_path: Path, data_dir: Path, tiny_model: TinyModel
) -> None:
    scan = write_scan("mirax", tmp_path / "scan")
    command = ("analyze", scan.path, "--model", tiny_model.path, "--out")
    first = run_cli(*command, tmp_path / "one", data_dir=data_dir)
    assert first.code == 0, first
    kept = as_earlier_version_kept_it(data_dir, scan)
    files = {it.name for it in kept.iterdir()}

    again = run_cli(*command, tmp_path / "two", data_dir=data_dir)
    assert again.code == 0, again
    assert "all of it stored before" in again.stdout
    # What was taken over stays found, even when the former identity cannot be known any more.
    (scan.path.with_suffix("") / ".DS_Store").write_bytes(b"x")
    again = run_cli(*command, tmp_path / "three", data_dir=data_dir)
    assert "all of it stored before" in again.stdout

    place = slide_folder(data_dir, scan.identity)
    assert not kept.exists()
    older = {it.name for it in place.iterdir()} - files
    assert [it.endswith(".older-1.sqlite") for it in older] == [True]  # it was upgraded
    with RegionBook(place) as book:
        assert book.regions == (REGION,)
    for name in ("patches.csv", "regions.csv"):
        texts = {(tmp_path / out / "scan" / name).read_bytes() for out in ("one", "two", "three")}
        assert len(texts) == 1
    slide = read_json(tmp_path / "three" / "scan" / "provenance.json")["slide"]
    assert slide["identity"] == scan.identity
    assert "each file that Slidedat.ini names (rule 2)" in slide["identity_kind"]


def test_window_finds_the_regions_of_an_earlier_version(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    scan = write_scan("dicom", tmp_path / "scan")
    as_earlier_version_kept_it(data_dir, scan)
    loader = TileLoader(str(scan.path), None)
    try:
        with qtbot.waitSignal(loader.opened, timeout=WAIT_MS) as opened:
            pass
    finally:
        loader.close()

    with RegionBook(slide_folder(data_dir, opened.args[0].identity)) as book:
        assert book.regions == (REGION,)


def kept(data_dir: Path, identity: str, text: str) -> Path:
    folder = slide_folder(data_dir, identity)
    folder.mkdir(parents=True)
    (folder / "regions.sqlite").write_text(text, encoding="ascii")
    return folder


NEW, OLDER, OLDEST = (letter * 64 for letter in "abc")


def test_latest_of_several_former_identities_is_taken_over(data_dir: Path) -> None:
    oldest, older = kept(data_dir, OLDEST, "oldest"), kept(data_dir, OLDER, "older")

    adopt(data_dir, NEW, lambda: ["d" * 64, OLDER, OLDEST])

    assert (slide_folder(data_dir, NEW) / "regions.sqlite").read_text(encoding="ascii") == "older"
    assert oldest.exists()
    assert not older.exists()


def test_what_is_kept_under_the_identity_of_today_counts_and_nothing_is_lost(
    data_dir: Path,
) -> None:
    new, older = kept(data_dir, NEW, "new"), kept(data_dir, OLDER, "older")

    adopt(data_dir, NEW, lambda: [OLDER])

    assert (new / "regions.sqlite").read_text(encoding="ascii") == "new"
    assert (older / "regions.sqlite").read_text(encoding="ascii") == "older"


SETTINGS = {"slide": OLDER, "model": "m", "mpp": [0.5, 0.5]}


def test_run_is_found_by_its_settings_and_by_nothing_else(data_dir: Path) -> None:
    result = BlockResult.failed(Block(0, 0, 0, 2, 3), "damaged")
    with RunStore(data_dir, OLDER, SETTINGS, restart=False) as store:
        store.commit([result])
        name = store.path.name
    adopt(data_dir, NEW, lambda: [OLDER])

    for model, found in (("m", (0,)), ("another", ())):
        now = {**SETTINGS, "slide": NEW, "model": model}
        with RunStore(data_dir, NEW, now, restart=False) as store:
            assert store.restored == found
            assert (store.path.name == name) == bool(found)
            assert store.notes == ()


def test_damaged_run_of_a_former_identity_is_saved_as_any_other(data_dir: Path) -> None:
    with RunStore(data_dir, OLDER, SETTINGS, restart=False) as store:
        store.commit([BlockResult.failed(Block(it, it, 0, 1, 1), f"why {it}") for it in range(9)])
        path = store.path
    adopt(data_dir, NEW, lambda: [OLDER])
    path = slide_folder(data_dir, NEW) / path.name
    data = path.read_bytes()
    assert data.count(b"why 4") == 1
    path.write_bytes(data.replace(b"why 4", b"why ?"))

    for notes in (1, 0):
        with RunStore(data_dir, NEW, {**SETTINGS, "slide": NEW}, restart=False) as store:
            assert store.restored == (0, 1, 2, 3, 5, 6, 7, 8)
            assert len(store.notes) == notes
            assert store.path == path


def raising(error: OSError) -> Callable[..., Path]:
    def rename(path: Path, target: Path) -> Path:
        raise error

    return rename


def test_folder_that_cannot_be_taken_over_is_named_and_kept(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where another window holds the regions."""
    older = kept(data_dir, OLDER, "older")
    monkeypatch.setattr(Path, "rename", raising(PermissionError(13, "Permission denied")))

    with pytest.raises(OutputError, match=r"cannot be taken over \(Permission denied\)"):
        adopt(data_dir, NEW, lambda: [OLDER])
    assert older.exists()
    assert not slide_folder(data_dir, NEW).exists()


def test_two_processes_that_take_over_at_once_do_not_disturb_each_other(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(data_dir, OLDER, "older")

    def while_another_does() -> list[str]:
        adopt(data_dir, NEW, lambda: [OLDER])
        return [OLDER]

    adopt(data_dir, NEW, while_another_does)

    assert (slide_folder(data_dir, NEW) / "regions.sqlite").exists()


def test_looking_at_a_slide_without_anything_kept_makes_no_folder(data_dir: Path) -> None:
    adopt(data_dir, NEW, lambda: [OLDER])

    assert not data_dir.exists()
