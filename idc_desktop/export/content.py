"""A finished analysis: what every export says."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.maps.layers import UNCERTAINTY
from idc_desktop.maps.probability_map import MapLayer, ProbabilityMap
from idc_desktop.maps.shield_notes import shield_notes
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.card import Model
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.plain_text import counted
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region
from idc_desktop.regions.sheet import Sheet
from idc_desktop.regions.statistics import (
    RegionMeter,
    RegionStatistics,
    measure_once,
    whole_slide,
)
from idc_desktop.slides.description import SlideDescription

if TYPE_CHECKING:
    from idc_desktop.regions.verdicts import Accepted

_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e01")


@dataclass(frozen=True)
class Analysis:
    """A finished analysis and all that its exports say of its origin.

    Attributes
    ----------
    image : str
        What stands for the slide in the files: its file name, or a part of its identity.
    overview : ndarray of uint8, shape (height, width, 3)
        The extent that the grid covers.
    overview_px_l0 : float
        Side of one of its pixels, level-0 pixels.
    tissue, provider, versions
        As the engine reports them.
    map_kind : str
        Name of the layer that the figures are of.
    notes : tuple of str
        What a reader of the figures should know.
    analyzed : str or None
        When the last block was committed (UTC): the same however often it is exported.
    is_recalled : bool
        Everything had been computed by an earlier run.
    source : Path or None
        The slide itself, for formats that refer to it; never written anywhere.
    """

    image: str
    slide: SlideDescription
    model: Model
    map: ProbabilityMap
    overview: npt.NDArray[np.uint8]
    overview_px_l0: float
    tissue: TissueSettings
    provider: ProviderChoice
    versions: dict[str, str]
    threshold: float
    map_kind: str
    notes: tuple[str, ...] = ()
    analyzed: str | None = None
    is_recalled: bool = False
    source: Path | None = None

    @classmethod
    def of(
        cls,
        record: RunRecord,
        model: Model,
        image: str,
        threshold: float,
        map_kind: str,
        source: Path | None = None,
    ) -> Analysis:
        """Take a finished run."""
        assert record.slide is not None
        assert record.map is not None
        assert record.plan is not None
        counts = record.map.counts()
        return cls(
            image=image,
            slide=record.slide,
            model=model,
            map=record.map,
            overview=record.overview,
            overview_px_l0=record.overview_px_l0,
            tissue=record.plan.tissue,
            provider=record.plan.provider,
            versions=record.plan.versions,
            threshold=threshold,
            map_kind=map_kind,
            analyzed=record.analyzed,
            is_recalled=(
                record.plan.restored_blocks == record.plan.blocks and not record.has_computed
            ),
            notes=(
                *(it.removeprefix(f"{record.slide.file}: ") for it in record.notes),
                *mask_notes(record.map),
                *(() if record.plan.is_partial else record.plan.tissue.notes(counts)),
                *shield_notes(record.map),
            ),
            source=source,
        )

    @property
    def is_nameless(self) -> bool:
        """Whether nothing that is written may tell which slide it is of."""
        return self.image == self.slide.pseudonym

    @property
    def layer(self) -> MapLayer:
        """The layer that the figures are of."""
        return self.map.layer(self.map_kind)

    @property
    def mpp(self) -> tuple[float, float]:
        """Level-0 resolution (x, y), µm per pixel."""
        assert self.slide.mpp_xy is not None  # else nothing could be analyzed
        return self.slide.mpp_xy

    def identifier(self, part: str) -> str:
        """Return the UUID of a part of this analysis: the same whenever it is exported."""
        # The grid's step stands for the resolution: another one makes other patches.
        step = f"{self.map.grid.step_x_l0!r}x{self.map.grid.step_y_l0!r}"
        key = f"{self.slide.identity}/{self.model.sha256}/{step}/{self.map_kind}/{part}"
        return str(uuid.uuid5(_NAMESPACE, key))

    def provenance(self) -> dict[str, Any]:
        """Return where the numbers come from, without the files' hashes."""
        slide, card = self.slide, self.model.card
        return {
            "app_version": __version__,
            "slide": {
                "identity": slide.identity,
                "width_l0": slide.width_l0,
                "height_l0": slide.height_l0,
                "mpp_x": slide.mpp_x,
                "mpp_y": slide.mpp_y,
                "mpp_source": slide.mpp_source,
                "vendor": slide.vendor,
                "identity_kind": slide.identity_kind,
            },
            "model": {
                "name": card.name,
                "version": card.version,
                "sha256": self.model.sha256,
                "recipe": card.recipe,
                "spacing_um_px": card.spacing_um_px,
                "card": card.without_golden(),
            },
            "provider": asdict(self.provider),
            "threshold": self.threshold,
            "map": self.map_kind,
            "grid": self.map.grid.as_dict(),
            "tissue": self.tissue.as_dict() | _edited(self.map),
            "counts": self.map.counts(),
            "notes": list(self.notes),
            "analyzed": self.analyzed,
            "versions": self.versions
            if self.map.is_shielded
            else {**self.versions, "shield": "off"},
            "notice": RESEARCH_USE_NOTICE,
        }


