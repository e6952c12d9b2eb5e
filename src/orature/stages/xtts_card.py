"""The card in a folder of a fine-tuned XTTS: what it is, what it was made from, how it does on dev, the licences.

Example::

    Path("README.md").write_text(xtts_card(facts))
"""

from __future__ import annotations

from typing import Any

_SHOWN = 60


def xtts_card(facts: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    languages, config, dev, before = facts["languages"], facts["config"], facts["dev"], facts["dev_at_start"]
    licences = "; ".join(facts["licences"])
    front = ["---", "library_name: coqui", "pipeline_tag: text-to-speech", "license: other"]
    front += [f"license_name: {_yaml(licences)}", "language:", *(f"- {language}" for language in languages)]
    limits = ", ".join(f"{language}: {limit}" for language, limit in facts["character_limits"].items())
    rows = [
        ("checkpoint", f"update {facts['chosen']} of {facts['updates']}, chosen on dev ({facts['dev_from']})"),
        ("nats an audio code on dev, before and after", f"{before['dev_audio']:.3f} and {dev['dev_audio']:.3f}"),
        ("nats a text token on dev, before and after", f"{before['dev_text']:.3f} and {dev['dev_text']:.3f}"),
        ("trained", f"{facts['trained_parameters'] / 1e6:.1f} M of {facts['parameters'] / 1e6:.1f} M parameters"),
        ("new text tokens", f"{len(facts['new_tokens'])} ({_some(facts['new_tokens'])})"),
        ("most characters of an utterance", limits or "as the start"),
        ("speakers without a prompt", ", ".join(facts["speakers"]) or "those of the start"),
        ("sample rate", f"{facts['rate_hz']} Hz"),
        ("licences of data and start", licences),
        ("corpus digest", f"`{facts['corpus_digest'][:16]}`"),
        ("seed", str(config["seed"])),
    ]
    start = facts["start"]
    body = [
        f"# {facts['name']}",
        "",
        "**Non-commercial use only**: the licence of XTTS-v2 (CPML) holds for this model and for what it speaks.",
        "",
        f"XTTS-v2 for {', '.join(languages)}: its autoregressive transformer fine-tuned from {start['name']} (digest "
        f"`{start['digest'][:16]}`) with Orature on {facts['train_hours']:.2f} h of speech "
        f"({facts['train_utterances']} utterances); codec, prompt encoder and vocoder are those of the start. It "
        "imitates the speaker of a recording and speaks with the voices of the people in that speech: use it only as "
        "they and the licence of their recordings allow.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "Samples to listen to are in report.html. In Orature it is the voice `xtts:FOLDER`.",
        "",
    ]
    return "\n".join([*front, "---", "", *body])


def _some(tokens: list[str]) -> str:
    shown = " ".join(f"`{token}`" for token in tokens if "|" not in token and "`" not in token)
    return (shown[:_SHOWN].rsplit(" ", 1)[0] + " ...") if len(shown) > _SHOWN else shown or "none"


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
