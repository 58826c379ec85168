"""The verbs of the View menu: where one looks, and what is painted over the slide."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt

from idc_desktop.ui.beside import SideBySide
from idc_desktop.ui.camera import Camera
from idc_desktop.ui.display import EXTENTS
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import UM_AT_1X
from idc_desktop.ui.verbs import HeldKey, Verb

VIEW = "&View"
_OBJECTIVE, _TURN, _MAP = f"{VIEW}>&Objective", f"{VIEW}>&Turn", f"{VIEW}>&Map"
_OBJECTIVES = (2, 4, 10, 20, 40)
_STEP = 0.1  # of opacity


def camera_verbs(camera: Callable[[], Camera]) -> list[Verb]:
    """Return the verbs that look elsewhere, with the camera of the view that is in use."""

    def turn(degrees: float) -> Callable[[], None]:
        return lambda: camera().rotate(degrees)

    def enlarge(power: int) -> Callable[[], None]:
        return lambda: camera().show_um_per_px(UM_AT_1X / power)

    return [
        Verb(VIEW, "&Fit slide", lambda: camera().fit(), "F", "fit"),
        Verb(VIEW, "&1:1", lambda: camera().show_pixels(), "1", "pixels"),
        *(
            Verb(_OBJECTIVE, f"&{power}x", enlarge(power), f"Ctrl+{number}")
            for number, power in enumerate(_OBJECTIVES, start=1)
        ),
        Verb(_TURN, "Rotate &left", turn(-90), "[", "rotate-left"),
        Verb(_TURN, "Rotate &right", turn(90), "]", "rotate-right"),
        Verb(_TURN, "Turn left a little", turn(-5), "{"),
        Verb(_TURN, "Turn right a little", turn(5), "}"),
        Verb(_TURN, "Flip left and ri&ght", lambda: camera().flip_across(), "P", "flip-across"),
        Verb(_TURN, "Flip top and &bottom", lambda: camera().flip_down(), "Shift+P", "flip-down"),
        Verb(_TURN, "&Upright", lambda: camera().set_upright(), "Shift+F"),
    ]


def map_verbs(document: SlideDocument) -> list[Verb]:
    """Return the verbs that paint more or less over the slide."""

    def flag(text: str, field: str, keys: str, icon: str = "") -> Verb:
        def is_on() -> bool:
            return bool(getattr(document.display, field))

        return Verb(
            _MAP, text, lambda: document.show(**{field: not is_on()}), keys, icon, is_on=is_on
        )

    def paint_less() -> None:
        extents = list(EXTENTS)
        following = extents.index(document.display.extent) + 1
        document.show(extent=extents[following % len(extents)], visible=True)

    def add_opacity(step: float) -> None:
        opacity = round(document.display.opacity + step, 2)
        document.show(opacity=min(max(opacity, 0.0), 1.0))

    held = HeldKey(Qt.Key.Key_H, document.bare, document)
    return [
        Verb(_MAP, "See the &bare slide, held", held.toggle, "H", is_on=lambda: document.is_bare),
        flag("Show the &map", "visible", "M", "map"),
        Verb(_MAP, "&Paint less of the map, or all again", paint_less, "T"),
        Verb(_MAP, "Next la&yer of the map", document.show_next_layer, "Y"),
        Verb(_MAP, "Map more &opaque", partial(add_opacity, _STEP), "Alt+Up"),
        Verb(_MAP, "Map more &transparent", partial(add_opacity, -_STEP), "Alt+Down"),
        flag("Show the l&egend", "legend", "Shift+M"),
        flag("Sho&w the regions", "regions", "A"),
        flag("Show the t&issue mask", "mask", "Shift+A"),
    ]


def pair_verbs(pair: SideBySide) -> list[Verb]:
    """Return the verbs that show something beside the slide."""
    return [
        Verb(
            VIEW,
            "S&ide by side",
            pair.show_or_hide,
            "F9",
            "beside",
            is_on=lambda: pair.beside is not None,
        ),
        Verb(
            VIEW,
            "Move both to&gether",
            pair.join_or_free,
            "Shift+F9",
            is_on=lambda: pair.beside is not None and pair.beside.link.is_joined,
        ),
    ]
