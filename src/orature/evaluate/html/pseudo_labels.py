"""Labels that a recogniser gave to untranscribed speech: how many were kept, why others were not, and examples.

Example::

    labels_section(facts["languages"])      # "" where no language has labels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.page import rows_table
from orature.evaluate.html.text import direction, duration, escape, percent, whole

EXAMPLES, _OPEN = 5, 2
"""Labels that are shown of each kind, and kinds that are open from the beginning."""
_QUOTAS = {"speaker-quota": "a speaker has enough", "language-quota": "a language has enough"}
_SILENCE = "silence-quota"


def labels_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """A part for each language that has labels; those without are named."""
    labelled = [row for row in rows if row.get("labels")]
    if not labelled:
        return ""
    without = [f"<bdi>{escape(row['corpus'])}</bdi>" for row in rows if not row.get("labels")]
    none = f'<p class="note">No final labels: {", ".join(without)}.</p>' if without else ""
    lead = (
        "What the model of each language heard in its untranscribed speech, once, after training. Each label that was "
        "not kept has its reason; examples are drawn, not chosen."
    )
    parts = "".join(_language(row) for row in labelled)
    return f'<section id="labels"><h2>Labels</h2><p class="lead">{lead}</p>{parts}{none}</section>'


def _language(row: Mapping[str, Any]) -> str:
    account = row["labels"]
    return (
        f"<h3><bdi>{escape(row['corpus'])}</bdi></h3>{_searched(row)}{_numbers(account)}{_reasons(account)}"
        f"{_tags(account)}{_examples(account)}"
    )


def _searched(row: Mapping[str, Any]) -> str:
    """Where labels were not the best path."""
    if not row.get("text"):
        return ""
    return (
        f'<p class="note">Labels were searched with language models of {escape(row["text"])} and of the train '
        "transcripts, which dev weighed (the best path, where they did not help). The error rates above are all "
        "without them.</p>"
    )


def _numbers(account: Mapping[str, Any]) -> str:
    """Kept, hours, silence, quotas."""
    kept, rows = account["kept"], account["rows"]
    facts = [
        (f"{whole(kept)} of {whole(rows)}", f"labels kept ({percent(kept / rows if rows else None)})"),
        (duration(account["kept_hours"]), f"of {duration(account['hours'])} of speech"),
        (
            percent(account["silent_kept"] / kept if kept else None),
            f"of them silence ({whole(account['silent_kept'])})",
        ),
        (whole(account["speakers_count"]), "speakers"),
    ]
    cells = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in facts)
    return f'<dl class="facts">{cells}</dl><p class="note">{_quotas(account)}</p>'


def _quotas(account: Mapping[str, Any]) -> str:
    settings = account.get("bounds", {}).get("settings", {})
    quotas = {name: value for name, value in (settings.get("quotas") or {}).items() if value is not None}
    lost = sum(account["rejected"].get(name, 0) for name in _QUOTAS)
    silence = account["rejected"].get(_SILENCE, 0)
    said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in quotas.items())
    told = f"Quotas: {said}; {whole(lost)} labels were over them." if said else "No quota on speakers or languages."
    share = settings.get("silence_share")
    if share is None:
        return escape(told)
    return escape(f"{told} At most {100 * share:g} % may be silence; {whole(silence)} recordings of it were over that.")


def _reasons(account: Mapping[str, Any]) -> str:
    lost = sorted(account["rejected"].items(), key=lambda pair: (-pair[1], pair[0]))
    if not lost:
        return '<p class="note">No label was refused.</p>'
    rows = [
        [f"{escape(name)}{_in_words(name)}", whole(count), percent(count / account["rows"])] for name, count in lost
    ]
    return rows_table(("not kept because", "labels", "of all"), rows)


def _in_words(name: str) -> str:
    return f" <small>{_QUOTAS[name]}</small>" if name in _QUOTAS else ""


def _tags(account: Mapping[str, Any]) -> str:
    """Counts by language where the speech is in several."""
    if len(account["languages"]) < 2:
        return ""
    rows = [
        [f"<bdi>{escape(tag)}</bdi>", whole(one["kept"]), whole(one["rows"]), duration(one["kept_hours"])]
        for tag, one in account["languages"].items()
    ]
    return rows_table(("language", "kept", "of", "kept speech"), rows)


def _examples(account: Mapping[str, Any]) -> str:
    """Up to five labels of each reason, and of those that were kept, behind a line to open."""
    kinds = sorted(account["examples"], key=lambda kind: (kind != "kept", -account["rejected"].get(kind, 0), kind))
    shown = [kind for kind in kinds if account["examples"][kind]]
    return "".join(_kind(kind, account["examples"][kind], place < _OPEN) for place, kind in enumerate(shown))


def _kind(kind: str, examples: Sequence[Mapping[str, Any]], opened: bool) -> str:
    cells = "".join(_example(one) for one in examples[:EXAMPLES])
    return (
        f'<details class="labels"{" open" if opened else ""}><summary><b>{escape(kind)}</b>: examples</summary>'
        f'<div class="scroll" tabindex="0"><table class="list"><tbody>{cells}</tbody></table></div></details>'
    )


def _example(one: Mapping[str, Any]) -> str:
    text = str(one["text"])
    shown = f"<bdi>{escape(text)}</bdi>" if text else "<i>nothing was heard</i>"
    sure = "" if one.get("confidence") is None else f", confidence {one['confidence']:.2f}"
    detail = f'<p class="refusal">{escape(one["detail"])}</p>' if one.get("detail") else ""
    name = f"<code><bdi>{escape(one['id'])}</bdi></code>"
    return (
        f'<tr><td dir="{direction(text)}">{shown}{detail}</td>'
        f'<td class="num"><small>{one["seconds"]:.1f}\u202fs{sure}<br>{name}</small></td></tr>'
    )
