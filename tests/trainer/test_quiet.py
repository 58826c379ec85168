"""Warnings of libraries: what is expected is left out, the rest is told once."""

from __future__ import annotations

import warnings

import pytest

from trainer.quiet import EXPECTED, expected_left_out, warnings_told

LIBRARY, CATEGORY, TEXT = EXPECTED[0]


def _warn(text: str, category: type[Warning], library: str) -> None:
    warnings.warn_explicit(text, category, f"/site-packages/{library}/src/a.py", 1, f"{library}.a")


def test_expected_warnings_are_those_of_a_library_and_a_text() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with expected_left_out():
            _warn(f"{TEXT} as something", CATEGORY, LIBRARY)
            for text, category, library in (
                ("Another text", CATEGORY, LIBRARY),
                (TEXT, UserWarning, LIBRARY),
                (TEXT, CATEGORY, "trainer"),
                (TEXT, CATEGORY, "kerasx"),
            ):
                with pytest.raises(category):
                    _warn(text, category, library)


def test_each_other_warning_is_told_once_however_filters_are_left() -> None:
    told: list[str] = []
    former = warnings.showwarning
    with warnings.catch_warnings(), warnings_told(told.append):
        warnings.simplefilter("always")
        for _ in range(4171):
            _warn(TEXT, CATEGORY, LIBRARY)
            _warn("of a library", UserWarning, LIBRARY)
            _warn("of our own", RuntimeWarning, "trainer")
    assert told == ["UserWarning in a.py: of a library", "RuntimeWarning in a.py: of our own"]
    assert warnings.showwarning is former
