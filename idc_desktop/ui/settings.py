"""What the window remembers, as a small file that may be lost or damaged without harm."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import platformdirs

from idc_desktop.models import DEFAULT_MODEL
from idc_desktop.plain_files import read_text
from idc_desktop.storage.atomic import replacing
from idc_desktop.storage.user_data import PRIVATE_FILE, data_folder, make_folder
from idc_desktop.ui.display import Display
from idc_desktop.ui.theme import THEMES

_COLOUR = re.compile("#[0-9a-f]{6}")

MAX_SLIDES = 5_000
"""So many the list holds, and remembers."""


@dataclass
class Settings:
    """The user's choices; every field has a default.

    Attributes
    ----------
    slides : list of str
        Paths of the slides in the list, the one added last first.
    display : Display
        How the map of a slide is shown at first.
    model : str
        Name of a bundled model.
    theme : str
        One of `theme.THEMES`.
    geometry, layout : str
        Size of the window, and its docks and toolbars, as Qt encodes them.
    folded : list of str
        Titles of the sections that are folded away.
    export_folder : str
        Where the last export went.
    export_formats : list of str
        What it held beside the six files.
    export_anonymous : bool
        Whether it left out the slide's name.
    classes : dict of str to str
        The classes of regions, and their colours as ``#rrggbb``; empty for those of the program.
    reader : str
        Who was named as the reader of a slide last.
    """

    slides: list[str] = field(default_factory=list)
    display: Display = field(default_factory=Display)
    model: str = DEFAULT_MODEL
    theme: str = "system"
    geometry: str = ""
    layout: str = ""
    folded: list[str] = field(default_factory=list)
    export_folder: str = field(default_factory=lambda: str(_first_export_folder()))
    export_formats: list[str] = field(default_factory=lambda: ["report"])
    export_anonymous: bool = False
    classes: dict[str, str] = field(default_factory=dict)
    reader: str = ""

    @classmethod
    def load(cls) -> Settings:
        """Read the settings; a damaged file is kept aside and the defaults are used."""
        path = _path()
        try:
            return cls._checked(json.loads(read_text(path)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            number = 1
            while (aside := path.with_name(f"settings.corrupt-{number}.json")).exists():
                number += 1
            try:
                path.rename(aside)
            except OSError:
                return cls()
        return cls()

    @classmethod
    def _checked(cls, values: dict[str, object]) -> Settings:
        """Take over known fields; `TypeError` or `ValueError` if one makes no sense."""
        settings = cls()
        display = Display.from_dict(values.pop("display", {}))
        if display is None:
            raise ValueError("display")
        settings.display = display
        for it in fields(cls):
            value = values.get(it.name, getattr(settings, it.name))
            if type(value) is not type(getattr(settings, it.name)):
                raise TypeError(it.name)
            if isinstance(value, list) and not all(isinstance(part, str) for part in value):
                raise TypeError(it.name)
            setattr(settings, it.name, value)
        if settings.theme not in THEMES:
            raise ValueError("theme")
        if not all(
            isinstance(it, str) and _COLOUR.fullmatch(it) for it in settings.classes.values()
        ):
            raise ValueError("classes")
        return settings

    def save(self) -> None:
        """Write the settings; a failure is no reason to disturb the user."""
        path = _path()
        with contextlib.suppress(OSError):
            make_folder(path.parent)
            with replacing(path, PRIVATE_FILE) as file:
                file.write(json.dumps(asdict(self), indent=1).encode())

    def add_slides(self, paths: list[Path]) -> int:
        """Put slides at the head of the list; return how many left it at its end."""
        names = dict.fromkeys(str(path.absolute()) for path in paths)
        wanted = [*names, *(it for it in self.slides if it not in names)]
        self.slides = wanted[:MAX_SLIDES]
        return len(wanted) - len(self.slides)

    def insert_slides(self, places: Iterable[tuple[int, Path]]) -> None:
        """Put slides back where they were in the list, the first one first."""
        places = list(places)
        self.remove_slides(path for _, path in places)
        for place, path in places:
            self.slides.insert(place, str(path.absolute()))
        del self.slides[MAX_SLIDES:]

    def remove_slides(self, paths: Iterable[Path]) -> None:
        """Take slides off the list."""
        gone = {str(path.absolute()) for path in paths}
        self.slides = [it for it in self.slides if it not in gone]


def _first_export_folder() -> Path:
    return Path(platformdirs.user_documents_dir()) / "IDC Desktop"


def _path() -> Path:
    return data_folder() / "settings.json"
