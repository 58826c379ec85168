"""The tools of the view, and the verbs that take them up."""

from __future__ import annotations

from functools import partial

from idc_desktop.regions import editing
from idc_desktop.ui.verbs import Verb
from idc_desktop.ui.view.drawing_tools import (
    BoxTool,
    BrushTool,
    EraserTool,
    FreehandTool,
    PolygonTool,
    SplitTool,
    WandTool,
)
from idc_desktop.ui.view.edit_tool import EditTool
from idc_desktop.ui.view.marking_tools import MarkTool
from idc_desktop.ui.view.slide_view import SlideView
from idc_desktop.ui.view.tools import Tool

_MENU = "&Regions"
_GROUP = "tools"


def tool_verbs(view: SlideView) -> list[Verb]:
    """Make the tools of a view; each verb takes one up."""
    tools: list[tuple[str, str, str, Tool]] = [
        ("&Look and pan", "V", "pan", view.pan_tool),
        ("&Edit regions", "E", "edit", EditTool(view)),
        (
            "Draw &rectangle",
            "R",
            "rectangle",
            BoxTool(view, "Draw rectangle", editing.draw_rectangle),
        ),
        ("Draw e&llipse", "O", "ellipse", BoxTool(view, "Draw ellipse", editing.draw_ellipse)),
        ("Draw pol&ygon", "G", "polygon", PolygonTool(view)),
        ("Draw free&hand", "D", "freehand", FreehandTool(view)),
        ("&Brush", "B", "brush", BrushTool(view)),
        ("Erase&r", "X", "eraser", EraserTool(view)),
        ("&Wand on the map", "W", "wand", WandTool(view)),
        ("S&plit", "S", "split", SplitTool(view)),
        ("&Measure a distance", "L", "ruler", MarkTool(view, "line")),
        ("Measure an an&gle", "Shift+L", "angle", MarkTool(view, "angle")),
        ("Mark a &point", "Shift+D", "point", MarkTool(view, "point")),
        ("Set an arro&w", "Shift+W", "arrow", MarkTool(view, "arrow")),
        ("Write a &text", "Shift+T", "text", MarkTool(view, "text")),
    ]
    return [
        Verb(_MENU, text, partial(view.take_up, tool), keys, icon, group=_GROUP)
        for text, keys, icon, tool in tools
    ]
