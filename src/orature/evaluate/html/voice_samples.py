"""What a voice sounds like, to listen to: each sentence as it was recorded, made again, and read aloud as it learned.

Example::

    samples_section([Spoken("u7", "ẹ kú àárọ̀", [("recording", clip), ("read aloud after 400 updates", other)])])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orature.evaluate.html.listening import Clip, player
from orature.evaluate.html.text import direction, escape


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence with its versions: what each is, the clip, and its length in seconds."""

    id: str
    text: str
    versions: Sequence[tuple[str, Clip, float]]


def samples_section(spoken: Sequence[Spoken]) -> str:
    """One card a sentence; nothing where there are none."""
    if not spoken:
        return ""
    cards = "".join(_card(one) for one in spoken)
    return (
        '<section id="samples"><h2>Listen</h2><p class="lead">Sentences of dev, which the voice was not trained on: '
        "the recording, the recording made again from its own latents (what the decoder can do; not for every kind of "
        f'voice), and the text alone read aloud.</p><div class="worst">{cards}</div></section>'
    )


def _card(one: Spoken) -> str:
    rows = "".join(
        f'<p class="note">{escape(label)} · {seconds:.1f}\u202fs</p>{player(clip, seconds)}'
        for label, clip, seconds in one.versions
    )
    return (
        f'<article class="error"><header><b dir="{direction(one.text)}"><bdi>{escape(one.text)}</bdi></b>'
        f'<code class="id" title="{escape(one.id)}"><bdi>{escape(one.id)}</bdi></code></header>{rows}</article>'
    )
