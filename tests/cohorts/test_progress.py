"""What a cohort says of the slides that need no work any more."""

from __future__ import annotations

import pytest

from idc_desktop.cohorts.states import SlideState, Status
from idc_desktop.commands.cohort_progress import Progress


@pytest.mark.parametrize(
    ("total", "statuses", "said"),
    [
        (3, ("done", "done", "done"), "3 of 3 slides were done before"),
        (3, ("refused", "done"), "1 of 3 slides was done before, 1 refused"),
        (1, ("refused",), "0 of 1 slide was done before, 1 refused"),
        (
            2_000,
            ("done", "done", "failed", "partial"),
            "2 of 2,000 slides were done before, 1 partial, 1 failed",
        ),
        (2, (), ""),
    ],
)
def test_slides_of_an_earlier_command_are_told_by_what_became_of_them(
    total: int, statuses: tuple[Status, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [SlideState("image", it, "task", "stamp") for it in statuses]

    Progress(total, before, is_silent=False)

    assert capsys.readouterr().out.strip() == said
