"""``cohort.html``: the table of a cohort as one page, with pictures, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Protocol
from urllib.parse import quote

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.cohorts.states import STATUSES, SlideState

_SHOWN_DIGITS = 6
_TEXTS = frozenset(
    ("Image", "Group", "Status", "Model", "Model SHA-256", "Map", "mpp source", "Provider")
)
_SENTENCES = frozenset(("Notes", "Error"))
"""Columns; all others hold numbers."""

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1c1c1c; background: #fff }
table { border-collapse: collapse }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left;
  vertical-align: middle }
th { position: sticky; top: 0; background: #f4f4f4; white-space: nowrap }
th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid #2364aa }
th[aria-sort=ascending] button::after { content: " ▲" }
th[aria-sort=descending] button::after { content: " ▼" }
td.number { text-align: right; font-variant-numeric: tabular-nums }
td.wide { min-width: 16rem }
tr.refused td, tr.failed td { background: #fdecea }
tr.partial td { background: #fff6e0 }
tr.pending td { color: #777 }
img { display: block; max-width: 200px; max-height: 140px }
.scroll { overflow-x: auto }
"""

_SCRIPT = """
const table = document.querySelector('table'), body = table.tBodies[0];
table.tHead.addEventListener('click', event => {
  const head = event.target.closest('th');
  if (!head || !head.querySelector('button')) return;
  const down = head.getAttribute('aria-sort') === 'ascending';
  for (const other of head.parentNode.cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const sign = down ? -1 : 1, at = head.cellIndex;
  const isNumber = head.dataset.kind === 'number';
  const key = row => {
    const value = row.cells[at].dataset.value ?? row.cells[at].textContent;
    return isNumber ? (value === '' ? null : Number(value)) : value;
  };
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (isNumber ? a - b : a < b ? -1 : a > b ? 1 : 0);
  });
  body.append(...rows.map(([, row]) => row));
});
"""


class PageRow(Protocol):
    """What the page needs of a row."""

    @property
    def state(self) -> SlideState:
        """What became of the slide."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the table."""


def page_text(columns: Sequence[str], rows: Sequence[PageRow]) -> str:
    """Return the page.

    Parameters
    ----------
    columns : sequence of str
        What the cells of the rows are.
    """
    counts = Counter(it.state.status for it in rows)
    summary = ", ".join(f"{counts[it]:,} {it}" for it in STATUSES if counts[it])
    head = "".join(map(_head_cell, columns))
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n',
            # Names and messages are escaped; should one not be, the browser runs and loads nothing.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"img-src data:; style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'\">\n",
            '<meta name="viewport" content="width=device-width">\n',
            f"<title>Cohort</title>\n<style>{_STYLE}</style>\n",
            f"<h1>Cohort</h1>\n<p>{summary or 'no slides'}</p>\n",
            f"<p><strong>{escape(RESEARCH_USE_NOTICE)}</strong></p>\n",
            f'<div class="scroll"><table>\n<thead><tr><th>Map</th>{head}</tr></thead>\n<tbody>\n',
            *_body(columns, rows),
            f"</tbody>\n</table></div>\n<script>{_SCRIPT}</script>\n</html>\n",
        )
    )


def _body(columns: Sequence[str], rows: Iterable[PageRow]) -> Iterable[str]:
    for row in rows:
        picture = ""
        if row.state.thumbnail:
            data = f"data:image/jpeg;base64,{escape(row.state.thumbnail)}"
            picture = f'<img loading="lazy" alt="" src="{data}">'
            if row.state.folder:
                place = quote(f"{row.state.folder}/overlay.png", errors="replace")
                picture = f'<a href="{escape(place)}">{picture}</a>'
        cells = "".join(map(_cell, columns, row.cells))
        yield f'<tr class="{row.state.status}"><td>{picture}</td>{cells}</tr>\n'


def _head_cell(column: str) -> str:
    kind = "number" if _is_number(column) else "text"
    return f'<th data-kind="{kind}"><button>{escape(column)}</button></th>'


def _cell(column: str, value: str) -> str:
    if _is_number(column):
        shown = "" if value == "" else f"{float(value):.{_SHOWN_DIGITS}g}"
        return f'<td class="number" data-value="{escape(value)}">{escape(shown)}</td>'
    if column == "Model SHA-256":
        return f'<td title="{escape(value)}" data-value="{escape(value)}">{escape(value[:12])}</td>'
    kind = ' class="wide"' if column in _SENTENCES and value else ""
    return f"<td{kind}>{escape(value)}</td>"


def _is_number(column: str) -> bool:
    return column not in _TEXTS | _SENTENCES


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
