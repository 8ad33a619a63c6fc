"""Tables that a reader can sort: a few lines of JavaScript. Without it a page is complete."""

from __future__ import annotations

import base64
import hashlib

SORTABLE = "scroll"  # class of what holds a table

# A heading becomes a button: ascending, descending, and as it was. What is no number stays last.
SCRIPT = f"""
for (const table of document.querySelectorAll('.{SORTABLE} table')) {{
  const body = table.tBodies[0], rows = [...body.rows], headings = [...table.tHead.rows[0].cells];
  const key = (row, column) => {{
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1 || cell.textContent === '-') return null;
    if (column === 0) return cell.textContent;
    const told = cell.dataset.value ?? cell.textContent.replaceAll(',', '');
    return told.trim() !== '' && !Number.isNaN(Number(told)) ? Number(told) : cell.textContent;
  }};
  const compare = (one, other) => typeof one === 'number' && typeof other === 'number'
    ? one - other : String(one).localeCompare(String(other));
  const sort = (column, order) => {{
    const keyed = rows.map(row => [key(row, column), row]);
    const known = keyed.filter(one => one[0] !== null), rest = keyed.filter(one => one[0] === null);
    if (order) known.sort((one, other) => order * compare(one[0], other[0]));
    body.append(...(order ? [...known, ...rest] : keyed).map(one => one[1]));
  }};
  headings.forEach((heading, column) => {{
    const button = document.createElement('button');
    button.type = 'button';
    button.title = 'Sort';
    button.append(...heading.childNodes);
    if (!button.textContent) button.append('name');
    heading.append(button);
    button.addEventListener('click', () => {{
      const next = {{none: 'ascending', ascending: 'descending', descending: 'none'}};
      const state = next[heading.getAttribute('aria-sort') ?? 'none'];
      headings.forEach(one => one.removeAttribute('aria-sort'));
      if (state !== 'none') heading.setAttribute('aria-sort', state);
      sort(column, {{ascending: 1, descending: -1, none: 0}}[state]);
    }});
  }});
}}
"""


def source_of(script: str) -> str:
    """What a page's policy must name for a browser to run this script and no other.

    >>> source_of("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
