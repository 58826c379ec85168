"""Menus, toolbar and shortcuts, from one table of verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QDoubleSpinBox, QMainWindow, QMenu, QPushButton, QToolBar, QWidget

from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.theme import icon


@dataclass(frozen=True)
class Verb:
    """Something that the user can do.

    Attributes
    ----------
    menu : str
        Title of the menu that it is in; after ``>`` that of a menu within it.
    text : str
        Its words, with ``&`` before the access key.
    run : callable
    keys : str
        Shortcut, as Qt writes it; empty for none.
    icon : str
        Name of an icon; one with an icon is in a toolbar too.
    group : str
        Of the verbs of one group exactly one is in force; their toolbar is upright at the left.
    is_on : callable, optional
        Of a verb that turns something on or off: whether it is on. It gets a check mark.
    can : callable, optional
        Whether there is something for it to do; without, it can always be chosen.
    """

    menu: str
    text: str
    run: Callable[[], object]
    keys: str = ""
    icon: str = ""
    group: str = ""
    is_on: Callable[[], bool] | None = None
    can: Callable[[], bool] | None = None

    @property
    def words(self) -> str:
        """Its words without the mark of the access key."""
        return self.text.replace("&", "")

    @property
    def tip(self) -> str:
        """Its words and its keys."""
        return f"{self.words} ({self.keys})" if self.keys else self.words

    def button(self, words: str = "") -> QPushButton:
        """Return a button for it, with other words if there are any."""
        button = QPushButton(words or self.words)
        button.setToolTip(plain_tip(self.tip))
        button.clicked.connect(lambda: self.run())
        return button


SEPARATOR = None
"""Stands between groups of verbs."""

_LEAVING = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)


class Verbs:
    """The actions of a window.

    Parameters
    ----------
    window : QMainWindow
    verbs : iterable of Verb or None
        In the order of menus and toolbar; None separates groups.
    """

    def __init__(self, window: QMainWindow, verbs: Iterable[Verb | None]) -> None:
        self._verbs: list[Verb] = []
        self._actions: dict[str, QAction] = {}
        self._menus: dict[str, QMenu] = {}
        self.toolbar = _toolbar(window, "Verbs", Qt.ToolBarArea.TopToolBarArea)
        self._groups: dict[str, tuple[QActionGroup, QToolBar]] = {}
        menu = None
        for verb in verbs:
            if verb is SEPARATOR:
                if (last := self.toolbar.actions()) and not last[-1].isSeparator():
                    self.toolbar.addSeparator()
                if menu is not None:
                    menu.addSeparator()
                continue
            menu = self.menu(window, verb.menu)
            action = QAction(verb.text, window)
            action.triggered.connect(lambda _checked=False, verb=verb: verb.run())
            if verb.keys:
                action.setShortcut(QKeySequence(verb.keys))
            if verb.is_on is not None:
                action.setCheckable(True)
                action.setAutoRepeat(False)  # a key that is held would turn it on and off
                action.setIconVisibleInMenu(False)  # it would take the place of the check mark
            menu.addAction(action)
            toolbar = self._join(window, verb.group, action) if verb.group else self.toolbar
            if verb.icon:
                action.setToolTip(plain_tip(verb.tip))
                toolbar.addAction(action)
            self._verbs.append(verb)
            self._actions[verb.words] = action
        self.recolour()

    def _join(self, window: QMainWindow, name: str, action: QAction) -> QToolBar:
        """Put an action into a group; return the group's toolbar."""
        if name not in self._groups:
            toolbar = _toolbar(window, name.capitalize(), Qt.ToolBarArea.LeftToolBarArea)
            self._groups[name] = QActionGroup(window), toolbar
        group, toolbar = self._groups[name]
        action.setCheckable(True)
        action.setChecked(not group.actions())
        group.addAction(action)
        return toolbar

    def menu(self, window: QMainWindow, title: str) -> QMenu:
        """Return the menu of a title as in `Verb.menu`; made where there is none."""
        if title not in self._menus:
            outer, _, own = title.rpartition(">")
            place = self.menu(window, outer) if outer else window.menuBar()
            self._menus[title] = place.addMenu(own)
        return self._menus[title]

    def words(self) -> list[str]:
        """Return the words of all verbs, menu by menu."""
        return list(self._actions)

    def action(self, words: str) -> QAction:
        """Return the action of a verb by its words."""
        return self._actions[words]

    def mark(self) -> None:
        """Give a check mark to what is on, and leave what has nothing to do unavailable."""
        for verb in self._verbs:
            if verb.is_on is not None:
                self._actions[verb.words].setChecked(verb.is_on())
            if verb.can is not None:
                self._actions[verb.words].setEnabled(verb.can())

    def recolour(self) -> None:
        """Draw the icons in the colours of the palette."""
        for verb in self._verbs:
            if verb.icon:
                self.set_icon(verb.words, verb.icon)

    def set_icon(self, words: str, name: str) -> None:
        """Give a verb another icon."""
        self._actions[words].setIcon(icon(name))

    def shortcuts(self) -> list[tuple[str, dict[str, str]]]:
        """Return the verbs with shortcuts, menu by menu."""
        groups: dict[str, dict[str, str]] = {}
        for verb in self._verbs:
            if verb.keys:
                keys = QKeySequence(verb.keys).toString(QKeySequence.SequenceFormat.NativeText)
                groups.setdefault(_title(verb), {})[keys] = verb.words
        return list(groups.items())


