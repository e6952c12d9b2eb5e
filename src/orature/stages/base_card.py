"""The card of a base model: what it hears, what it was made from, how well it does, and how to go on from it.

Example::

    Path("README.md").write_text(base_card(facts))
"""

from __future__ import annotations

from typing import Any


def base_card(facts: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    languages, config = facts["languages"], facts["config"]
    front = ["---", "library_name: orature", "pipeline_tag: automatic-speech-recognition", "language:"]
    front += [f"- {language}" for language in languages]
    sentences = facts["sentences"]
    rows = {
        "phone error rate on dev (chose the checkpoint, so optimistic)": f"{100 * facts['dev']['cer']:.1f} %",
        "dev": f"{sentences['dev']} held-out sentences, spoken by {len(facts['speakers']['dev'])} held-out speakers",
        "weights": f"{facts['chosen']} of {facts['updates']} updates",
        "file": f"{facts['precision']}, {facts['megabytes']:.1f} MB",
        "goes on from": _start(facts["start"]),
        "speech heard": f"{facts['audio_hours_seen']:.1f} h, synthetic (no utterance twice alike)"
        + (" and real" if facts["real_utterances"] else ""),
        "sentences": f"{sentences['train']} ({', '.join(facts['sources'])})",
        "real speech mixed in": f"{facts['real_utterances']} utterances" + _mixed(facts),
        "speaks": facts["engine"],
        "licences of texts and recordings": "; ".join(facts["licences"]) or "not stated",
        "phone text": f"`{facts['phone_text_digest'][:16]}`",
        "seed": str(config["seed"]),
        "command": f"`{facts['command']}`",
    }
    body = [
        f"# {facts['name']}",
        "",
        f"A {facts['family']} encoder of {facts['parameters'] / 1e6:.1f} M parameters that writes {facts['phones']} "
        f"IPA phones every {facts['step_ms']:.0f} ms, trained with Orature on synthetic speech in {len(languages)} "
        "languages. "
        "It is a start for recognisers of languages with little speech, and reads any language as IPA. Tones and word "
        "boundaries are not written; an affricate is two phones.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        *_real(facts["real"]),
        "```",
        "orature up CORPUS --start MODEL            # a recogniser of your own from it",
        "orature transcribe MODEL recording.wav     # IPA",
        "```",
        "",
    ]
    return "\n".join([*front, "---", "", *body])


def _start(start: dict[str, str] | None) -> str:
    if start is None:
        return "nothing"
    made = f", made by `{start['command']}`" if start.get("command") else ""
    return f"{start['name']} (digest `{start['digest'][:16]}`){made}"


def _mixed(facts: dict[str, Any]) -> str:
    """How often they were drawn against synthetic ones."""
    if not facts["real_utterances"]:
        return ""
    weight = facts["config"]["mix"]["origin_weights"].get("real", 1)
    read = ", ".join(f"{language} by the voice {tag}" for language, tag in facts["neighbours"].items())
    return f", each drawn {weight:g} times as often as a synthetic one" + (f"; phones of {read}" if read else "")


def _real(found: dict[str, dict[str, Any]]) -> list[str]:
    """Phone error rates on human speech, against readings by rule."""
    known = {language: one for language, one in found.items() if one["per"] is not None}
    if not known:
        return ["Not measured on human speech.", ""]
    lines = ["On human speech, against espeak-ng's reading of the transcripts (0 % cannot be reached):", ""]
    lines += ["| language | phone error rate | by distance of features | utterances |", "|---|---|---|---|"]
    for language, one in known.items():
        lines.append(
            f"| {language} | {100 * one['per']:.1f} % | {100 * one['weighted_per']:.1f} % | {one['utterances']} |"
        )
    return [*lines, ""]
