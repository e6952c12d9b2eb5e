"""Headline, slices and confusions of the report, from the score alone.

Example::

    headline(score) + by_slice(score) + confusion_section(score)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from orature.evaluate.html.text import direction, duration, escape, percent, sign_name, span, visible, whole

_SLICES = {
    "duration_s": ("By length of the recording", "seconds"),
    "speaker": ("By speaker", ""),
    "origin": ("By origin of the speech", ""),
    "language": ("By language", ""),
}
_SPEAKERS_SHOWN = 24
_HEAT = 16
_PAIRS = 14
_MIN_CONFUSIONS = 3


def headline(score: Mapping[str, Any]) -> str:
    """The two rates with their intervals, what kind the errors are, and the size of the test."""
    cards = "".join(
        _card(short, name, score[key], score.get("raw", {}).get(key), score["errors"][unit], unit)
        for key, short, name, unit in (
            ("wer", "WER", "word error rate", "words"),
            ("cer", "CER", "character error rate", "characters"),
        )
    )
    return f'<div class="cards">{cards}</div>{_facts(score)}'


def _card(
    short: str, name: str, rate: Mapping[str, Any], raw: Mapping[str, Any] | None, errors: Mapping[str, int], unit: str
) -> str:
    raw_line = ""
    if raw:
        raw_line = f'<p class="raw">Raw, with case and punctuation: <b>{percent(raw["value"])}</b></p>'
    return (
        f'<section class="card rate" aria-label="{name}"><h2>{short}<small>{name}</small></h2>'
        f'<p class="big">{percent(rate["value"])}</p>'
        f'<p class="within">{span(dict(rate))}<small>95\u202f% interval by {escape(rate["by"])}</small></p>'
        f"{gauge(rate)}{_kinds(errors, unit)}{raw_line}</section>"
    )


def gauge(rate: Mapping[str, Any], top: float | None = None) -> str:
    """A bar from zero to the rate with its interval as a whisker; `top` is the rate at the right end."""
    end = top or (1.0 if rate["value"] <= 1 else rate["value"] * 1.05)
    value = _share(rate["value"], end)
    whisker = ""
    if rate.get("low") is not None and rate.get("high") is not None:
        low, high = _share(rate["low"], end), _share(rate["high"], end)
        whisker = f'<i class="whisker" style="left:{low}%;width:{max(round(high - low, 2), 0.4)}%"></i>'
    return f'<div class="gauge" aria-hidden="true"><i class="fill" style="width:{value}%"></i>{whisker}</div>'


def _share(value: float, end: float) -> float:
    return round(100 * min(max(value / end, 0.0), 1.0), 2) if end > 0 else 0.0


def _kinds(errors: Mapping[str, int], unit: str) -> str:
    total = errors["substitutions"] + errors["deletions"] + errors["insertions"]
    if not total:
        return f'<p class="kinds-text">No {unit} wrong.</p>'
    parts = (("sub", "wrong", "substitutions"), ("del", "missed", "deletions"), ("ins", "added", "insertions"))
    bars = "".join(f'<i class="k-{style}" style="flex-grow:{errors[key]}"></i>' for style, _, key in parts)
    said = "".join(
        f'<span><i class="k-{style}"></i>{word} <b>{whole(errors[key])}</b></span>' for style, word, key in parts
    )
    return f'<div class="kinds" aria-hidden="true">{bars}</div><p class="kinds-text">{said}</p>'


def _facts(score: Mapping[str, Any]) -> str:
    facts = [
        (whole(score["utterances"]), "utterances"),
        (whole(score["words"]), "words"),
        (duration(score["hours"]), "of speech"),
        (whole(score["speakers"]) if score.get("speakers") else "–", "speakers known"),
    ]
    numbers = (score.get("entities") or {}).get("numbers") or {}
    if numbers.get("words"):
        facts.append((percent(numbers["missed"]["value"]), f"of {whole(numbers['words'])} numbers wrong"))
    if score.get("rtf"):
        facts.append((f"{1 / score['rtf']:,.0f}×", "faster than speech" if score["rtf"] < 1 else "real time"))
    cells = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in facts)
    return f'<dl class="facts">{cells}</dl>'


def warning_box(warnings: Sequence[str]) -> str:
    """Reasons for caution, or nothing."""
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<aside class="caution" aria-label="Read this with care"><h2>Read with care</h2><ul>{items}</ul></aside>'


def by_slice(score: Mapping[str, Any]) -> str:
    """A group of bars for each kind of slice that has more than one bucket."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for part in score.get("slices", []):
        groups.setdefault(part["name"], []).append(part)
    shown = {name: parts for name, parts in groups.items() if len(parts) > 1}
    if not shown:
        return ""
    reach = [part["wer"]["high"] or part["wer"]["value"] for parts in shown.values() for part in parts]
    top = max(0.05, min(max(reach), 2.0))
    body = "".join(_slice_group(name, parts, score["wer"]["value"], top) for name, parts in shown.items())
    return (
        '<section id="slices"><h2>Where it errs</h2><p class="lead">Word error rate of each part with its 95\u202f% '
        f"interval; the upright line is the whole test set ({percent(score['wer']['value'])}). "
        f"Where intervals overlap, the difference may be chance.</p>{body}</section>"
    )


