"""Reports as one HTML file that asks nothing of any network: texts, tables and pictures in it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from trainer.files import replacing

NOTICE = "For Research Use Only. Not for use in diagnostic procedures."

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1c; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; }
figcaption { font-size: .8rem; color: #555; max-width: 14rem; }
img { max-width: 100%; } img.patch { width: 6rem; image-rendering: pixelated; }
.notice { color: #555; } .warning { background: #fdecea; padding: .4rem .8rem; }
""".strip()


class Page:
    """A report that grows block by block."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._blocks = [f"<h1>{html.escape(title)}</h1>", f'<p class="notice">{NOTICE}</p>']

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._blocks.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str, *, warning: bool = False) -> None:
        """Add a paragraph."""
        kind = ' class="warning"' if warning else ""
        self._blocks.append(f"<p{kind}>{html.escape(text)}</p>")

    def items(self, texts: Iterable[str]) -> None:
        """Add a list."""
        entries = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
        self._blocks.append(f"<ul>{entries}</ul>")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table; the first column is on the left, numbers on the right."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        self._blocks.append(f"<table><tr>{head}</tr>{body}</table>")

    def figure(self, figure: Figure, caption: str = "") -> None:
        """Add a drawing."""
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
        self._picture(stream.getvalue(), caption, "")

    def patch(self, pixels: NDArray[np.uint8], caption: str) -> None:
        """Add a patch, enlarged."""
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        self._picture(stream.getvalue(), caption, ' class="patch"')

    def write(self, path: Path) -> None:
        """Write the file; `OutputError` where it cannot be."""
        text = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            f"<title>{html.escape(self._title)}</title><style>{_STYLE}</style></head><body>\n"
            + "\n".join(self._blocks)
            + "\n</body></html>\n"
        )
        with replacing(path) as file:
            file.write(text.encode("utf-8", "replace"))

    def _picture(self, data: bytes, caption: str, kind: str) -> None:
        source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        said = html.escape(caption)
        self._blocks.append(
            f'<figure><img{kind} alt="{said}" src="{source}"><figcaption>{said}</figcaption>'
            "</figure>"
        )
