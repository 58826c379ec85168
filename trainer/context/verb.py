"""The verb ``idc-trainer context``."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idc_desktop.arguments import decimal
from idc_desktop.errors import UsageError

if TYPE_CHECKING:
    from idc_desktop.models.card import ModelCard
    from trainer.context.report import Findings
    from trainer.context.slides import LabelledMap


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("models", metavar="MODEL", nargs="+", type=Path, help="ONNX file")
    parser.add_argument(
        "--slides",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="complete labelled slides: beside NAME.tiff lies NAME_labels.png, a pixel per patch "
        "(255 IDC, 127 not, 0 unknown)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="ONNX file to write; of several models, a folder"
    )
    parser.add_argument("--report", type=Path, help="Markdown report to write")
    parser.add_argument("--mpp", type=decimal, help="µm per pixel of the slides")
    parser.add_argument(
        "--prevalence",
        type=decimal,
        default=0.284,
        help="share of IDC among the archive's patches: calibration and predictive values need it",
    )


def fit_context(arguments: argparse.Namespace, say: Callable[[str], object]) -> None:
    """Fit the settings of a model's context map and write them into the card of a copy."""
    from trainer.files import make_folder, replacing
    from trainer.release.assessment import load_model

    if not 0 < arguments.prevalence < 1:
        raise UsageError("--prevalence is a share between 0 and 1.")
    models: list[Path] = arguments.models
    outs = [arguments.out]
    if len(models) > 1 or arguments.out.is_dir():
        outs = [arguments.out / path.name for path in models]
    if len(set(outs)) < len(outs):
        raise UsageError("Two models have one name, and so would what is written.")
    for path in (*outs, *filter(None, [arguments.report])):
        make_folder(path.parent)
    from trainer.context.slides import read_maps

    reports = []
    for path, out in zip(models, outs, strict=True):
        model = load_model(path)
        maps = read_maps(path, arguments.slides, arguments.mpp)
        content, found = written(path, model.card, maps, arguments.prevalence, out.name)
        with replacing(out) as file:
            file.write(content)
        reports.append(found.report())
        say(f"{out}  {len(content):,} bytes  SHA-256 {found.sha256}")
        for line in found.lines():
            say(line)
    if arguments.report is not None:
        with replacing(arguments.report) as file:
            file.write("\n".join(reports).encode())
        say(f"report: {arguments.report}")


def written(
    path: Path, card: ModelCard, maps: Sequence[LabelledMap], prevalence: float, name: str
) -> tuple[bytes, Findings]:
    """Return the bytes of the file with its new card, and what there is to say of them."""
    import onnx
    from onnx import helper

    from idc_desktop.models.card import CARD_KEY, parse_card
    from trainer.context.fitting import SIGMA_PATCHES, curve, fit, leave_one_out
    from trainer.context.planting import found_foci
    from trainer.context.report import Findings, summary
    from trainer.release.model_card import to_json

    judged = list(leave_one_out(maps, SIGMA_PATCHES, prevalence, card.threshold))
    foci = {
        one.name: found_foci(one, [it for it in maps if it is not one], SIGMA_PATCHES)
        for one in maps
    }
    known = {one.name: _known(card, one.name) for one in maps}
    block = fit(maps, SIGMA_PATCHES, prevalence)
    means = summary(judged, foci)
    seen = sum(map(bool, known.values()))
    content = path.read_bytes()
    # Figures of the file as it was are still its own: the weights are the same.
    origin = card.document["idc"].get("context", {}).get("from_sha256")
    block |= {
        "from_sha256": origin or hashlib.sha256(content).hexdigest(),
        "curve": curve(judged, block["threshold"]),
        "fitted_on": f"{block['fitted_on']}; the network itself was trained or calibrated on "
        f"{seen} of them. Each judged with settings of the others: AUC {means['auc_patch']:.3f} "
        f"by patches, {means['auc']:.3f} in context; balanced accuracy "
        f"{means['balanced_accuracy_patch']:.3f} and {means['balanced_accuracy']:.3f}",
        "metrics": {"leave_one_slide_out": means},
    }
    document: dict[str, Any] = {
        **card.document,
        "idc": {**card.document["idc"], "context": block},
    }
    text = to_json(document)
    graph = onnx.load_from_string(content)
    helper.set_model_props(graph, {CARD_KEY: text})
    content = graph.SerializeToString(deterministic=True)
    sha256 = hashlib.sha256(content).hexdigest()
    return content, Findings(parse_card(text, name), name, sha256, judged, foci, known)


def _known(card: ModelCard, slide: str) -> str:
    """Say what of the model was made with the case that a slide is named after."""
    idc = card.document["idc"]
    blocks = {"training": "training", "calibration": "calibration"}
    return ", ".join(
        name for block, name in blocks.items() if slide in idc[block].get("case_ids", ())
    )