def mask_notes(probability_map: ProbabilityMap) -> list[str]:
    """Say in a sentence what the user changed of the tissue mask; nothing if nothing."""
    mask = probability_map.mask
    if mask is None:
        return []
    added, removed = probability_map.mask_counts
    return [
        f"The tissue mask was changed by hand in {counted(mask.areas, 'area')}: "
        f"{counted(added, 'patch')} added as tissue, {counted(removed, 'patch')} left out as "
        "background."
    ]


def _edited(probability_map: ProbabilityMap) -> dict[str, Any]:
    if probability_map.mask is None:
        return {}
    added, removed = probability_map.mask_counts
    return {"edited": {"added": added, "removed": removed}}


@dataclass(frozen=True)
class Content:
    """What one export is about: an analysis, and regions with their figures.

    Attributes
    ----------
    marks : tuple of Mark
        What was measured and marked on the slide.
    sheet : Sheet
        What was written about it.
    stem : str
        Names the slide in file names; the folder's name.
    """

    analysis: Analysis
    regions: tuple[Region, ...]
    stem: str
    marks: tuple[Mark, ...] = ()
    sheet: Sheet = field(default_factory=Sheet)

    @cached_property
    def figures(self) -> list[RegionStatistics]:
        """The figures of each region, and last of the whole slide."""
        return [figures for figures, _ in self._measured]

    @cached_property
    def uncertainties(self) -> list[float | None]:
        """The mean uncertainty by area of each of `figures`; None where it is not defined."""
        return [mean for _, mean in self._measured]

    @cached_property
    def _measured(self) -> list[tuple[RegionStatistics, float | None]]:
        analysis = self.analysis
        uncertainty = next((it for it in analysis.map.layers if it.name == UNCERTAINTY), None)
        shapes = [it.shape for it in self.rows]
        return list(
            measure_once(shapes, analysis.layer, analysis.mpp, analysis.threshold, uncertainty)
        )

    @cached_property
    def accepted(self) -> Accepted:
        """What was judged to be tumour."""
        from idc_desktop.regions.verdicts import Accepted  # loads shapely

        return Accepted(self.regions)

    @cached_property
    def accepted_um2(self) -> list[float | None]:
        """How much accepted tumour is in each region, and last in the whole slide."""
        analysis = self.analysis
        meter = RegionMeter(analysis.layer, analysis.mpp)
        return self.accepted.areas_um2(self.rows, meter, analysis.threshold)

    @property
    def patches_analyzed(self) -> str:
        """How many patches were analyzed, and how many of them `figures` count for the slide."""
        found, counted = self.analysis.map.counts()["ok"], self.figures[-1].patches_analyzed
        aside = "" if counted == found else f" ({counted:,} with their centre on the slide)"
        return f"{found:,}{aside}"

    @property
    def rows(self) -> tuple[Region, ...]:
        """The regions, and last the whole slide."""
        whole = whole_slide(self.analysis.map.grid)
        return (*self.regions, replace(whole, id=self.analysis.identifier("extent")))
