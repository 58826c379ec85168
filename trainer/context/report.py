"""The report of a context map's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from idc_desktop.models.card import ModelCard
from idc_desktop.plain_text import counted
from trainer.context.fitting import Judged
from trainer.context.planting import PLANTS, SIZES, SPECIFICITY
from trainer.context.slides import Floats
from trainer.scoring.markdown import table
from trainer.scoring.metrics import Scored

MOST_UNCERTAIN = 0.2
Foci = Mapping[int, tuple[float, float]]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class Findings:
    """What was fitted, and how it did on slides that were left out.

    Attributes
    ----------
    card : ModelCard
        Of the file that was written.
    file, sha256 : str
    judged : list of Judged
        Each slide with settings of the others.
    foci : dict
        By slide: what `planting.found_foci` found in it.
    known : dict
        By slide: what the network was trained or calibrated on it, empty if nothing.
    """

    card: ModelCard
    file: str
    sha256: str
    judged: Sequence[Judged]
    foci: Mapping[str, Foci]
    known: Mapping[str, str]

    @property
    def block(self) -> dict[str, Any]:
        """The block of the card."""
        block: dict[str, Any] = self.card.document["idc"]["context"]
        return block

    def lines(self) -> Iterator[str]:
        """Say what was reached, a line each."""
        means = summary(self.judged, self.foci)
        calibration = self.block["calibration"]
        yield (
            f"neighbourhood {self.block['sigma_patches']:g} patches  calibration a "
            f"{calibration['a']:.4f} b {calibration['b']:.4f}  threshold "
            f"{self.block['threshold']:.4f}"
        )
        units = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "ece": "ECE"}
        for name, unit in units.items():
            yield f"{unit} of slides left out: {means[f'{name}_patch']:.4f} to {means[name]:.4f}"
        yield _together(self.judged)
        for size in SIZES:
            yield (
                f"planted foci of {size}: {means[f'found_{size}_patch']:.3f} to "
                f"{means[f'found_{size}']:.3f}"
            )
        yield f"errors among the most uncertain fifth: {means['errors_in_fifth']:.2f}"

    def report(self) -> str:
        """Return all of it as Markdown."""
        idc = self.card.document["idc"]
        seen = [name for name, what in self.known.items() if what]
        return "\n".join(
            [
                f"# The context map of {idc['name']} {idc['version']}",
                "",
                "For Research Use Only. Not for use in diagnostic procedures.",
                "",
                f"- file: `{self.file}`, SHA-256 `{self.sha256}`",
                f"- {self.block['fitted_on']}",
                *(f"- {line}" for line in self.lines()),
                "",
                "## Each slide, with settings that were fitted on the others",
                "",
                *self._slides(),
                "",
                "Balanced accuracy and calibration error (ECE) of the patch map are at its own "
                "threshold and calibration; *refitted*: calibrated and cut on the other slides as "
                "the context map is, so that what is left of the difference is the neighbours'.",
                "",
                *self._caution(seen),
                "## Planted foci",
                "",
                f"{PLANTS:,} foci of each size, one at a time, in benign tissue of each slide: "
                "patches of IDC of one other slide each. Found: one patch of it at least is called "
                f"where {SPECIFICITY:.0%} of the slide's benign patches are not. A patch is judged "
                "by its own pixels, so that planting log-odds into the grid is planting pixels.",
                "",
                *self._foci(),
                "",
                "## Uncertainty",
                "",
                "Share of the errors at the threshold that are among the most uncertain "
                f"{MOST_UNCERTAIN:.0%} of a slide's patches; *margin* is how far the context map's "
                "own log-odds are from the threshold, *both* (what is shipped) how far the mean of "
                "the patch's log-odds and those around it is. One pass of the network is all that "
                "either needs.",
                "",
                *self._errors(),
                "",
                "Error rate of what is left where the most uncertain patches are left out, mean of "
                "the slides:",
                "",
                *self._risk(),
                "",
            ]
        )

    def _slides(self) -> list[str]:
        header = (
            "slide", "patches", "IDC", "network knew it by", "AUC", "in context",
            "balanced acc.", "refitted", "in context", "ECE", "refitted", "in context",
        )  # fmt: skip
        rows = []
        for one in self.judged:
            figures = (
                one.patch.auc, one.context.auc,
                *(it.balanced_accuracy for it in (one.patch, one.refitted, one.context)),
                *(it.ece for it in (one.patch, one.refitted, one.context)),
            )  # fmt: skip
            label = one.slide.is_idc
            rows.append(
                (
                    one.slide.name,
                    f"{len(label):,}",
                    f"{int(label.sum()):,}",
                    self.known[one.slide.name] or "nothing",
                    *(f"{it:.3f}" for it in figures),
                )
            )
        means = np.array([[float(it) for it in row[4:]] for row in rows]).mean(axis=0)
        return table(header, [*rows, ("mean", "", "", "", *(f"{it:.3f}" for it in means))])

    def _caution(self, seen: Sequence[str]) -> list[str]:
        if not seen:
            return []
        return [
            f"**The network itself is no stranger to {len(seen)} of the "
            f"{counted(len(self.judged), 'slide')} "
            f"({', '.join(seen)})**: the settings are left out slide by slide, the network is not. "
            "On slides that it never saw both maps are less good; the difference between them is "
            "what this table can show.",
            "",
        ]

    def _foci(self) -> list[str]:
        names = [f"{rows} × {cols}" for rows, cols in SIZES.values()]
        header = ("slide", *(it for name in names for it in (name, "in context")))
        rows = [
            (
                one.slide.name,
                *(f"{share:.3f}" for size in SIZES for share in self.foci[one.slide.name][size]),
            )
            for one in self.judged
        ]
        means = np.array([[float(it) for it in row[1:]] for row in rows]).mean(axis=0)
        return table(header, [*rows, ("mean", *(f"{it:.3f}" for it in means))])

    def _errors(self) -> list[str]:
        rows = [
            (
                one.slide.name,
                f"{int(one.wrong.sum()):,}",
                f"{errors_in_fifth(one, one.plain_margin):.2f}",
                f"{errors_in_fifth(one, one.uncertainty):.2f}",
            )
            for one in self.judged
        ]
        means = np.array([[float(it) for it in row[2:]] for row in rows]).mean(axis=0)
        header = ("slide", "errors", "margin", "both")
        return table(header, [*rows, ("mean", "", *(f"{it:.2f}" for it in means))])

    def _risk(self) -> list[str]:
        def rates(which: str) -> list[str]:
            return [
                f"{np.mean([_risk(one, getattr(one, which), part) for one in self.judged]):.3f}"
                for part in COVERAGES
            ]

        header = ("by", *(f"{part:.0%} kept" for part in COVERAGES))
        names = {"margin": "plain_margin", "both": "uncertainty"}
        return table(header, [(name, *rates(which)) for name, which in names.items()])


def summary(judged: Sequence[Judged], foci: Mapping[str, Foci]) -> dict[str, float]:
    """Return the means over the slides, by the names that the card's metrics have."""
    found: dict[str, float] = {}
    for name in ("auc", "balanced_accuracy", "ece"):
        found[name] = float(np.mean([getattr(one.context, name) for one in judged]))
        found[f"{name}_patch"] = float(np.mean([getattr(one.patch, name) for one in judged]))
    for size in SIZES:
        alone, together = np.mean([of[size] for of in foci.values()], axis=0).tolist()
        found |= {f"found_{size}_patch": alone, f"found_{size}": together}
    fifths = [errors_in_fifth(one, one.uncertainty) for one in judged]
    found["errors_in_fifth"] = float(np.mean(fifths))
    return {name: round(value, 6) for name, value in found.items()}


def _together(judged: Sequence[Judged]) -> str:
    """Say the figures of all patches of slides left out, as if they were of one slide."""
    label = np.concatenate([one.slide.is_idc for one in judged])
    equal = np.ones(len(label))
    sides = ([one.slide.probability[one.slide.scored] for one in judged],
             [one.probability for one in judged])  # fmt: skip
    before, after = (Scored(np.concatenate(side), label).ranking(equal) for side in sides)
    return (
        f"all their patches together: AUC {before.auc:.4f} to {after.auc:.4f}, ECE "
        f"{before.ece:.4f} to {after.ece:.4f}"
    )


def errors_in_fifth(one: Judged, uncertainty: Floats) -> float:
    """Return the share of a slide's errors that are among its most uncertain patches."""
    if not one.wrong.any():
        return 1.0
    least = np.quantile(uncertainty, 1 - MOST_UNCERTAIN)
    return float(one.wrong[uncertainty >= least].sum() / one.wrong.sum())


def _risk(one: Judged, uncertainty: Floats, part: float) -> float:
    order = np.argsort(uncertainty, kind="stable")
    return float(one.wrong[order[: round(part * len(order))]].mean())
