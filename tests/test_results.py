"""Where results go: the folder's name, never among a scan's files, never over another slide's."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idc_desktop.commands.batch import FORMAT_NAMES
from idc_desktop.commands.cli import main
from idc_desktop.errors import ExportError, ForeignResultsError, OutputError
from idc_desktop.export.folder import write_folder
from idc_desktop.export.results import as_one_folder, refuse_scan_folder, results_name
from idc_desktop.export.verify import PROVENANCE, verify_folder
from idc_desktop.regions.shape import Region
from idc_desktop.slides.slide_files import SlideFiles
from tests.support.command import SIX_FILES, file_sha256, read_csv
from tests.support.models import TinyModel
from tests.support.scans import write_dicom, write_mirax, write_vmu
from tests.support.scenes import Scene
from tests.support.slides import PINK, Canvas, pyramid, write_tiff
from tests.test_export import analysis, region

NOWHERE = Path("/no/such/folder")
DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)\d|conin\$|conout\$)( *\.| *$)", re.IGNORECASE)
FURTHER = tuple(name for name in FORMAT_NAMES if name != "dicom")

SAFE = ("a", "S04-1234 B", "a.b", "Größe = 1", "乳腺", "😐", "COM10", "console", "x" * 240)
UNSAFE = (
    *(".", "..", "...", " ", ". .", ".hidden", "..a", "a.", "a ", "a. ."),
    *("CON", "nul", "Com1.x", "aux ", "LPT³", "CONOUT$"),
    *("a:b", 'a"b', "a<b", "a|b", "a?b", "a*b", "a\\b", "a\nb", "a\tb", "a\x1bb", "a\x7f"),
    *("\u200b", "a\u202egpj.b", "a\u2066b", "\ufeffa", "a\u200f"),
    *("a\x85", "a\u2028b", "a\udcffb", "x" * 241, "乳" * 81, "😐" * 62),
)


def is_safe(name: str) -> bool:
    """Whether Linux, macOS and Windows all take it for the name of a folder that is seen."""
    return not (
        name == ""
        or name[0] == "."
        or name[-1] in ". "
        or DEVICES.match(name)
        or re.search(r'[<>:"/\\|?*\x00-\x1f\x7f\u200b\u200f\u202a-\u202e\u2066-\u2069\ufeff]', name)
        or len(f"{name}.geojson".encode()) > 255
    )


@pytest.mark.parametrize("name", SAFE)
def test_safe_name_stays_as_it_is(name: str) -> None:
    assert is_safe(name)
    assert results_name(NOWHERE / f"{name}.svs") == name


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_name_is_made_safe(name: str) -> None:
    assert is_safe(results_name(NOWHERE / f"{name}.svs"))


def test_names_that_are_made_safe_stay_apart() -> None:
    folders = {as_one_folder(results_name(NOWHERE / f"{it}.svs")) for it in (*SAFE, *UNSAFE)}
    assert len(folders) == len(SAFE) + len(UNSAFE)


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="/\0")))
def test_any_name_is_made_safe(name: str) -> None:
    assert is_safe(results_name(Path("/") / name))


def test_results_go_by_the_name_of_the_file_or_folder(tmp_path: Path) -> None:
    series = tmp_path / "series.1.2"
    series.mkdir()

    assert results_name(tmp_path / "a.b.tiff") == "a.b"
    assert results_name(series) == "series.1.2"
    assert is_safe(results_name(Path("/")))
    assert is_safe(results_name(tmp_path / ("x" * 300)))  # no system has such a file


def analyze(*arguments: object, verb: str = "analyze", out: Path, model: TinyModel) -> int:
    """Run the command in this process."""
    options = ("--out", out, "--model", model.path, "--provider", "cpu")
    return main([verb, *map(str, (*arguments, *options))])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of the commands of a test."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def other_slide(tmp_path: Path) -> Path:
    """A slide with the name of the tiny slide, in a folder of its own."""
    canvas = Canvas(1200, 800, 8.0)
    canvas.paint((100, 100, 900, 700), PINK)
    (tmp_path / "b").mkdir()
    return write_tiff(tmp_path / "b" / "tiny.tiff", canvas.pixels, mpp=8.0)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
@pytest.mark.parametrize("name", ["...tiff", "..tiff", ".tiff", "a:b.tiff", f"{'x' * 250}.tiff"])
def test_slide_of_any_name_gets_one_folder_within_out(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, data: Path, name: str
) -> None:
    slide = shutil.copy(tiny_slide.path, tmp_path / name)
    out = tmp_path / "above" / "out"
    formats = (f"--format={it}" for it in FURTHER)

    assert analyze(slide, *formats, out=out, model=tiny_model) == 0

    (folder,) = out.iterdir()
    assert list(out.parent.iterdir()) == [out]
    assert is_safe(folder.name)
    verify_folder(folder)
    assert {row["Image"] for row in read_csv(folder / "regions.csv")} == {name}


@pytest.mark.parametrize("names", [("a", "A"), ("é", "e\u0301"), ("straße", "STRASSE")])
def test_two_slides_whose_folders_are_one_on_some_system_are_wrong_usage(
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, str],
) -> None:
    slides = [tmp_path / f"{name}.tiff" for name in names]

    assert analyze(*slides, out=tmp_path / "out", model=tiny_model) == 2

    assert "on some systems. Analyze them with two --out folders." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["analyze", "export"])
def test_results_of_another_slide_are_replaced_only_if_that_is_asked_for(
    tiny_slide: Scene,
    other_slide: Path,
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    out = tmp_path / "out"
    if verb == "export":
        assert analyze(other_slide, out=tmp_path / "first", model=tiny_model) == 0
    assert analyze(tiny_slide.path, "--format", "report", out=out, model=tiny_model) == 0
    capsys.readouterr()
    old, runs = hashes(out), set(data.rglob("run-*"))

    assert analyze(other_slide, verb=verb, out=out, model=tiny_model) == 5

    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("tiny: This folder holds results of another slide. Give --overwrite ")
    assert hashes(out) == old
    assert set(data.rglob("run-*")) == runs  # nothing was computed

    assert analyze(other_slide, "--overwrite", verb=verb, out=out, model=tiny_model) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert "not written again: report.pdf." in told
    assert (out / "tiny" / "report.pdf").is_file()
    new = hashes(out)
    assert {name for name in old if old[name] == new[name]} == {"tiny/report.pdf"}


def test_results_of_the_same_slide_are_replaced_and_what_is_outdated_is_named(
    tiny_slide: Scene,
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    formats = ("--format", "report", "--format", "wsinfer")
    assert analyze(tiny_slide.path, *formats, out=out, model=tiny_model) == 0
    assert capsys.readouterr().err == ""

    assert analyze(tiny_slide.path, "--threshold", "0.01", out=out, model=tiny_model) == 0

    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("note: tiny.tiff: Of an earlier export, and not written again: report")
    assert "wsinfer/model-outputs-csv/tiny.csv" in told
    with pytest.raises(ExportError, match=r"report\.pdf belongs to another export"):
        verify_folder(out / "tiny")

    assert analyze(tiny_slide.path, *formats, out=out, model=tiny_model) == 0
    assert capsys.readouterr().err == ""
    verify_folder(out / "tiny")


def cut(provenance: Path) -> None:
    provenance.write_bytes(provenance.read_bytes()[:-9])


def nest(provenance: Path) -> None:
    provenance.write_text("[" * 100_000, encoding="utf-8")


def number(provenance: Path) -> None:
    document = json.loads(provenance.read_text(encoding="utf-8"))
    document["slide"]["identity"] = 7
    provenance.write_text(json.dumps(document), encoding="utf-8")


def pipe(provenance: Path) -> None:
    provenance.unlink()
    os.mkfifo(provenance)


def folder(provenance: Path) -> None:
    provenance.unlink()
    provenance.mkdir()


@pytest.mark.parametrize("damage", [cut, nest, number, pipe, folder])
def test_results_whose_provenance_is_damaged_may_be_of_another_slide(
    tiny_model: TinyModel, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    if damage is pipe and sys.platform == "win32":
        pytest.skip("Windows has no named pipes in folders")
    write_folder(tmp_path / "s", analysis(tiny_model.path), [])
    damage(tmp_path / "s" / PROVENANCE)
    old = hashes(tmp_path)

    with pytest.raises(ForeignResultsError, match=r"^s: It cannot be told whose results"):
        write_folder(tmp_path / "s", analysis(tiny_model.path, seed=1), [])

    assert hashes(tmp_path) == old
    if damage in (folder, pipe):
        with pytest.raises(OutputError, match="Move away what is there"):
            write_folder(tmp_path / "s", analysis(tiny_model.path), [], overwrite=True)
    else:
        write_folder(tmp_path / "s", analysis(tiny_model.path), [], overwrite=True)
        verify_folder(tmp_path / "s")


def test_results_that_another_slide_got_meanwhile_are_not_replaced(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    mine = analysis(tiny_model.path)
    other = replace(mine, slide=replace(mine.slide, identity="cd" * 32))

    def meanwhile() -> Iterator[Region]:
        write_folder(tmp_path / "s", other, [])
        yield region("r")

    with pytest.raises(ForeignResultsError, match="results of another slide"):
        write_folder(tmp_path / "s", mine, meanwhile())

    assert verify_folder(tmp_path / "s")["slide"]["identity"] == "cd" * 32
    assert {path.name for path in (tmp_path / "s").iterdir()} == set(SIX_FILES)


def test_what_a_kill_left_of_a_first_export_is_nobodys(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    """Temporary files of all formats, and none under its own name."""
    (tmp_path / "s" / "wsinfer" / "masks").mkdir(parents=True)
    for place in ("", "wsinfer/masks"):
        (tmp_path / "s" / place / f".idc-desktop-{'0' * 16}.tmp").touch()

    write_folder(tmp_path / "s", analysis(tiny_model.path), [], ("report", "wsinfer"))

    verify_folder(tmp_path / "s")


def test_folder_without_provenance_is_nobodys(
    tiny_slide: Scene,
    other_slide: Path,
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An export that was interrupted leaves one; the same command goes on."""
    out = tmp_path / "out"
    assert analyze(tiny_slide.path, "--format", "report", out=out, model=tiny_model) == 0
    for name in (PROVENANCE, "patches.geojson", "overlay.png", "probability.ome.tiff"):
        (out / "tiny" / name).unlink()
    (out / "tiny" / "notes.txt").write_text("mine", encoding="utf-8")
    capsys.readouterr()

    assert analyze(other_slide, "--format", "report", out=out, model=tiny_model) == 0

    (told,) = capsys.readouterr().err.splitlines()
    assert "The folder tiny holds regions.csv, patches.csv, report.pdf without a" in told
    assert (out / "tiny" / "notes.txt").read_text(encoding="utf-8") == "mine"
    verify_folder(out / "tiny")


