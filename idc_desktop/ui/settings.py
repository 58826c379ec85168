"""What the window remembers, as a small file that may be lost or damaged without harm."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import platformdirs

from idc_desktop.models import DEFAULT_MODEL
from idc_desktop.plain_files import read_json
from idc_desktop.storage.atomic import replacing
from idc_desktop.storage.user_data import PRIVATE_FILE, data_folder, keep_aside, make_folder
from idc_desktop.ui.display import Display
from idc_desktop.ui.theme import THEMES

_COLOUR = re.compile("#[0-9a-f]{6}")

_RECENT = 10


@dataclass
class Settings:
    """The user's choices; every field has a default.

    Attributes
    ----------
    slides : list of str
        Paths of the slides in the list, as it was kept before it had a file of its own.
    project : str
        Path of the project that was open last; empty for the list that is in none.
    recent_projects : list of str
        Paths of projects, the one that was opened last first.
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
    project: str = ""
    recent_projects: list[str] = field(default_factory=list)
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
            return cls._checked(read_json(path))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            keep_aside(path)
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

    def remember_project(self, path: Path | None) -> None:
        """Take the project that is open, the latest of the recent ones; None is none."""
        self.project = "" if path is None else str(path)
        if path is not None:
            others = (it for it in self.recent_projects if it != self.project)
            self.recent_projects = [self.project, *others][:_RECENT]

    def forget_project(self, path: Path) -> None:
        """Offer a project no longer: it has another name, or is gone."""
        self.recent_projects = [it for it in self.recent_projects if it != str(path)]


def _first_export_folder() -> Path:
    return Path(platformdirs.user_documents_dir()) / "IDC Desktop"


def _path() -> Path:
    return data_folder() / "settings.json"