def _title(verb: Verb) -> str:
    return verb.menu.replace("&", "").replace(">", ", ")


class HeldKey(QObject):
    """Keeps something on as long as the key of its verb is held, wherever the focus is.

    Without a key, from the menu, it is turned on and off.

    Parameters
    ----------
    key : Qt.Key
    turn : callable
        Turns it on (True) or off.
    parent : QObject
    """

    def __init__(self, key: Qt.Key, turn: Callable[[bool], object], parent: QObject) -> None:
        super().__init__(parent)
        self._key = key
        self._turn = turn
        self.is_on = False

    def toggle(self) -> None:
        """Turn it on until the key is let go, or off."""
        self._set(not self.is_on)

    def eventFilter(self, _: QObject, event: QEvent) -> bool:
        """Turn it off when the key is let go, or another program has the keyboard."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyRelease:
            is_over = event.key() == self._key and not event.isAutoRepeat()
        else:
            is_over = event.type() == QEvent.Type.ApplicationDeactivate
        if is_over:
            self._set(False)
        return False

    def _set(self, is_on: bool) -> None:
        application = QCoreApplication.instance()
        assert application is not None
        self.is_on = is_on
        (application.installEventFilter if is_on else application.removeEventFilter)(self)
        self._turn(is_on)


class NumberFieldKeys(QObject):
    """Keeps of the keys in a field for a number those that it has no use for: they are shortcuts.

    Else Ctrl+E would be "end of line" there, and Ctrl+Z its own undo, while people look at the
    slide. Enter and Escape give the focus back; Escape forgets what was typed.

    Parameters
    ----------
    fields : iterable of QWidget
    home : QWidget
        Gets the focus back.
    """

    def __init__(self, fields: Iterable[QWidget], home: QWidget) -> None:
        super().__init__(home)
        self._home = home
        for field in fields:
            field.installEventFilter(self)

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """Refuse shortcuts for the field; leave it by Enter and Escape."""
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() == QEvent.Type.ShortcutOverride and _is_shortcut(field, event):
            event.ignore()  # where nothing has this shortcut, the field gets the key after all
            return True
        if event.type() == QEvent.Type.KeyPress and event.key() in _LEAVING:
            return self._leave(field, is_dropped=event.key() == Qt.Key.Key_Escape)
        return False

    def _leave(self, field: QObject, *, is_dropped: bool) -> bool:
        if isinstance(field, QDoubleSpinBox):
            if is_dropped:
                field.setValue(field.value())
            else:
                field.interpretText()
        elif not is_dropped:
            return False  # it reads what was typed itself
        self._home.setFocus()
        return True


def _is_shortcut(field: QObject, event: QKeyEvent) -> bool:
    """Whether a field for a number has no use for a key."""
    if event.matches(QKeySequence.StandardKey.SelectAll):
        return False  # to type another number
    is_letter = isinstance(field, QDoubleSpinBox) and event.text().isalpha()
    return is_letter or bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)


def _toolbar(window: QMainWindow, title: str, area: Qt.ToolBarArea) -> QToolBar:
    toolbar = QToolBar(title)
    toolbar.setObjectName(title.lower())
    toolbar.setMovable(False)
    toolbar.toggleViewAction().setEnabled(False)
    window.addToolBar(area, toolbar)
    return toolbar