def test_file_that_no_export_left_is_replaced_only_if_that_is_asked_for(
    tiny_slide: Scene,
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pathologist's own report: an export begins with the six files, and none is there."""
    out = tmp_path / "out"
    report = out / "tiny" / "report.pdf"
    report.parent.mkdir(parents=True)
    report.write_bytes(b"mine")

    assert analyze(tiny_slide.path, "--format", "report", out=out, model=tiny_model) == 5

    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("tiny: This folder holds report.pdf, and no provenance.json")
    assert list(report.parent.iterdir()) == [report]
    assert report.read_bytes() == b"mine"

    assert analyze(tiny_slide.path, out=out, model=tiny_model) == 0
    assert report.read_bytes() == b"mine"
    told = capsys.readouterr().err
    assert "report.pdf" in told
    options = ("--format", "report", "--overwrite")
    assert analyze(tiny_slide.path, *options, out=out, model=tiny_model) == 0
    assert report.read_bytes() != b"mine"


@pytest.mark.parametrize("place", ["", "wsinfer", "wsinfer/model-outputs-csv"])
def test_temporary_file_of_a_killed_export_is_of_no_format(
    tiny_model: TinyModel, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "s"
    write_folder(folder, analysis(tiny_model.path), [], ["wsinfer"])
    (folder / place / ".idc-desktop-0123456789abcdef.tmp").touch()

    verify_folder(folder)


# --- among a scan's files ---------------------------------------------------------------------


PIXELS = Canvas(640, 512, 2.0)
PIXELS.paint((64, 64, 600, 450), PINK)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with slides of several files, and one that is one file."""
    folder = tmp_path / "scans"
    folder.mkdir()
    write_mirax(folder / "case1.mrxs", pyramid(PIXELS.pixels, (1, 2)), mpp=2.0)
    write_vmu(folder / "image.vmu", PIXELS.pixels)
    write_tiff(folder / "one.svs", PIXELS.pixels, mpp=2.0)
    for name, number in (("series/level0.dcm", 0), ("series/level1.dcm", 1), ("single/a.dcm", 0)):
        (folder / name).parent.mkdir(exist_ok=True)
        write_dicom(
            folder / name, PIXELS.pixels[:: 1 + number, :: 1 + number], mpp=2.0, number=number
        )
    (folder / "link").symlink_to(folder / "series", target_is_directory=True)
    return folder


@pytest.mark.parametrize(
    ("place", "slide"),
    [
        ("case1", "case1.mrxs"),
        ("case1/new/deep", "case1.mrxs"),
        ("case1", "one.svs"),  # the folder of another scan
        ("single/../case1", "case1.mrxs"),
        ("series", "series"),
        ("series", "one.svs"),
        ("series/new", "series"),
        ("link/new", "series"),
        ("series/new", "link"),
        ("series/level0", "series/level0.dcm"),
        ("link/level0", "series/level0.dcm"),
        ("single", "single"),
        ("image", "image.vmu"),
    ],
)
def test_folder_of_a_scan_is_no_place_for_results(scans: Path, place: str, slide: str) -> None:
    with pytest.raises(ExportError, match=r": The results would lie in this folder of a scan's"):
        refuse_scan_folder(scans / place, [scans / slide])


@pytest.mark.parametrize(
    ("place", "slide"),
    [
        (".", "one.svs"),
        ("one", "one.svs"),
        ("results/case1", "case1.mrxs"),
        ("results/series", "series"),
        ("results/level0", "series/level0.dcm"),
        ("single/a", "single/a.dcm"),  # that slide is one file
        ("series.1", "series"),
        ("results/none", "none"),
        ("results/x", "x" * 300),
    ],
)
def test_place_beside_the_files_of_a_scan_is_fine(scans: Path, place: str, slide: str) -> None:
    refuse_scan_folder(scans / place, [scans / slide])


def test_out_within_a_scans_folder_is_refused_and_not_even_made(
    scans: Path,
    tiny_slide: Scene,
    tiny_model: TinyModel,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(scans.rglob("*"))
    monkeypatch.chdir(scans / "series")

    assert analyze(tiny_slide.path, "level0.dcm", out=Path("out"), model=tiny_model) == 3

    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("series: ")
    assert "such as a new one beside series." in told
    assert sorted(scans.rglob("*")) == before


@pytest.mark.parametrize(
    ("folder", "slide", "out"),
    [(".", "case1.mrxs", "."), ("series", ".", ".."), ("series", "level0.dcm", ".")],
)
def test_scan_keeps_its_folder(
    scans: Path,
    tiny_model: TinyModel,
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    slide: str,
    out: str,
) -> None:
    before = sorted(scans.rglob("*"))
    monkeypatch.chdir(scans / folder)

    assert analyze(slide, out=Path(out), model=tiny_model) == 3

    (told,) = capsys.readouterr().err.splitlines()
    assert "this folder of a scan's own files" in told
    assert sorted(scans.rglob("*")) == before
    assert analyze(slide, out=tmp_path / "results", model=tiny_model) == 0


def test_results_under_an_identity_of_an_older_rule_are_of_the_same_slide(
    scans: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    slide = scans / "case1.mrxs"
    (former,) = SlideFiles(slide).former_identities()
    mine = replace(analysis(tiny_model.path), source=slide)
    write_folder(tmp_path / "s", replace(mine, slide=replace(mine.slide, identity=former)), [])

    write_folder(tmp_path / "s", mine, [])

    assert verify_folder(tmp_path / "s")["slide"]["identity"] == mine.slide.identity
