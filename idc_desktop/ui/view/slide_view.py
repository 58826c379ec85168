"""The view of the slide: pan, zoom, turn; tiles coarse to fine; the map over them."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSizeF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QRegion,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.regions.shape import Shape
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.scene import SlideScene
from idc_desktop.ui.thumbnails import fetch_picture
from idc_desktop.ui.tiles.pyramid import Tile
from idc_desktop.ui.view.crosshair import KEYS_HINT, Crosshair
from idc_desktop.ui.view.guides import (
    failed_key,
    paint_frame,
    paint_keys,
    paint_legend,
    paint_notice,
    paint_scale_bar,
    paint_twin,
)
from idc_desktop.ui.view.map_raster import MapRaster, paint_cell
from idc_desktop.ui.view.mark_layer import paint_measurement
from idc_desktop.ui.view.mask_layer import MaskLayer, mask_keys
from idc_desktop.ui.view.minimap import Minimap
from idc_desktop.ui.view.region_layer import RegionLayer, paint_mark
from idc_desktop.ui.view.tile_layer import Completeness, TileLayer, place_of
from idc_desktop.ui.view.tools import PanTool, Tool

_ARROWS = (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down)
_STEP = 1.25  # zoom per wheel notch or key
_REST_MS = 120
_PATIENCE_MS = 300  # until it is said that something is on its way
_AHEAD = 0.25  # of the view's size that is prefetched on each side, once what is seen is here


class SlideView(QWidget):
    """Shows a scene where its camera looks.

    Attributes
    ----------
    is_framed : bool
        Whether it is framed while it has the focus: one of several views.
    """

    tool_changed = Signal()
    """Another tool was taken up."""

    menu_asked = Signal(QPoint)
    """The right button was clicked; carries the point of the screen."""

    def __init__(self, scene: SlideScene, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scene, self.camera = scene, scene.camera
        self._tiles: TileLayer | None = None
        self._regions = RegionLayer(scene.regions)
        self._raster: MapRaster | None = None
        self._raster_is_stale = False
        self._mask: tuple[tuple[ProbabilityMap, int], MaskLayer] | None = None
        self._marked: Shape | None = None
        self._twin: QPointF | None = None
        self.is_framed = False
        self._painted_notice = ""
        self._is_moving = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._on_rest)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_PATIENCE_MS)
        self._patience.timeout.connect(self.update)
        self.pan_tool = PanTool(self)
        self._tool: Tool = self.pan_tool
        self._has_mouse: Tool | None = None
        self._crosshair = Crosshair(self)
        self._space_is_down = False
        self._minimap = Minimap(scene, self)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(170, 120)
        self.setAccessibleName("Slide")
        scene.slide_changed.connect(self._on_slide_changed)
        scene.map_changed.connect(self._on_map_changed)
        scene.display_changed.connect(self._on_map_changed)
        scene.selection_changed.connect(self.update)
        scene.bared.connect(self.update)
        scene.regions.changed.connect(self.update)
        scene.regions.choice_changed.connect(self.update)
        scene.camera.moved.connect(self._on_moved)
        scene.regions.pointed_out.connect(self.mark)
        if scene.slide is not None:
            self._on_slide_changed()

    @property
    def document(self) -> SlideDocument:
        """The scene as what tools change: only the view of the document is given such tools."""
        assert isinstance(self.scene, SlideDocument)
        return self.scene

    @property
    def tool(self) -> Tool:
        """What the left mouse button does; the middle one, or the space bar held, always pans."""
        return self._tool

    @property
    def hint(self) -> str:
        """How the tool is used, by mouse and by keyboard; empty where there is nothing to say."""
        return f"{self._tool.hint} {KEYS_HINT}" if self._tool.hint else ""

    @property
    def is_pressed(self) -> bool:
        """Whether a tool has been given the mouse and it was not released yet."""
        return self._has_mouse is not None

    def take_up(self, tool: Tool) -> None:
        """Take up another tool; what the former one had begun is forgotten."""
        self.let_go()
        self._tool = tool
        if tool is self.pan_tool:
            self._crosshair.hide()
        self.setCursor(tool.cursor)
        self.setAccessibleDescription(self.hint)
        self.setFocus()  # the keys are the tool's now
        self.update()
        self.tool_changed.emit()

    def leave(self) -> None:
        """Want no more tiles: the view is about to go."""
        if self.scene.tiles is not None:
            self.scene.tiles.want(self, [])

    def show_twin(self, point_l0: QPointF | None) -> None:
        """Show where the mouse is in a view beside this one; None shows nothing."""
        if point_l0 != self._twin:
            self._twin = point_l0
            self.update()

    def let_go(self) -> None:
        """Forget what a tool had begun, and take the mouse from it."""
        self._has_mouse = None
        self._tool.abandon()
        self.pan_tool.abandon()
        self.update()

    @property
    def is_sharp(self) -> bool:
        """Whether all that is seen is shown at its best, and nothing more is on its way."""
        tiles = self.scene.tiles
        return tiles is not None and tiles.is_idle and self.has_all_tiles and not self._is_moving

    @property
    def has_all_tiles(self) -> bool:
        """Whether every visible tile is here, or cannot be."""
        return self._completeness() in (Completeness.WHOLE, Completeness.BROKEN)

    @property
    def notice(self) -> str:
        """What stands over the view where not all of the slide can be seen; else empty."""
        found = self._completeness()
        if found is not Completeness.LOADING:
            return found.value if found is not None else ""
        if self.scene.is_outdated:
            return Completeness.LOST.value
        return "" if self._patience.isActive() else found.value

    def mark(self, shape: Shape | None) -> None:
        """Point out a shape until another one is, or none."""
        self._marked = shape
        self.update()

    def select_patch(self, point_l0: QPointF) -> None:
        """Select the patch that holds a level-0 point; none outside the map."""
        grid = self.scene.grid
        if grid is not None:
            self.scene.select(grid.cell_at(point_l0.x(), point_l0.y()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint what is there: sharp tiles, else coarser ones; never a hole."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().mid())
        if self.scene.slide:
            to_device = self.camera.to_device()
            self._paint_slide(painter, to_device, event.region())
            if not self.scene.is_bare:
                self._paint_map(painter, to_device)
                self._paint_regions(painter, to_device)
            if self._marked is not None and not self.scene.is_bare:
                paint_mark(painter, to_device, self._marked)
            self._tool.paint(painter, to_device)
            self._paint_guides(painter)
            self._crosshair.paint(painter)
            if self._twin is not None:
                paint_twin(painter, to_device.map(self._twin))
        if self.is_framed and self.hasFocus():
            paint_frame(painter, self.rect(), self.palette().highlight().color())
        painter.end()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep a fitted slide fitted."""
        self._minimap.place()
        self._tell_size()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom at the cursor."""
        self.camera.set_scale(
            self.camera.scale * _STEP ** (event.angleDelta().y() / 120), event.position()
        )
        event.accept()

    def event(self, event: QEvent) -> bool:
        """Zoom and turn by the gestures of a trackpad; all else as usual.

        The mouse is not heard while the crosshair holds the button: a nudge would spoil the stroke.
        """
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._tell_size()
        if event.type() == QEvent.Type.ShortcutOverride and self._is_own(event):
            event.accept()  # arrows are the tool's, whatever shortcuts they are of
            return True
        if isinstance(event, QMouseEvent) and not self._crosshair.gives_way():
            return True
        if isinstance(event, QNativeGestureEvent):
            if event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
                self.camera.set_scale(self.camera.scale * (1 + event.value()), event.position())
                return True
            if event.gestureType() == Qt.NativeGestureType.RotateNativeGesture:
                self.camera.rotate(event.value())
                return True
        return super().event(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Give the mouse to a tool until the button is released."""
        if self.scene.slide and self._has_mouse is None:
            pans = event.button() == Qt.MouseButton.MiddleButton or self._space_is_down
            if pans or event.button() == Qt.MouseButton.LeftButton:
                self._has_mouse = self.pan_tool if pans else self._tool
                self._has_mouse.press(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Choose the region under the mouse and ask for the menu of regions.

        The key for the menu asks for that of the chosen ones; beside all regions there is none.
        """
        if not self.scene.slide or self._has_mouse is not None:
            return
        regions = self.scene.regions
        if event.reason() != QContextMenuEvent.Reason.Keyboard:
            at = self.camera.to_l0(QPointF(event.pos()))
            region = regions.at((at.x(), at.y()))
            if region is None:
                return
            if region not in regions.chosen:
                regions.choose([region.id])
        self.menu_asked.emit(event.globalPos())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Let the tool have it."""
        is_left = event.button() == Qt.MouseButton.LeftButton and not self._space_is_down
        if not (self.scene.slide and is_left and self._tool.double_click(event)):
            self.mousePressEvent(event)  # two quick strokes are two strokes

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Let the tool follow, and tell what is under the cursor."""
        if self.scene.slide:
            (self._has_mouse or self._tool).move(event)
            self.scene.pointed.emit(self.camera.to_l0(event.position()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Take the mouse back."""
        if self._has_mouse is not None and event.buttons() == Qt.MouseButton.NoButton:
            tool, self._has_mouse = self._has_mouse, None
            if self.scene.slide:
                tool.release(event)
            self.setCursor(self._tool.cursor)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Take the space bar for released: its release goes elsewhere."""
        self._space_is_down = False
        self.setCursor(self._tool.cursor)
        super().focusOutEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        """Say that nothing is under the cursor."""
        self.scene.pointed.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Give keys to crosshair and tool; else pan by arrows, zoom by plus and minus.

        The space bar makes the mouse pan.
        """
        if self.scene.slide and self._is_for_tool(event):
            return
        step = 0.1 * min(self.width(), self.height())
        steps = {
            Qt.Key.Key_Left: QPointF(-step, 0),
            Qt.Key.Key_Right: QPointF(step, 0),
            Qt.Key.Key_Up: QPointF(0, -step),
            Qt.Key.Key_Down: QPointF(0, step),
        }
        key = Qt.Key(event.key())
        if key in steps:
            middle = QPointF(self.width() / 2, self.height() / 2)
            self.camera.centre_on(self.camera.to_l0(middle + steps[key]))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.camera.set_scale(self.camera.scale * _STEP, self._crosshair.at)
        elif key == Qt.Key.Key_Minus:
            self.camera.set_scale(self.camera.scale / _STEP, self._crosshair.at)
        elif key == Qt.Key.Key_Space:
            self._space_is_down = True
            self.setCursor(Qt.CursorShape.OpenHandCursor)
        else:
            super().keyPressEvent(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Give the mouse back to the tool."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self._space_is_down = False
            self.setCursor(self._tool.cursor)
        else:
            super().keyReleaseEvent(event)

    def _is_own(self, event: QEvent) -> bool:
        """Whether a key is one of the arrows that a tool in hand has a use for."""
        has_tool = self._tool is not self.pan_tool
        return has_tool and isinstance(event, QKeyEvent) and event.key() in _ARROWS

    def _is_for_tool(self, event: QKeyEvent) -> bool:
        """Offer a key to the crosshair and the tool; return whether one took it."""
        if self._crosshair.act(event) or self._tool.key(event):
            return True
        return self._tool is not self.pan_tool and self._crosshair.step(event)

    def _zoom(self) -> int:
        """Return the zoom of the tiles that are sharp now; there is a slide."""
        assert self.scene.pyramid is not None
        return self.scene.pyramid.zoom_for(self.camera.screen_scale)

    def _completeness(self) -> Completeness | None:
        if self._tiles is None:
            return None
        return self._tiles.completeness(self._zoom(), self.camera.seen_l0)

    def _paint_slide(self, painter: QPainter, to_device: QTransform, part: QRegion) -> None:
        if self._tiles is not None:
            zoom = self._zoom()
            is_exact = self.camera.screen_scale * 2**zoom == 1
            smooth = not self._is_moving and not is_exact
            seen, tone = self.camera.seen_l0, self.scene.display.tone
            self._tiles.paint(painter, to_device, zoom, seen, part, smooth=smooth, tone=tone)

    def _paint_map(self, painter: QPainter, to_device: QTransform) -> None:
        display = self.scene.display
        raster = self._current_raster() if display.visible else None
        if raster is not None:
            seen, opacity = self.camera.seen_l0, display.opacity_at(self.camera.um_per_px)
            raster.paint(painter, to_device, seen, display, opacity, self._is_moving)
        mask = self._current_mask()
        if mask is not None:
            mask.paint(painter, to_device, self.camera.seen_l0)
        grid, cell = self.scene.grid, self.scene.selected
        if grid is not None and cell is not None:
            paint_cell(painter, to_device, grid, cell)

    def _paint_regions(self, painter: QPainter, to_device: QTransform) -> None:
        if self.scene.display.regions:
            seen, handles = self.camera.seen_l0, self._tool.shows_handles
            self._regions.paint(painter, to_device, seen, handles=handles)
            regions, mpp = self.scene.regions, self.scene.mpp_xy
            chosen = regions.chosen_marks
            for mark in regions.marks:
                paint_measurement(painter, to_device, mark, mpp, is_chosen=mark in chosen)

    def _paint_guides(self, painter: QPainter) -> None:
        scene, area = self.scene, QRectF(self.rect())
        self._painted_notice = self.notice
        if self._painted_notice:
            paint_notice(painter, area, self._painted_notice)
        if self.camera.um_per_px is not None:
            paint_scale_bar(painter, area, self.camera.um_per_px * self.camera.pixel_ratio)
        display = scene.display
        if not display.legend:
            return
        keys = mask_keys() if self._current_mask() is not None else []
        raster = self._current_raster() if display.visible else None
        if raster is not None:
            opacity, kind = display.opacity_at(self.camera.um_per_px), raster.kind
            keys += [failed_key(opacity)] if raster.has_failed else []
            threshold = scene.threshold if kind.is_of_idc else None
            paint_legend(painter, area, kind, display, opacity, threshold, keys)
        elif keys:
            paint_keys(painter, area, keys)

    def _tell_size(self) -> None:
        self.camera.resize(QSizeF(self.size()), self.devicePixelRatioF())

    def _on_moved(self) -> None:
        self._is_moving = True
        self._rest.start()
        self._patience.start()
        if self.scene.slide:
            self._ask_for_tiles()
        self.update()

    def _on_rest(self) -> None:
        self._is_moving = False
        self.update()

    def _ask_for_tiles(self) -> None:
        tiles, pyramid = self.scene.tiles, self.scene.pyramid
        if tiles is None or pyramid is None:
            return
        seen = self.camera.seen_l0
        across, down = _AHEAD * seen.width(), _AHEAD * seen.height()
        around = seen.adjusted(-across, -down, across, down)
        zoom = self._zoom()
        wanted = pyramid.top_tiles() + pyramid.tiles(zoom, seen)
        # What a pan or a step out of the zoom would need next.
        ahead = pyramid.tiles(zoom, around)
        if zoom < pyramid.top_zoom:
            ahead += pyramid.tiles(zoom + 1, around)
        tiles.want(self, list(dict.fromkeys([*wanted, *ahead])))

    def _on_slide_changed(self) -> None:
        tiles, pyramid = self.scene.tiles, self.scene.pyramid
        self._raster_is_stale = True
        self.let_go()
        self._crosshair.hide()
        self._tiles = None
        if tiles is not None and pyramid is not None:
            self._tiles = TileLayer(pyramid, tiles)
            if self.scene.path is not None:
                fetch_picture(self.scene.path, self, partial(self._show_preview, self._tiles))
            tiles.loaded.connect(self._on_loaded)
            tiles.pin(pyramid.top_zoom)
            self._on_moved()  # another slide at the very same place needs its own tiles
        self.update()

    def _on_loaded(self, tile: Tile | None) -> None:
        """Paint where a tile arrived: to paint all for each of dozens would hold the others up."""
        if tile is None or self.notice != self._painted_notice:
            self.update()
        else:
            self.update(place_of(tile, self.camera.to_device()))

    def _show_preview(self, tiles: TileLayer, picture: QImage | None) -> None:
        tiles.preview = picture
        self.update()

    def _on_map_changed(self) -> None:
        # Blocks may arrive faster than frames are painted: the raster is made once a frame.
        self._raster_is_stale = True
        self.update()

    def _current_mask(self) -> MaskLayer | None:
        current = self.scene.map if self.scene.display.mask else None
        if current is None:
            self._mask = None
        elif self._mask is None or self._mask[0] != (current, current.version):
            self._mask = (current, current.version), MaskLayer(current)
        return None if self._mask is None else self._mask[1]

    def _current_raster(self) -> MapRaster | None:
        if self._raster_is_stale:
            scene, display = self.scene, self.scene.display
            layer, measured = scene.layer, scene.measured
            self._raster = None
            if layer is not None and measured is not None:
                colours = display.colormap, display.extent
                self._raster = MapRaster(layer, measured, scene.threshold, *colours)
            self._raster_is_stale = False
        return self._raster
