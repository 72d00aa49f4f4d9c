"""What every HTML page of ours is made of: one file, no script, and nothing that is fetched.

Texts are escaped here, so a page may hold whatever a scenario, a path or a process has said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from shootdown_verify.judge import INCONCLUSIVE, OK, VIOLATION

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""A browser that reads this loads nothing, whatever may have got into the page."""
_STYLE: Final = f"""
:root {{ color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif;
  --wrong: #b3261e; --change: #0b6b74; --line: #8885; --soft: #f4f4f5; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --wrong: #ff8a80; --change: #7fd3dc; --soft: #26272b; }} }}
body {{ margin: 1.5rem auto; padding: 0 1rem; max-width: 110rem; overflow-wrap: break-word; }}
h1 {{ font-size: 1.35rem; margin: 0 0 .2rem; padding: .3rem .8rem; border-left: .4rem solid;
  white-space: pre-wrap; }}
h1.{OK} {{ border-color: #2a8; }} h1.{VIOLATION} {{ border-color: #c33; }}
h1.{INCONCLUSIVE} {{ border-color: #c93; }}
h2 {{ font-size: 1.1rem; margin: 1.8rem 0 .5rem; }}
p, ul {{ max-width: 70rem; margin: .4rem 0; }} ul {{ padding-left: 1.2rem; }}
table {{ border-collapse: collapse; }} .scroll {{ overflow-x: auto; }}
td, th {{ padding: .2rem .7rem; text-align: left; vertical-align: top; font-size: .9rem; }}
th {{ font-weight: 600; }} tr.none td {{ opacity: .6; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
code, pre, table.timeline td {{ font-family: ui-monospace, monospace; font-size: .8rem; }}
pre {{ overflow-x: auto; border: 1px solid var(--line); padding: .6rem; }}
pre.command {{ white-space: pre-wrap; margin: .2rem 0 .6rem; }}
summary {{ cursor: pointer; }} small {{ opacity: .8; }}
p.wrong, span.wrong {{ color: var(--wrong); font-weight: 600; }} .change {{ color: var(--change); }}
"""


def document(title: str, style: str, body: str) -> str:
    """A whole page; ``style`` is what this page has beside the common one."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">'
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def section(title: str, content: str) -> str:
    """A heading and what is below it; nothing where there is nothing."""
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def bullets(lines: Iterable[str]) -> str:
    """A list; nothing for no lines."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """A table of texts and numbers; a row whose only number is 0 is pale. Nothing for no rows."""
    body = "".join(_row(row) for row in rows)
    if not body:
        return ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class=scroll><table><tr>{heads}</tr>{body}</table></div>"


def command(text: str) -> str:
    """What may be copied into a shell."""
    return f"<pre class=command>{escape(text)}</pre>"


def _row(row: Sequence[str | int]) -> str:
    numbers = [cell for cell in row if isinstance(cell, int)]
    pale = " class=none" if numbers and not any(numbers) else ""
    cells = (
        f"<td class=number>{cell:,}</td>" if isinstance(cell, int) else f"<td>{escape(cell)}</td>"
        for cell in row
    )
    return f"<tr{pale}>{''.join(cells)}</tr>"