def _slice_group(name: str, parts: list[Mapping[str, Any]], whole_rate: float, top: float) -> str:
    title, unit = _SLICES.get(name, (f"By {name}", ""))
    note = ""
    if name == "speaker":
        parts = sorted(parts, key=lambda part: (-part["wer"]["value"], part["bucket"]))
        if len(parts) > _SPEAKERS_SHOWN:
            half = _SPEAKERS_SHOWN // 2
            left_out = len(parts) - 2 * half
            note = f'<p class="note">{left_out} speakers in the middle are not shown; all are in score.json.</p>'
            parts = parts[:half] + parts[-half:]
    mean = _share(whole_rate, top)
    rows = "".join(_slice_row(part, unit, mean, top) for part in parts)
    return f'<h3>{escape(title)}</h3><div class="bars">{rows}</div>{note}'


def _slice_row(part: Mapping[str, Any], unit: str, mean: float, top: float) -> str:
    rate = part["wer"]
    bucket = str(part["bucket"])
    label = f"over {bucket[:-1]}" if unit and bucket.endswith("-") else bucket.replace("-", "–") if unit else bucket
    return (
        f'<div class="bar"><span class="name" title="{escape(bucket)}"><bdi>{escape(label)}</bdi>'
        f"{f' <small>{unit}</small>' if unit else ''}</span>"
        f'<span class="track">{gauge(rate, top)}<i class="mean" style="left:{mean}%"></i></span>'
        f'<span class="value"><b>{percent(rate["value"])}</b> <small>{_within(rate)}</small></span>'
        f'<span class="n">{whole(part["words"])} words · CER {percent(part["cer"]["value"])}</span></div>'
    )


def _within(rate: Mapping[str, Any]) -> str:
    return span(dict(rate)) if rate.get("low") is not None else "too few for an interval"


def confusion_section(score: Mapping[str, Any]) -> str:
    """The most frequent character confusions as a list with shares and as a heat map."""
    found = score.get("confusions") or {}
    pairs = [pair for pair in found.get("pairs", []) if pair["times"]]
    if len(pairs) < _MIN_CONFUSIONS:
        return ""
    rows = "".join(_pair_row(pair, found["said"]) for pair in pairs[:_PAIRS])
    return (
        '<section id="letters"><h2>Letters taken for others</h2><p class="lead">The most frequent character errors. '
        "\u2205 stands for nothing (dropped or added), \u2423 for the space between two words.</p>"
        '<div class="two"><div class="scroll" tabindex="0"><table class="list"><thead><tr><th>said</th><th></th>'
        '<th>heard</th><th class="num">times</th><th class="num">share of said</th></tr></thead>'
        f'<tbody>{rows}</tbody></table></div><div class="scroll" tabindex="0">{_heat(pairs)}</div></div></section>'
    )


def _sign(sign: str) -> str:
    return f'<bdi class="sign" dir="{direction(sign)}" title="{escape(sign_name(sign))}">{escape(visible(sign))}</bdi>'


def _pair_row(pair: Mapping[str, Any], said: Mapping[str, int]) -> str:
    share = pair["times"] / said[pair["said"]] if pair["said"] and said.get(pair["said"]) else None
    kind = "ins" if not pair["said"] else "del" if not pair["heard"] else "sub"
    return (
        f'<tr><td>{_sign(pair["said"])}</td><td class="arrow k-{kind}-ink">→</td><td>{_sign(pair["heard"])}</td>'
        f'<td class="num">{whole(pair["times"])}</td><td class="num">{percent(share) if share else "added"}</td></tr>'
    )


def _heat(pairs: Sequence[Mapping[str, Any]]) -> str:
    """A table of said (rows) against heard (columns) for the characters with most errors."""
    weight: Counter[str] = Counter()
    for pair in pairs:
        for sign in {pair["said"], pair["heard"]} - {""}:
            weight[sign] += pair["times"]
    signs = sorted(sign for sign, _ in sorted(weight.items(), key=lambda one: (-one[1], one[0]))[:_HEAT])
    times = {(pair["said"], pair["heard"]): pair["times"] for pair in pairs}
    most = max((count for (a, b), count in times.items() if a in (*signs, "") and b in (*signs, "")), default=1)
    head = "".join(f'<th scope="col">{_sign(sign)}</th>' for sign in (*signs, ""))
    body = []
    for said in (*signs, ""):
        cells = "".join(_heat_cell(said, heard, times.get((said, heard), 0), most) for heard in (*signs, ""))
        body.append(f'<tr><th scope="row">{_sign(said)}</th>{cells}</tr>')
    return (
        '<table class="heat"><caption>said (down) against heard (across)</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _heat_cell(said: str, heard: str, count: int, most: int) -> str:
    if said == heard:
        return '<td class="same"></td>'
    if not count:
        return "<td></td>"
    depth = round(12 + 88 * (count / most) ** 0.5)
    strong = " strong" if depth > 55 else ""
    title = f"{visible(said)} → {visible(heard)}: {count}"
    return f'<td class="hot{strong}" style="--h:{depth}%" title="{escape(title)}">{count}</td>'
