"""The shipped baseline on the real validation cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idc_desktop.card import CARD_KEY, parse_card
from trainer.evaluation import Scored
from trainer.painting import paint_background
from trainer.splits import read_official_split

MODEL = Path(__file__).resolve().parents[2] / "resources" / "models" / "baseline.onnx"


@pytest.fixture(scope="module")
def session() -> object:
    pytest.importorskip("onnx")
    pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
    from trainer.export import load_file

    return load_file(MODEL)


def test_validation_cases_reach_what_the_card_promises(
    session: object, shared_data: Path, tmp_path: Path
) -> None:
    from trainer.dataset import prepare
    from trainer.export import run_session
    from trainer.runs import Sources, load_data

    data, official = shared_data / "data", shared_data / "data" / "splits"
    patches = data / "IDC_regular_ps50_idx5"
    if not patches.is_dir():
        pytest.skip(f"no patches at {patches}")
    (tmp_path / "patches").mkdir()
    wanted = read_official_split(official).validation | {"8865"}
    for case in sorted(wanted):
        if (patches / case).is_dir():
            (tmp_path / "patches" / case).symlink_to(patches / case)
    prepare(tmp_path / "patches", tmp_path / "store")
    counts = data / "official_counts_per_case.csv"
    part = load_data(Sources(tmp_path / "store", official, counts, unlisted=False)).validation
    probability, _ = run_session(session, part.store.pixels[part.store.rows])
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "baseline.onnx")
    found = Scored(probability, part.store.index.label).metrics(part.weight, card.threshold)
    assert found.auc >= 0.93
    assert found.balanced_accuracy >= 0.86
    assert found.ece <= 0.05
    promised = card.document["idc"]["metrics"]["validation_weighted"]
    assert found.auc == pytest.approx(promised["auc"]["value"], abs=1e-4)


def test_glass_and_fat_are_not_called_idc(session: object) -> None:
    from trainer.export import run_session

    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "baseline.onnx")
    painted = paint_background(np.random.default_rng(12345), 500)
    probability, _ = run_session(session, painted)
    assert (probability >= card.threshold).mean() < 0.02
    plain = np.repeat(np.arange(200, 256, dtype=np.uint8), 7500).reshape(-1, 50, 50, 3)
    assert (run_session(session, plain)[0] < 0.05).all()
