"""The regions of the open slide as widgets see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from idc_desktop.errors import OutputError, RegionsError
from idc_desktop.regions.marks import Mark, MarkKind
from idc_desktop.regions.shape import Point, Region, Rgb, Shape, Verdict, class_rgb, new_id
from idc_desktop.regions.sheet import Sheet
from idc_desktop.ui.hand_over import HandOver

if TYPE_CHECKING:
    from idc_desktop.regions.book import RegionBook
    from idc_desktop.regions.kept import Kept
    from idc_desktop.regions.verdicts import Accepted

CLASSES = ("IDC", "DCIS", "Benign", "Artefact", "Other", "Stroma", "Necrosis", "Immune cells")
"""The classes of the menu at first."""

_MARK_NAMES: dict[MarkKind, str] = {
    "line": "Length",
    "angle": "Angle",
    "point": "Point",
    "arrow": "Arrow",
    "text": "Text",
}
_NUMBERED = re.compile("Region ([0-9]{1,9})")


class RegionModel(QObject):
    """What is drawn and judged on a slide, what of it is chosen, and the edits that change it.

    Every edit goes into the document's history and into the slide's file as it happens.

    Attributes
    ----------
    new_class : str
        Class of what is drawn next.
    focus : (str, Shape) or None
        Name and shape of the focus that is looked at: it is what a verdict is given for.
    classes : dict of str to (r, g, b)
        The classes of the menu, with their colours.
    refusal : str
        Why the regions of the open slide cannot be had; empty if they can.
    """

    changed = Signal()
    """Regions came, went, or are others."""
    choice_changed = Signal()
    """Others are chosen."""
    pointed_out = Signal(object)
    """A shape is pointed out; None points out nothing any more."""
    classes_changed = Signal()
    """The menu has other classes, or they have other colours."""
    noted = Signal(str)
    """Something to tell the user, such as why an edit was refused."""
    warned = Signal(str)
    """What the user must not miss: the stored regions were damaged; carries what became of them."""
    recovered = Signal()
    """What is kept of the slide could not be had, and is here now."""

    def __init__(self, history: QUndoStack, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._history = history
        self._book: RegionBook | None = None
        self._folder: Path | None = None
        self._glimpse: tuple[Kept, dict[str, Any]] | None = None
        self._chosen: tuple[str, ...] = ()
        self._chosen_marks: frozenset[str] = frozenset()
        self._accepted: tuple[tuple[Region, ...], Accepted] | None = None
        self._fresh_conflicts: set[str] = set()
        self._last_number = 0  # a name that became free is not given again
        self.new_class = self.refusal = ""
        self.classes = {name: class_rgb(name) for name in CLASSES}
        self.focus: tuple[str, Shape] | None = None
        self._problem: HandOver[str] = HandOver(self._on_problem)

    @property
    def _kept(self) -> Kept | None:
        if self._book is not None:
            return self._book.kept
        return self._glimpse[0] if self._glimpse is not None else None

    @property
    def all(self) -> tuple[Region, ...]:
        """The regions in the order in which they are painted."""
        return self._kept.regions if self._kept is not None else ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The measurements and marks."""
        return self._kept.marks if self._kept is not None else ()

    @property
    def accepted(self) -> Accepted:
        """What was judged to be tumour; made once for each state of the regions."""
        from idc_desktop.regions.verdicts import Accepted

        if self._accepted is None or self._accepted[0] is not self.all:
            self._accepted = self.all, Accepted(self.all)
        return self._accepted[1]

    @property
    def sheet(self) -> Sheet:
        """What is written about the slide."""
        return self._kept.sheet if self._kept is not None else Sheet()

    @property
    def chosen(self) -> tuple[Region, ...]:
        """The chosen ones, in the order in which they were chosen."""
        known = {region.id: region for region in self.all}
        return tuple(known[it] for it in self._chosen if it in known)

    @property
    def can_edit(self) -> bool:
        """Whether regions can be drawn: a slide is open, in this window only."""
        return self._book is not None

    @property
    def view(self) -> dict[str, Any]:
        """How the slide was looked at last, as it was given to `save_view`."""
        if self._book is not None:
            return dict(self._book.view)
        return self._glimpse[1] if self._glimpse is not None else {}

    def at(self, point: Point) -> Region | None:
        """Return the uppermost visible region that holds a level-0 point."""
        for region in reversed(self.all):
            if not region.is_hidden and region.shape.contains(point):
                return region
        return None

    def open(self, folder: Path) -> None:
        """Take the regions of a slide from its folder in the data folder."""
        from idc_desktop.regions.book import RegionBook

        self.close()
        self._folder = folder
        try:
            self._book = RegionBook(folder, self._problem.put)
        except OutputError as error:
            self.refusal = str(error)
            self.noted.emit(self.refusal)
        else:
            for note in self._book.notes:
                self.warned.emit(note)
        self.changed.emit()

    def glance(self, folder: Path) -> None:
        """Take the regions of a slide as they are kept now, to be seen and not to be edited."""
        from idc_desktop.regions.book import RegionBook

        try:
            book = RegionBook(folder)
        except OutputError as error:
            self.refusal = str(error)
        else:
            for note in book.notes:
                self.warned.emit(note)
            self._glimpse = book.kept, dict(book.view)
            book.close()
        self.changed.emit()

    def _on_problem(self, problem: str) -> None:
        self.noted.emit(problem or "The regions are saved again.")

    def try_again(self) -> None:
        """Take the regions if they could not be had before: the other window may be closed now."""
        if self._book is None and self._folder is not None:
            self.open(self._folder)
            if self._book is not None:
                self.recovered.emit()

    def close(self) -> None:
        """Save what is left to save and let go of the slide."""
        book, self._book, self._folder, self._chosen = self._book, None, None, ()
        self.refusal, self._last_number = "", 0
        if book is not None:
            book.close()
            self.point_out()
            self.changed.emit()
            self.choice_changed.emit()

    def settle(self) -> str:
        """Save at once what is not saved yet; return why regions cannot be, empty if all are."""
        return self._book.settle() if self._book is not None else ""

    def save_view(self, view: dict[str, Any]) -> None:
        """Keep how the slide is looked at."""
        if self._book is not None:
            self._book.save_view(view)

    def choose(self, identifiers: Iterable[str]) -> None:
        """Choose these regions and no others."""
        chosen = tuple(dict.fromkeys(identifiers))
        if chosen != self._chosen:
            if self.focus is not None and not set(chosen) <= set(self._chosen):
                self.point_out()  # who chooses a region looks at that one now
            self._chosen = chosen
            if chosen:
                self._chosen_marks = frozenset()
            self.choice_changed.emit()

    def point_out(self, name: str = "", shape: Shape | None = None) -> None:
        """Look at a focus, or at none any more."""
        self.focus = None if shape is None else (name, shape)
        self.pointed_out.emit(shape)

    def set_classes(self, classes: Mapping[str, Rgb]) -> None:
        """Have other classes in the menu, or other colours."""
        self.classes = dict(classes)
        self.classes_changed.emit()

    def edit_classes(self, classes: Mapping[str, Rgb], renamed: Mapping[str, str]) -> None:
        """Have other classes in one step, and the regions that are not locked follow.

        Parameters
        ----------
        renamed : mapping of str to str
            New names of classes by their former ones.
        """
        put = []
        for region in (it for it in self.all if not it.is_locked):
            former = region.classification
            name = renamed.get(former, former)
            is_usual = region.drawn_rgb == self.classes.get(former, class_rgb(former))
            follows = is_usual and name in classes
            put.append(
                _in_class(region, name, classes)
                if follows
                else replace(region, classification=name)
            )
        self._history.beginMacro("Edit classes")
        self._history.push(_EditClasses(self.classes, classes, self.set_classes))
        self.edit("Edit classes", put=put)
        self._history.endMacro()

    def set_mask(self, classification: str) -> None:
        """Have the chosen regions change the tissue mask: `MASK_ADDED` or `MASK_REMOVED`."""
        label = f"{classification[:1]}{classification[1:].lower()}".replace(":", ",")
        self.edit(label, put=[self.classified(it, classification) for it in self.chosen])

    def classified(self, region: Region, name: str) -> Region:
        """Return a region of a class, in the colour that the class has here."""
        return _in_class(region, name, self.classes)

    def edit(self, label: str, put: Iterable[Region] = (), remove: Iterable[str] = ()) -> bool:
        """Change regions in one step, as `RegionBook.edit`; what that refuses is noted."""
        return self._take_step(label, lambda book: book.edit(put, remove))

    def add_mark(self, kind: MarkKind, points: tuple[Point, ...], name: str = "") -> None:
        """Add a mark and choose it; without a name it is numbered among its kind."""
        if not name:
            word = _MARK_NAMES[kind]
            numbered = re.compile(f"{word} ([0-9]{{1,9}})")
            numbers = [int(found[1]) for it in self.marks if (found := numbered.fullmatch(it.name))]
            name = f"{word} {max(numbers, default=0) + 1}"
        mark = Mark(kind, points, name)
        if self.edit_marks(name if kind != "text" else "Text", put=[mark]):
            self.choose_marks([mark.id])

    @property
    def chosen_marks(self) -> tuple[Mark, ...]:
        """The chosen marks; where there are any, no region is chosen."""
        return tuple(it for it in self.marks if it.id in self._chosen_marks)

    def choose_marks(self, identifiers: Iterable[str]) -> None:
        """Choose these marks and no others, and no region."""
        chosen = frozenset(identifiers)
        if chosen != self._chosen_marks:
            self._chosen_marks = chosen
            if chosen:
                self._chosen = ()
            self.choice_changed.emit()

    def edit_marks(self, label: str, put: Iterable[Mark] = (), remove: Iterable[str] = ()) -> bool:
        """Change marks in one step."""
        return self._take_step(label, lambda book: book.edit_marks(put, remove))

    def take_in(self, regions: Iterable[Region], marks: Iterable[Mark]) -> bool:
        """Take regions and marks of a file, in one step; all of them or none."""
        return self._take_step(
            "Import regions",
            # The former may be refused, so it comes first.
            lambda book: any([book.edit(regions), book.edit_marks(marks)]),
        )

    def write_sheet(self, sheet: Sheet, gesture: int = -1) -> bool:
        """Keep what is written about the slide; what one gesture writes in a row is one step."""
        return self._take_step("Report text", lambda book: book.write_sheet(sheet), gesture)

    def judge(self, verdict: Verdict) -> bool:
        """Judge the focus that is looked at, else the chosen regions; return whether it is new."""
        label = f"Verdict {verdict}" if verdict else "Take the verdict back"
        known = self.accepted.conflicts.keys()
        is_new = self._judge(label, lambda region: replace(region, verdict=verdict), verdict)
        self._fresh_conflicts = self.accepted.conflicts.keys() - known
        self.tell_conflicts()
        return is_new

    def tell_conflicts(self) -> None:
        """Say so where the last verdict made one count that says otherwise."""
        names = [f"{it.name} ({it.verdict})" for it in self.all if it.id in self._fresh_conflicts]
        if names:
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            self.noted.emit(
                f"{names[0]}{more}: within an area judged IDC, which counts whole. Subtract it "
                "there, or judge the area otherwise."
            )

    def write_note(self, note: str) -> bool:
        """Write a note on the focus that is looked at, else on the chosen regions."""
        return self._judge("Note", lambda region: replace(region, note=note))

    @property
    def note(self) -> str:
        """The note on what would be judged now; of several, the first that there is."""
        return next((it.note for it in self.subjects if it.note), "")

    @property
    def subjects(self) -> tuple[Region, ...]:
        """What would be judged now, as far as it is a region already."""
        if self.focus is None:
            return self.chosen
        return tuple(it for it in self.all if it.shape == self.focus[1])

    def _judge(
        self, label: str, change: Callable[[Region], Region], verdict: Verdict | None = None
    ) -> bool:
        subjects = [it for it in self.subjects if not (verdict and it.changes_mask)]
        if verdict and len(subjects) < len(self.subjects):
            self.noted.emit("An area that changes the tissue mask has no verdict.")
        if self.focus is None or (subjects and verdict is None):
            return self.edit(label, put=map(change, subjects))
        from idc_desktop.regions.verdicts import judge_focus

        region, put, remove = judge_focus(self.all, *self.focus, verdict or "")
        return self.edit(label, [*put, change(region)], remove)

    def _take_step(
        self, label: str, change: Callable[[RegionBook], bool], gesture: int = -1
    ) -> bool:
        self.try_again()
        if self._book is None:
            return False
        try:
            before = self._book.kept
            changed = change(self._book)
        except RegionsError as error:
            self.noted.emit(str(error))
            return False
        if changed:
            self._history.push(_Edit(label, before, self._book.kept, self._go_to, gesture))
        return changed

    def add(self, label: str, shapes: Collection[Shape], classification: str | None = None) -> bool:
        """Add a region for each shape and choose them; return whether they were added."""
        chosen_class = self.new_class if classification is None else classification
        numbers = [int(found[1]) for it in self.all if (found := _NUMBERED.fullmatch(it.name))]
        first = max([self._last_number, *numbers]) + 1
        new = [
            self.classified(Region(f"Region {number}", shape), chosen_class)
            for number, shape in enumerate(shapes, first)
        ]
        is_added = self.edit(label, put=new)
        if is_added:
            self._last_number = first + len(new) - 1
            self.choose(region.id for region in new)
        return is_added

    def reshape(self, label: str, shapes: Mapping[Region, Shape | None]) -> None:
        """Give regions other shapes in one step; None removes a region."""
        self.edit(
            label,
            put=[_drawn(it, shape) for it, shape in shapes.items() if shape is not None],
            remove=[it.id for it, shape in shapes.items() if shape is None],
        )

    def split(self, label: str, parts: Mapping[Region, list[Shape]]) -> None:
        """Put parts in the place of regions: the first of each keeps name and id."""
        put = [
            _drawn(region, part)
            if number == 1
            else replace(_drawn(region, part), name=f"{region.name} ({number})", id=new_id())
            for region, shapes in parts.items()
            for number, part in enumerate(shapes, start=1)
        ]
        if self.edit(label, put=put):
            self.choose(region.id for region in put)

    def _go_to(self, kept: Kept, is_back: bool) -> None:
        """Show what was kept at another moment of the history."""
        if self._book is None:
            return
        if kept is not self._book.kept:
            self._book.go_back(kept)
        if is_back:
            self._last_number = 0  # what was taken back leaves no trace
        self._announce()

    def _announce(self) -> None:
        known = {region.id for region in self.all}
        self.changed.emit()
        self.choose(it for it in self._chosen if it in known)


