"""report.pdf, and the names that it and the overlay show."""

from __future__ import annotations

import io
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.content import Content
from idc_desktop.export.folder import write_folder
from idc_desktop.export.overlay import write_overlay
from idc_desktop.export.verify import verify_folder
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.regions.sheet import Sheet
from tests.support.command import read_csv
from tests.support.models import TinyModel
from tests.test_export import analysis
from tests.test_formats import EVERYWHERE, made_up_regions


@pytest.fixture(scope="module")
def exported(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "case 1.b"
    write_folder(folder, analysis(tiny_model.path), made_up_regions(), ["report"])
    return folder


FELL_BACK = ProviderChoice("auto", "cpu", "no CUDA")


def pdf_text(path: Path) -> list[str]:
    done = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split("\f")[:-1]


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_report_has_the_notice_on_each_page_and_the_figures(exported: Path) -> None:
    pages = pdf_text(exported / "report.pdf")
    whole = "\n".join(pages)

    assert len(pages) >= 2
    assert all(RESEARCH_USE_NOTICE in page for page in pages)
    assert "=1+1" in whole
    provenance = verify_folder(exported)
    assert provenance["slide"]["identity"] in whole.replace("\n", "")
    assert provenance["model"]["sha256"] in whole
    row = read_csv(exported / "regions.csv")[-1]
    assert f"{float(row['IDC area µm^2']) / 1e6:,.3f} mm²" in whole
    for word in ("Regions", "Classes", "Foci", "Model", "Origin", "Stroma"):
        assert word in whole


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_report_has_names_of_every_script(tiny_model: TinyModel, tmp_path: Path) -> None:
    names = ["腫瘍", "浸润癌", "유방암", "Опухоль", "Ognisko Łódź", "كتلة", "שלום", "हि"]
    regions = [Region(it, rectangle(0, 0, 500, 500), it) for it in names]
    found = replace(analysis(tiny_model.path), image="Łódź 癌.svs", notes=("Опухоль: ≥ 2",))

    write_folder(tmp_path / "s", found, regions, ["report"])

    report = tmp_path / "s" / "report.pdf"
    text = unicodedata.normalize("NFKC", "\n".join(pdf_text(report)))
    assert all(text.count(it) >= 2 for it in names[:-1])  # region and class
    assert r"\u0939\u093f" in text  # no font of ours has Devanagari
    assert "Łódź 癌.svs" in text
    assert "Note: Опухоль: ≥ 2" in text
    data = report.read_bytes()
    write_folder(tmp_path / "s", found, regions, ["report"])
    assert report.read_bytes() == data
    write_folder(tmp_path / "s", replace(found, image="s.svs"), [], ["report"])
    assert len(data) - report.stat().st_size < 200_000  # only what is used of a font


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_long_arabic_name_is_read_from_its_first_line_on(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    words = ["ناحیه", "مشکوک", "به", "کارسینوم", "مهاجم", "پستان"]
    regions = [Region(" ".join(words), rectangle(0, 0, 500, 500))]

    write_folder(tmp_path / "s", analysis(tiny_model.path), regions, ["report"])

    text = unicodedata.normalize("NFKC", "\n".join(pdf_text(tmp_path / "s" / "report.pdf")))
    lines = [n for word in words for n, line in enumerate(text.split("\n")) if word in line]
    assert lines == sorted(lines)
    assert len(set(lines)) > 1


def test_overlay_has_names_of_every_script(tiny_model: TinyModel) -> None:
    """Signs without a font would all be the same box."""

    def drawn(image: str) -> bytes:
        file = io.BytesIO()
        write_overlay(file, Content(replace(analysis(tiny_model.path), image=image), (), "s"))
        with Image.open(file) as picture:
            return picture.tobytes()

    names = ["癌.svs", "腫.svs", "암.svs", "ﻡ.svs", "ش.svs"]
    assert len({drawn(it) for it in names}) == len(names)


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_patches_whose_centre_is_off_the_slide_are_told_apart(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    """They were analyzed, and the row of the whole slide does not count them."""
    found = analysis(tiny_model.path)
    short = ProbabilityMap(replace(found.map.grid, height_l0=3850))  # a quarter of the last row
    short.states[:], short.layer().stored[:] = PatchState.OK, 1
    found = replace(found, map=short)

    write_folder(tmp_path / "s", found, [], ["report"])

    assert read_csv(tmp_path / "s" / "regions.csv")[-1]["Patches analyzed"] == "570"
    assert len(read_csv(tmp_path / "s" / "patches.csv")) == 600
    text = " ".join("".join(pdf_text(tmp_path / "s" / "report.pdf")).split())
    assert "Patches analyzed 600 (570 with their centre on the slide)" in text


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
@pytest.mark.parametrize("analyzed", ["2026-03-31T14:05:00Z", None])
def test_report_says_when_the_slide_was_analyzed(
    tiny_model: TinyModel, tmp_path: Path, analyzed: str | None
) -> None:
    found = replace(analysis(tiny_model.path), analyzed=analyzed)
    write_folder(tmp_path / "s", found, [], ["report"])
    (line,) = [
        it for it in "\n".join(pdf_text(tmp_path / "s" / "report.pdf")).split("\n")
        if it.startswith("Analyzed on")
    ]  # fmt: skip
    assert line.split(None, 2)[2] == ("2026-03-31 14:05:00 UTC" if analyzed else "not known")


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_report_tells_verdicts_and_figures_at_two_thresholds(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    found = analysis(tiny_model.path)
    regions = [
        Region("Focus 1", rectangle(0, 0, 1600, 1600), verdict="IDC", note="first\nsecond"),
        Region("Other", rectangle(1600, 0, 3200, 1600), verdict="DCIS"),
    ]
    marks = [Mark("line", ((0, 0), (3000, 4000)), "margin"), Mark("text", ((1, 1),), "here")]

    write_folder(tmp_path / "s", found, regions, ["report"], marks=marks)

    pages = pdf_text(tmp_path / "s" / "report.pdf")
    lines = [" ".join(line.split()) for line in "\n".join(pages).split("\n")]
    row, _, whole = read_csv(tmp_path / "s" / "regions.csv")
    area = f"{float(whole['Accepted IDC area µm^2']) / 1e6:,.3f} mm²"
    assert float(row["Accepted IDC area µm^2"]) == float(whole["Accepted IDC area µm^2"]) > 0
    (accepted,) = (it for it in lines if it.startswith("Accepted IDC area"))
    assert accepted.startswith(f"Accepted IDC area {area} ")
    assert accepted.count("mm²") == 2
    assert any(it.startswith("p at or above") and "in use" in it for it in lines)
    assert any(it.startswith("Focus 1 IDC ") for it in lines)
    assert any(it.startswith("Other DCIS ") for it in lines)
    (tumour,) = (it for it in lines if it.startswith("Longest diameter of the accepted tumour"))
    (slide,) = (it for it in lines if it.startswith("Whole slide "))
    assert slide.split()[3] == tumour.split()[6]  # not the diagonal of the glass
    assert {"Focus 1: first", "second", "here text"} <= set(lines)
    length = np.hypot(3000 * found.mpp[0], 4000 * found.mpp[1]) / 1e3
    assert f"margin line {length:,.2f} mm" in lines
    titles = [it.split("  ")[0] for it in "\n".join(pages).split("\n") if "  " in it.strip()]
    labels = [it for it in titles if it in ("Limit", "Limits", "Beyond its archive")]
    assert len(labels) == len(set(labels))


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
@pytest.mark.parametrize("lines", [0, 6, 12, 18, 24, 30])
def test_figures_stay_on_one_page_and_settings_are_words(
    tiny_model: TinyModel, tmp_path: Path, lines: int
) -> None:
    found = replace(analysis(tiny_model.path), tissue=TissueSettings(), provider=FELL_BACK)
    sheet = Sheet(comment="\n".join(["a line of the comment"] * lines))

    write_folder(tmp_path / "s", found, [], ["report"], sheet=sheet)

    pages = pdf_text(tmp_path / "s" / "report.pdf")
    ends = ("IDC area", "Longest diameter of the largest focus")
    assert len({number for number, page in enumerate(pages) for it in ends if it in page}) == 1
    (origin,) = (page.partition("Origin")[2] for page in pages if "Slide identity" in page)
    words = " ".join(origin.split())
    assert "Tissue At least 5 % of the patch, seen as 10 x 10 pixels, is coloured" in words
    assert "Provider cpu (auto was asked for: no CUDA) Versions" in words


@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler-utils is not installed")
@pytest.mark.parametrize("regions", [0, 9, 25, 40])
def test_no_page_of_the_report_is_nearly_empty(
    tiny_model: TinyModel, tmp_path: Path, regions: int
) -> None:
    drawn = [Region(f"r {n}", rectangle(n, n, n + 300, n + 300)) for n in range(regions)]
    write_folder(tmp_path / "s", analysis(tiny_model.path), drawn, ["report"])
    subprocess.run(
        ["pdftoppm", "-r", "20", "-gray", tmp_path / "s" / "report.pdf", tmp_path / "page"],
        check=True, timeout=60,
    )  # fmt: skip
    for path in tmp_path.glob("page*.pgm"):
        with Image.open(path) as page:
            rows = np.asarray(page).min(axis=1)[: int(page.height * 0.93)]
        assert np.flatnonzero(rows < 200).max() > 0.2 * len(rows), path.name


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
def test_report_has_the_first_of_very_many_regions_and_notes(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    """Thousands of rows would take the layout minutes, and nobody reads them on paper."""
    square = rectangle(0, 0, 300, 300)
    drawn = [Region(f"r {n}", square, str(n), note=f"note {n}") for n in range(1200)]

    write_folder(tmp_path / "s", analysis(tiny_model.path), drawn, ["report"])

    pages = pdf_text(tmp_path / "s" / "report.pdf")
    text = " ".join(" ".join(pages).split())
    assert len(pages) < 60
    assert "The first 300 of 1,201; the tables beside this report have all." in text
    assert text.count("The first 300 of 1,200;") == 2  # notes, and classes
    assert ("r 299: note 299" in text, "r 300: note 300" in text) == (True, False)


@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler-utils is not installed")
def test_report_is_painted(exported: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["pdftoppm", "-r", "50", "-png", exported / "report.pdf", tmp_path / "page"],
        check=True, timeout=60,
    )  # fmt: skip
    pages = sorted(tmp_path.glob("page*.png"))
    with Image.open(pages[0]) as page:
        colours = np.asarray(page.convert("RGB")).reshape(-1, 3)
    assert len(pages) >= 2
    assert (np.ptp(colours.astype(int), axis=1) > 60).mean() > 0.1  # the map


@pytest.mark.parametrize("kind", ["nothing analyzed", "all above", "many regions", "odd texts"])
def test_report_of_odd_cases_is_written(tiny_model: TinyModel, tmp_path: Path, kind: str) -> None:
    found, regions = analysis(tiny_model.path), made_up_regions()
    if kind == "nothing analyzed":
        found.map.states[:] = PatchState.BACKGROUND
    elif kind == "all above":
        found = replace(found, threshold=0.0)
    elif kind == "many regions":
        regions = [Region(f"region {n}", rectangle(n, n, n + 300, n + 300)) for n in range(300)]
    else:
        texts = ["<b>", "&amp;", "正常", "\x00\x07", "a" * 3000, "\ud800", "\u202e"]
        regions = [Region(it, rectangle(0, 0, 500, 500), it) for it in texts]
        found = replace(found, image="<正常> & \udcff\x01" + "y" * 300, notes=("<i>正",))

    write_folder(tmp_path / "s", found, regions, EVERYWHERE)

    verify_folder(tmp_path / "s")
    with tifffile.TiffFile(tmp_path / "s" / "probability.ome.tiff") as file:
        assert ElementTree.fromstring(file.ome_metadata or "") is not None
    assert (tmp_path / "s" / "report.pdf").read_bytes().startswith(b"%PDF")
