"""A page of its own in the look of the reports: one file, nothing from elsewhere, no script but ours.

Example::

    page(title="Judgement", head=heading("espeak", [("Judge", "whisper")]), body=body, nav=[("voices", "Voices")])
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from orature.evaluate.html.text import escape

_TEMPLATES = resources.files("orature.evaluate") / "templates"


def page(*, title: str, head: str, body: str, summary: str, nav: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page; `head` and `body` are HTML, everything else is text. `nav` names ids that `body` may hold."""
    script = _template("report.js")
    return Template(_template("report.html")).substitute(
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        title=escape(title),
        head=head,
        summary=escape(summary),
        nav="".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in nav if f'id="{name}"' in body),
        style=_template("report.css"),
        body=body,
        script=script,
    )


def heading(title: str, facts: Sequence[tuple[str, Any]]) -> str:
    """The title and a line of facts; empty ones are left out."""
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd><bdi>{escape(value)}</bdi></dd></div>" for name, value in facts if value
    )
    return f'<h1><bdi>{escape(title)}</bdi></h1><dl class="about">{shown}</dl>'


def rows_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A table whose first `words` columns are text and the others numbers; the cells are HTML already."""
    tops = "".join(f"<th{'' if place < words else _NUM}>{escape(name)}</th>" for place, name in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(f"<td{'' if place < words else _NUM}>{cell}</td>" for place, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0"><table class="list wide"><thead><tr>'
        f"{tops}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


_NUM = ' class="num"'


def command_section(command: str) -> str:
    """The command that made the page, or nothing."""
    if not command:
        return ""
    return f'<section id="made"><h2>The command</h2><pre class="command"><code>{escape(command)}</code></pre></section>'


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
