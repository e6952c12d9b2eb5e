"""The report of a trained translator: figures on test, examples, curves and facts in one file.

Example::

    page = translator_page(facts, score=score, rows=rows, train_log=log)

It holds no date and no path, so that equal runs give equal pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.charts import Line, line_chart, thinned
from orature.evaluate.html.page import heading, page, rows_table
from orature.evaluate.html.text import escape
from orature.evaluate.html.translation import examples_section, translation_section
from orature.evaluate.translator_choice import choice_section

_SECTIONS = (
    ("choice", "Choice"),
    ("translation", "Translation"),
    ("examples", "Examples"),
    ("training", "Learning"),
    ("facts", "Facts"),
)


def translator_page(
    facts: Mapping[str, Any],
    *,
    score: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    train_log: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page as text; `facts` is what training.json of a translator's folder holds."""
    source, target = facts["languages"]
    head = heading(
        f"Translator {source} → {target}",
        [
            ("Kind", facts["kind_said"]),
            ("Trained on", f"{facts['train_pairs']:,} pairs"),
            ("Licence", "; ".join(facts["licences"]) or "not stated"),
        ],
    )
    body = "".join(
        (
            choice_section(facts["choice"]) if "choice" in facts else "",
            translation_section(score),
            examples_section(rows, source=source, target=target),
            _curves(train_log),
            _facts(facts),
        )
    )
    summary = f"chrF {score['chrf']['value']:.1f}, BLEU {score['bleu']['value']:.1f} on test"
    return page(title=f"Translator {source}-{target}", head=head, body=body, summary=summary, nav=_SECTIONS)


def _curves(train_log: Sequence[Mapping[str, Any]]) -> str:
    def points(name: str) -> list[tuple[float, float]]:
        return [(float(row["update"]), float(row[name])) for row in train_log if isinstance(row.get(name), int | float)]

    charts = [
        line_chart(
            "Loss (nats a token; in training smoothed and with dropout)",
            [thinned("train", "a", points("loss")), Line("dev", "b", points("dev_loss"))],
        ),
        line_chart("chrF of greedy translations of dev", [Line("dev", "b", points("dev_chrf"))]),
    ]
    if not any(charts):
        return ""
    return (
        '<section id="training"><h2>How it learned</h2><p class="lead">The checkpoint was chosen on dev, never on test.'
        f'</p><div class="charts">{"".join(charts)}</div></section>'
    )


def _facts(facts: Mapping[str, Any]) -> str:
    lines = [[escape(name), f"<bdi>{escape(value)}</bdi>"] for name, value in facts["told"].items()]
    table = rows_table(("", ""), lines, words=2)
    note = "The command, all settings and the inputs: <code>orature why FOLDER</code>, of the folder of this page."
    return f'<section id="facts"><h2>Facts</h2>{table}<p class="note">{note}</p></section>'
