"""The pages that can be read: the model's card, provenance, keyboard shortcuts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.maps.probability_map import PatchState
from idc_desktop.maps.shield_notes import shield_notes
from idc_desktop.models.card import ModelCard, figure_text
from idc_desktop.plain_text import counted
from idc_desktop.storage.user_data import data_folder
from idc_desktop.ui.document import SlideDocument

Shortcuts = Iterable[tuple[str, Mapping[str, str]]]
"""Groups of verbs: a title, and keys -> what they do."""

_MOUSE = (
    (
        "Mouse and view",
        {
            "Wheel": "Zoom at the cursor",
            "Drag, arrows": "Pan",
            "Middle button, space": "Pan whatever the tool",
            "Click": "Select a patch of the map, and the region there",
            "+  −": "Zoom",
            "Enter, Escape": "Go back from a number to the view",
        },
    ),
    (
        "Drawing by keyboard",
        {
            "Arrows": "Move the crosshair; it takes the slide along at the edge",
            "Ctrl+arrows": "Move it finely",
            "Space": "Press the button, or let it go",
            "Enter": "Click",
            "Enter twice": "Double click: close the polygon, insert a corner",
            "Shift, Alt": "As with the mouse, together with these keys",
        },
    ),
    (
        "Drawing",
        {
            "Shift": "Square, circle; choose several; wand onto the chosen region",
            "Double click, Enter": "Close the polygon",
            "Backspace": "Take back its last corner",
            "Escape": "Abandon; else leave the focus that is pointed out",
            ",  .": "Smaller or larger brush",
            "Edit, double click": "Insert a corner",
            "Edit, Alt+click": "Remove a corner",
            "Edit, Shift+arrows": "Nudge the chosen regions",
            "Edit, Alt+arrows": "Stretch the chosen regions",
        },
    ),
)
_FIGURES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1_positive": "F1 of the class IDC",
    "ece": "calibration error (ECE)",
}


def card_page(card: ModelCard, sha256: str) -> str:
    """Return a model card as HTML: the facts that decide whether to trust the model."""
    idc: Mapping[str, Any] = card.document["idc"]
    training, calibration, use = idc["training"], idc["calibration"], idc["intended_use"]
    facts = {
        "Version": card.version,
        "Recipe": f"{card.recipe}, trained {card.created}",
        "SHA-256": sha256,
        "Sees": f"patches of {card.patch_size_um:g} × {card.patch_size_um:g} µm "
        f"at {card.spacing_um_px:g} µm per pixel",
        "Trained on": f"{counted(training['patches'], 'patch')} of "
        f"{counted(training['cases'], 'case')}: "
        f"{training['data']} (split {training['split']})",
        **{
            f"Threshold of the {name} map": f"{card.operation(name).threshold:.4f}"
            for name in dict.fromkeys(("patch", card.best_map))
        },
        "Calibration": f"{calibration['method']}, fitted on {calibration['fitted_on']}; "
        f"{calibration['weighting']}",
        **({} if card.context is None else {"Context map": idc["context"]["fitted_on"]}),
        "Meant for": f"{use['tissue']}; {use['stain']}; {use['scanner']}",
        "Licence": idc["licence"],
        "Attribution": idc.get("attribution", ""),
    }
    html = f"<h2>{escape(card.name)}</h2><p><b>{RESEARCH_USE_NOTICE}</b></p>{_table(facts)}"
    sentences = "".join(f"<li>{escape(it)}</li>" for it in card.beyond_its_archive())
    html += f"<h3>Beyond its own archive</h3><ul>{sentences}</ul>"
    html += _metrics(idc["metrics"])
    limits = "".join(f"<li>{escape(line)}</li>" for line in idc.get("limitations", ()))
    return html + (f"<h3>Limits</h3><ul>{limits}</ul>" if limits else "")


def provenance_page(document: SlideDocument) -> str:
    """Return where every number on the screen comes from, as HTML."""
    slide, record = document.slide, document.record
    facts: dict[str, str] = {"Program": f"IDC Desktop {__version__}"}
    if slide is not None:
        facts |= {"Slide": slide.file, "Slide identity": slide.identity}
        if slide.mpp_xy is not None:
            x, y = slide.mpp_xy
            facts["Resolution"] = f"{x:g} × {y:g} µm/px (from the {slide.mpp_source})"
    facts |= {
        "Model": f"{document.card.name} {document.card.version}",
        "Model SHA-256": document.model.sha256,
        "Map, threshold": f"{document.measured_map}, {document.threshold!r}",
    }
    if document.map is not None:
        counts = document.map.counts()
        facts["Patches"] = ", ".join(
            f"{counts[it.label]:,} {it.words}" for it in PatchState if counts.get(it.label)
        )
    if record.plan is not None:
        tissue = record.plan.tissue.as_dict()
        facts["Tissue"] = ", ".join(f"{name} {it}" for name, it in tissue.items())
        for name, value in asdict(record.plan.provider).items():
            if value:
                facts[f"Provider, {name.replace('_', ' ')}"] = str(value)
        facts |= record.plan.versions
    html = f"<h2>Provenance</h2><p><b>{RESEARCH_USE_NOTICE}</b></p>{_table(facts)}"
    said = [*record.notes, *(shield_notes(document.map) if document.map is not None else [])]
    notes = "".join(f"<li>{escape(note)}</li>" for note in said)
    return html + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else "")


def about_page() -> str:
    """Return what the program is and where its data are, as HTML."""
    facts = {
        "Version": __version__,
        "Licence": "Apache-2.0",
        "Data": str(data_folder()),
        "Reports of defects": str(data_folder() / "logs"),
        "Network": "never used",
    }
    return (
        f"<h2>IDC Desktop</h2><p><b>{RESEARCH_USE_NOTICE}</b></p>"
        "<p>Shows where invasive ductal carcinoma is likely on breast whole-slide images, after "
        f"Abdolahi et al. 2020 (Med J Islam Repub Iran 34:140).</p>{_table(facts)}"
    )


def shortcuts_page(groups: Shortcuts) -> str:
    """Return shortcuts, and what the mouse does, as HTML: a heading per group."""
    parts = [f"<h3>{escape(title)}</h3>{_table(verbs)}" for title, verbs in (*groups, *_MOUSE)]
    return "<h2>Keyboard and mouse</h2>" + "".join(parts)


def _table(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td style='padding-right: 14px'><b>{escape(name)}</b></td>"
        f"<td>{escape(value)}</td></tr>"
        for name, value in facts.items()
        if value
    )
    return f"<table cellspacing='4'>{rows}</table>"


def _metrics(metrics: Mapping[str, Any]) -> str:
    """Return the figures of a card, a column for each set of cases."""
    groups = [name for name, figures in metrics.items() if isinstance(figures, Mapping)]
    if not groups:
        return ""
    head = "".join(f"<th>{escape(name.replace('_', ', '))}</th>" for name in groups)
    rows = []
    for key, label in _FIGURES.items():
        texts = (escape(figure_text(metrics[group].get(key))) for group in groups)
        cells = "".join(f"<td align='center'>{text}</td>" for text in texts)
        rows.append(f"<tr><td>{label}</td>{cells}</tr>")
    return (
        "<h3>Figures, with 95 % intervals by case</h3>"
        f"<table cellspacing='6'><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )
