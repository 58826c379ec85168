"""Which cases made a model. Folder names of a laboratory are accession numbers: they stay at home.

A card has the ids only where that is asked for. They are kept in the folder of the run, where
`evaluate --run` finds them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idc_desktop.plain_files import read_json
from trainer.errors import RunError
from trainer.files import replacing
from trainer.training.runs import load_data, load_run

CASES = "cases.json"

_BLOCKS = {"trained": "training", "calibrated": "calibration"}
"""What cases may have done to a model -> the block of its card that may name them."""

CaseIds = dict[str, frozenset[str]]
"""What was done -> ids of the cases that did it."""


@dataclass(frozen=True)
class Keeping:
    """Where the ids of the cases are kept, and whether the card has them, too."""

    folder: Path
    published: bool = False

    def keep(self, card: dict[str, Any]) -> None:
        """Write the ids of a card to the folder; take them out of it unless they are published."""
        said = {done: card["idc"][block].get("case_ids", []) for done, block in _BLOCKS.items()}
        with replacing(self.folder / CASES) as file:
            file.write((json.dumps(said, indent=1) + "\n").encode())
        if not self.published:
            for block in _BLOCKS.values():
                card["idc"][block].pop("case_ids", None)


def of_card(document: Any) -> CaseIds:  # noqa: ANN401 - a card as JSON
    """Return the ids that a card names."""
    idc = document["idc"]
    return {done: frozenset(idc[block].get("case_ids", ())) for done, block in _BLOCKS.items()}


def of_run(folder: Path) -> CaseIds:
    """Return the ids that were kept in the folder of a run, or that its parts hold.

    Raises
    ------
    RunError
        It is none.
    DataError
        Its prepared data are gone.
    """
    try:
        said = read_json(folder / CASES)
        return {done: frozenset(map(str, said[done])) for done in _BLOCKS}
    except FileNotFoundError:
        data = load_data(load_run(folder).sources)
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(f"{folder / CASES} cannot be read ({cause}).") from cause
    parts = (data.train, data.validation)
    return {
        done: frozenset(map(str, part.store.index.case))
        for done, part in zip(_BLOCKS, parts, strict=True)
    }
