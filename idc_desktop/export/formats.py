"""What can be exported beside the six files, and how each file is written.

Each format is imported when it is used: the window and the command line start without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from idc_desktop.export.content import Content
from idc_desktop.export.writers import Put, Writer, text_writer
from idc_desktop.slides.description import SlideDescription

FILES = ("regions.csv", "patches.csv", "patches.geojson", "overlay.png", "probability.ome.tiff")


@dataclass(frozen=True)
class Format:
    """A format that can be asked for by its name.

    Attributes
    ----------
    description : str
        For ``--help`` and menus.
    names : tuple of str
        The files, or the folder, that it always consists of.
    files : callable
        Returns a writer for each file; `FormatError` if it cannot hold this analysis.
    refusal : callable
        Says from the description of the slide, and whether its name is to be left out,
        why the format cannot be used, before anything is computed.
    """

    description: str
    names: tuple[str, ...]
    files: Callable[[Content], dict[str, Writer]]
    refusal: Callable[[SlideDescription, bool], str | None] = lambda slide, nameless: None


def six_files(content: Content) -> dict[str, Writer]:
    """Return the writers of the files that every export has, ``provenance.json`` apart."""
    from idc_desktop.export.ome_tiff import write_ome_tiff
    from idc_desktop.export.overlay import write_overlay
    from idc_desktop.export.patches import write_patches_geojson
    from idc_desktop.export.tables import patches_csv, regions_csv

    writers: tuple[Writer, ...] = (
        text_writer(lambda put: put(regions_csv(content))),
        text_writer(lambda put: put(patches_csv(content))),
        text_writer(lambda put: write_patches_geojson(put, content.analysis)),
        lambda file: write_overlay(file, content),
        lambda file: write_ome_tiff(file, content.analysis),
    )
    return dict(zip(FILES, writers, strict=True))


def _regions(content: Content) -> dict[str, Writer]:
    return {"regions.geojson": text_writer(_annotations(content, (0.0, 0.0)))}


def _qupath(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.patches import write_patches_geojson
    from idc_desktop.export.tables import measurement_table

    analysis = content.analysis
    origin = analysis.slide.bounds_origin_l0
    writers = (
        text_writer(_annotations(content, origin), packed=True),
        text_writer(lambda put: write_patches_geojson(put, analysis, origin), packed=True),
        text_writer(lambda put: put(measurement_table(content))),
    )
    return dict(zip(FORMATS["qupath"].names, writers, strict=True))


def _annotations(content: Content, origin: tuple[float, float]) -> Callable[[Put], object]:
    from idc_desktop.export.tables import named_figures
    from idc_desktop.regions.geojson import write

    def measured() -> Iterable[dict[str, float]]:
        for figures in content.figures:
            yield {k: v for k, v in named_figures(figures).items() if v is not None}

    marks, mpp = content.marks, content.analysis.mpp
    return lambda put: write(put, content.regions, origin, measured(), marks, mpp)


def _measurements(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.measurements import measurements_csv

    return {"measurements.csv": text_writer(lambda put: put(measurements_csv(content)))}


def _wsinfer(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.wsinfer import results_folder

    return results_folder(content)


def _report(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.report import write_report

    return {"report.pdf": lambda file: write_report(file, content)}


def _dsa(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.dsa import annotation

    return {"dsa-annotation.json": text_writer(lambda put: put(annotation(content)))}


def _dicom(content: Content) -> dict[str, Writer]:
    from idc_desktop.export.dicom import dicom_files

    return dicom_files(content)


def _no_dicom(slide: SlideDescription, nameless: bool) -> str | None:
    if slide.vendor != "dicom":
        return f"it refers to a DICOM slide, and this one is {slide.vendor}"
    if nameless:
        return "it names its slide by DICOM identifiers, which --anonymous leaves out"
    # Importing it takes most of a second, and a menu may be asking.
    if find_spec("highdicom") is None:
        return 'it needs highdicom: pip install "idc-desktop[dicom]"'
    return None


FORMATS: Mapping[str, Format] = {
    "report": Format("report of a few pages (PDF)", ("report.pdf",), _report),
    "measurements": Format(
        "measurements: lengths, angles and marks (CSV)", ("measurements.csv",), _measurements
    ),
    "regions": Format(
        "regions with their figures (GeoJSON, level-0 pixels)", ("regions.geojson",), _regions
    ),
    "qupath": Format(
        "for QuPath: regions, patches and a measurement table",
        ("regions.qupath.geojson.gz", "patches.qupath.geojson.gz", "measurements.tsv"),
        _qupath,
    ),
    "wsinfer": Format("for WSInfer: a results folder", ("wsinfer",), _wsinfer),
    "dsa": Format("for the Digital Slide Archive: an annotation", ("dsa-annotation.json",), _dsa),
    "dicom": Format(
        "DICOM segmentation and parametric map (of DICOM slides)",
        ("segmentation.dcm", "parametric-map.dcm"),
        _dicom,
        _no_dicom,
    ),
}
"""The formats by the names that ``--format`` takes."""