def _in_class(region: Region, name: str, classes: Mapping[str, Rgb]) -> Region:
    usual = class_rgb(name)
    rgb = classes.get(name, usual)
    changed = replace(region, classification=name, color=None if rgb == usual else rgb)
    # What changes the mask is no finding: it has no verdict, and is no focus.
    return replace(changed, verdict="", is_focus=False) if changed.changes_mask else changed


def _drawn(region: Region, shape: Shape) -> Region:
    """Return a region with a shape that somebody drew, also where it was a focus of the map."""
    return replace(region, shape=shape, is_focus=False)


class _Edit(QUndoCommand):
    """A step of the history: what was kept before it and after it.

    Attributes
    ----------
    after : Kept
    """

    def __init__(
        self,
        text: str,
        before: Kept,
        after: Kept,
        go_to: Callable[[Kept, bool], None],
        gesture: int = -1,
    ) -> None:
        super().__init__(text)
        self._before, self.after, self._go_to = before, after, go_to
        self._gesture = gesture

    def id(self) -> int:
        """Return the gesture that it is part of; of -1, no two steps become one."""
        return self._gesture

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take over the next step of the same gesture."""
        assert isinstance(other, _Edit)
        self.after = other.after
        self.setObsolete(self.after == self._before)
        return True

    def undo(self) -> None:
        self._go_to(self._before, True)

    def redo(self) -> None:
        self._go_to(self.after, False)


class _EditClasses(QUndoCommand):
    """A step of the history: the classes of the menu before it and after it."""

    def __init__(
        self,
        before: Mapping[str, Rgb],
        after: Mapping[str, Rgb],
        set_classes: Callable[[Mapping[str, Rgb]], None],
    ) -> None:
        super().__init__("Edit classes")
        self._before, self._after, self._set_classes = before, after, set_classes

    def undo(self) -> None:
        self._set_classes(self._before)

    def redo(self) -> None:
        self._set_classes(self._after)
