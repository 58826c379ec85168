"""The shipped models on the real validation cases, and what their cards tell of other ones.

A file that `fit` wrote was trained on the validation cases, too: that it does well on them shows
that it computes what was trained. What it is worth is in its card's figures, which are of others.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from idc_desktop.models.card import CARD_KEY, ModelCard, parse_card
from trainer.data.painting import paint_background
from trainer.data.splits import read_official_cases
from trainer.scoring.metrics import Metrics, Scored

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from trainer.training.feeding import Part

MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"
LARGEST_BYTES = 76e6
"""Of all shipped files together."""


@dataclass(frozen=True)
class Promise:
    """What a shipped model must reach on the weighted validation cases; ECE is at most 0.05.

    Attributes
    ----------
    stride : int
        Every how many patches the quick test takes.
    held_out : str
        Figures of its card that are of held-out cases; the AUC is `auc` or more.
    elsewhere : tuple of float
        Smallest AUC of other laboratories' slides, pooled and of each.
    """

    auc: float
    balanced_accuracy: float
    stride: int
    held_out: str
    elsewhere: tuple[float, float]


PROMISES = {
    "baseline": Promise(0.93, 0.86, 1, "test_weighted", (0.8, 0.7)),
    "vgg16-features": Promise(0.93, 0.86, 4, "official_test_weighted", (0.9, 0.85)),
    "vgg16-finetuned": Promise(0.94, 0.87, 4, "test_weighted", (0.9, 0.85)),
}


@pytest.fixture(scope="module", params=sorted(PROMISES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def session(name: str) -> InferenceSession:
    pytest.importorskip("onnx")
    pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
    from trainer.release.onnx_file import load_file

    return load_file(MODELS / f"{name}.onnx")


@pytest.fixture(scope="module")
def card(session: InferenceSession, name: str) -> ModelCard:
    return parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], f"{name}.onnx")


@pytest.fixture(scope="session")
def validation(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    from trainer.data.preparing import prepare
    from trainer.training.runs import Sources, load_data

    data, official = shared_data / "data", shared_data / "data" / "splits"
    patches = data / "IDC_regular_ps50_idx5"
    if not patches.is_dir():
        pytest.skip(f"no patches at {patches}")
    folder = tmp_path_factory.mktemp("validation")
    (folder / "patches").mkdir()
    wanted = read_official_cases(official).validation | {"8865"}
    for case in sorted(wanted):
        if (patches / case).is_dir():
            (folder / "patches" / case).symlink_to(patches / case)
    prepare(folder / "patches", folder / "store")
    counts = data / "official_counts_per_case.csv"
    return load_data(Sources(folder / "store", official, counts, unlisted=False)).validation


def _score(session: InferenceSession, card: ModelCard, part: Part, stride: int) -> Metrics:
    from trainer.release.onnx_file import PARITY, run_session

    rows = np.arange(0, len(part.store.index), stride)
    probability, _ = run_session(session, part.store.read(rows))
    scored = Scored(probability, part.store.index.label[rows])
    # The threshold is the probability of one of these patches: rounding must not put it below.
    return scored.metrics(part.weight[rows], card.threshold - PARITY)


def test_shipped_files_are_those_promised_and_not_too_large() -> None:
    files = {path.stem: path.stat().st_size for path in MODELS.glob("*.onnx")}
    assert files.keys() == PROMISES.keys()
    assert sum(path.stat().st_size for path in MODELS.rglob("*.onnx")) <= LARGEST_BYTES


def test_float_weights_of_an_int8_file_ship_with_it(name: str, card: ModelCard) -> None:
    quantized = card.document["idc"].get("quantized")
    float_file = MODELS / "float" / f"{name}.onnx"
    assert float_file.is_file() == (quantized is not None)
    if quantized is not None:
        assert quantized["from_sha256"] == hashlib.sha256(float_file.read_bytes()).hexdigest()
        was, now = quantized["auc"]
        assert now >= was - 0.003


def test_validation_cases_reach_what_the_card_promises(
    name: str, session: InferenceSession, card: ModelCard, validation: Part
) -> None:
    promise = PROMISES[name]
    found = _score(session, card, validation, promise.stride)
    # Of a part of the patches a few decide, where they stand for a large case.
    slack = 0.0 if promise.stride == 1 else 0.02
    assert found.auc >= promise.auc - slack
    assert found.balanced_accuracy >= promise.balanced_accuracy - slack
    assert found.ece <= 0.05 + slack


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_validation_patches_give_the_card_its_figures(
    name: str, session: InferenceSession, card: ModelCard, validation: Part
) -> None:
    found = _score(session, card, validation, 1)
    idc = card.document["idc"]
    # The figures of another file are of other cases, or of those of them that there were then.
    if idc["calibration"]["fitted_on"].startswith(f"{len(validation.store.index)} patches"):
        promised = idc["metrics"]["validation_weighted"]
        for figure in ("auc", "balanced_accuracy", "ece"):
            assert getattr(found, figure) == pytest.approx(promised[figure]["value"], abs=1e-3)
    assert found.auc >= PROMISES[name].auc
    assert found.balanced_accuracy >= PROMISES[name].balanced_accuracy
    assert found.ece <= 0.05


def test_card_names_who_made_the_weights(name: str, card: ModelCard) -> None:
    idc = card.document["idc"]
    assert idc["name"] == name
    vgg = name.startswith("vgg16")
    assert ("CC BY 4.0" in idc["licence"]) == ("Oxford" in idc["attribution"]) == vgg


def test_card_tells_of_cases_and_laboratories_that_the_file_never_saw(
    name: str, card: ModelCard
) -> None:
    promise, idc = PROMISES[name], card.document["idc"]
    assert idc["metrics"][promise.held_out]["auc"]["value"] >= promise.auc
    pooled, worst = promise.elsewhere
    assert idc["elsewhere"]["figures"]["auc"]["value"] >= pooled
    assert idc["elsewhere"]["worst_slide_auc"] >= worst


def test_test_cases_were_scored_once_per_shipped_file(name: str, card: ModelCard) -> None:
    # An int8 file has the figures of the float file that it comes of.
    quantized = "quantized" in card.document["idc"]
    file_of_figures = MODELS / ("float" if quantized else "") / f"{name}.onnx"
    digest = hashlib.sha256(file_of_figures.read_bytes()).hexdigest()
    if not quantized:  # a context map was added to it after it was scored
        digest = card.document["idc"].get("context", {}).get("from_sha256", digest)
    with (MODELS / "reports" / "test_scores.csv").open(encoding="utf-8", newline="") as file:
        # Files that shipped before stay in the log: those looks at the test cases happened.
        scored = [
            row["sha256"]
            for row in csv.DictReader(file)
            if row["file"] == f"{name}.onnx"
            and (row["cases"], row["figure"]) == (PROMISES[name].held_out, "auc")
        ]
    assert scored.count(digest) == 1
    assert scored[-1] == digest
    assert len(set(scored)) == len(scored)


def test_glass_and_fat_are_not_called_idc(
    name: str, session: InferenceSession, card: ModelCard
) -> None:
    from trainer.release.onnx_file import run_session

    count = 500 // PROMISES[name].stride
    painted = paint_background(np.random.default_rng(12345), count)
    probability, _ = run_session(session, painted)
    assert (probability >= card.threshold).mean() < 0.02
    levels = np.arange(200, 256, PROMISES[name].stride, dtype=np.uint8)
    plain = np.repeat(levels, 7500).reshape(-1, 50, 50, 3)
    assert (run_session(session, plain)[0] < 0.05).all()
