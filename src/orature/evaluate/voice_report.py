"""The report of a trained voice: samples to listen to, curves and facts in one file without any outside address.

Example::

    page = voice_page(facts, train_log=rows, spoken=[Spoken(...)])

It holds no date and no path, so that equal runs give equal pages.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from orature.evaluate.html.charts import Line, line_chart, thinned
from orature.evaluate.html.text import escape, percent
from orature.evaluate.html.voice_samples import Spoken, samples_section

_TEMPLATES = resources.files("orature.evaluate") / "templates"
_SECTIONS = (("before-after", "Before and after"), ("samples", "Listen"), ("training", "Learning"), ("facts", "Facts"))


def voice_page(
    facts: Mapping[str, Any], *, train_log: Sequence[Mapping[str, Any]], spoken: Sequence[Spoken] = ()
) -> str:
    """The whole page as text; `facts` is what training.json of a voice folder holds."""
    body = "".join((_before_after(facts), samples_section(spoken), _curves(train_log), _facts(facts)))
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    name = str(facts["name"])
    about = {
        "Languages": ", ".join(facts["languages"]),
        "Speakers": str(len(facts["speakers"])),
        "Licence": "; ".join(facts["licences"]) or "not stated",
    }
    shown = "".join(f"<div><dt>{key}</dt><dd><bdi>{escape(value)}</bdi></dd></div>" for key, value in about.items())
    return Template((_TEMPLATES / "report.html").read_text(encoding="utf-8")).substitute(
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        title=escape(f"Voice: {name}"),
        head=f'<h1><bdi>{escape(name)}</bdi></h1><dl class="about">{shown}</dl>',
        summary=escape(f"A voice for {', '.join(facts['languages'])}"),
        nav="".join(f'<a href="#{place}">{text}</a>' for place, text in _SECTIONS if f'id="{place}"' in body),
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        body=body,
        script=script,
    )


def _before_after(facts: Mapping[str, Any]) -> str:
    start, end = facts["dev_at_start"], facts["dev"]
    rows = [
        ("mel error of recordings made again (L1 of natural logarithms)", "dev_mel", "{:.3f}"),
        ("divergence of what is heard from what the text foretells (nats a frame)", "dev_divergence", "{:.2f}"),
        ("loss of durations", "dev_duration", "{:.3f}"),
        ("loss of an audio code (nats)", "dev_audio", "{:.3f}"),
        ("loss of a text token (nats)", "dev_text", "{:.3f}"),
    ]
    cells = "".join(
        f'<tr><td>{name}</td><td class="num">{shape.format(start[key])}</td>'
        f'<td class="num">{shape.format(end[key])}</td></tr>'
        for name, key, shape in rows
        if key in end
    )
    if "dev_judge_cer" in end:
        cells += (
            f"<tr><td>CER of the judge on sentences read aloud (judge: {escape(facts['judge'])})</td>"
            f'<td class="num">{percent(start.get("dev_judge_cer"))}</td>'
            f'<td class="num">{percent(end["dev_judge_cer"])}</td></tr>'
        )
    return (
        '<section id="before-after"><h2>Before and after</h2><p class="lead">On dev, which chose the checkpoint, so '
        "that the figures after training are a little too good.</p>"
        '<div class="scroll" tabindex="0"><table class="list wide"><thead><tr><th>what</th>'
        f'<th class="num">before</th><th class="num">after</th></tr></thead><tbody>{cells}</tbody></table></div>'
        "</section>"
    )


def _curves(train_log: Sequence[Mapping[str, Any]]) -> str:
    def points(name: str) -> list[tuple[float, float]]:
        return [(float(row["update"]), float(row[name])) for row in train_log if isinstance(row.get(name), int | float)]

    charts = [
        line_chart(
            "Mel error",
            [thinned("training windows", "a", points("mel")), Line("dev", "b", points("dev_mel"), dots=True)],
        ),
        line_chart(
            "Divergence of prior and posterior",
            [thinned("training", "a", points("divergence")), Line("dev", "b", points("dev_divergence"), dots=True)],
        ),
        line_chart(
            "Loss of durations",
            [thinned("training", "a", points("duration")), Line("dev", "b", points("dev_duration"), dots=True)],
        ),
        line_chart(
            "Adversarial losses",
            [
                thinned("discriminators", "a", points("discriminator")),
                thinned("voice", "b", points("adversarial")),
                thinned("features", "c", points("feature")),
            ],
        ),
        line_chart(
            "Loss of an audio code",
            [thinned("training", "a", points("audio")), Line("dev", "b", points("dev_audio"), dots=True)],
        ),
        line_chart(
            "Loss of a text token",
            [thinned("training", "a", points("text")), Line("dev", "b", points("dev_text"), dots=True)],
        ),
        line_chart(
            "CER of the judge on dev read aloud",
            [Line("CER", "b", points("dev_judge_cer"), dots=True)],
            percent_axis=True,
        ),
    ]
    if not any(charts):
        return ""
    return (
        '<section id="training"><h2>How it learned</h2><p class="lead">The checkpoint was chosen on dev, never on '
        f'test; the ring marks the best.</p><div class="charts">{"".join(charts)}</div></section>'
    )


def _grown(facts: Mapping[str, Any]) -> dict[str, str]:
    """What a model for other languages was given for a new one; nothing for a voice that has letters of its own."""
    if "trained_parameters" not in facts:
        return {}
    limits = ", ".join(f"{language}: {limit}" for language, limit in facts["character_limits"].items())
    return {
        "Trained": f"{facts['trained_parameters'] / 1e6:.1f} M: the transformer; codec, prompts and vocoder are frozen",
        "New text tokens": f"{len(facts['new_tokens'])} of {facts['text_tokens']}",
        "Most characters": limits or "as the start",
    }


def _facts(facts: Mapping[str, Any]) -> str:
    config = facts["config"]
    start = facts["start"]
    rows = {
        "Training": f"{facts['train_utterances']} utterances, {facts['train_hours']:.2f} h; "
        f"{facts['audio_hours_seen']:.2f} h passed in {facts['updates']} updates",
        "Checkpoint": f"update {facts['chosen']} of {facts['updates']}",
        "Start": "from nothing" if start is None else f"{start['name']} (digest {start['digest'][:16]})",
        "Parameters": f"{facts['parameters'] / 1e6:.1f} M",
        **_grown(facts),
        "Sample rate": f"{facts['rate_hz']} Hz",
        "Speakers": ", ".join(name or "unnamed" for name in facts["speakers"]),
        "Left out": ", ".join(f"{count} {why}" for why, count in facts["rejected"].items()) or "nothing",
        "Dev": facts["dev_from"],
        "Seed": str(config["seed"]),
        "Corpus": facts["corpus_digest"][:16],
    }
    cells = "".join(f"<tr><td>{name}</td><td><bdi>{escape(value)}</bdi></td></tr>" for name, value in rows.items())
    return (
        '<section id="facts"><h2>Facts</h2><div class="scroll" tabindex="0"><table class="list wide">'
        f"<tbody>{cells}</tbody></table></div></section>"
    )
