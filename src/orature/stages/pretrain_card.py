"""The card of a model that was trained further on untranscribed speech: what it heard, and what is left of the start.

Example::

    Path("README.md").write_text(pretrain_card(facts))
"""

from __future__ import annotations

from typing import Any


def pretrain_card(facts: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    front = ["---", "library_name: orature", "pipeline_tag: automatic-speech-recognition", "language:"]
    front += [f"- {language}" for language in facts["languages"]]
    start, heard = facts["start"], ", ".join(facts["languages_heard"]) or "languages that are not stated"
    body = [
        f"# {facts['name']}",
        "",
        f"{start['name']} (digest `{start['digest'][:16]}`), a {facts['family']} encoder of "
        f"{facts['parameters'] / 1e6:.1f} M parameters, trained further with Orature on {facts['hours']:.2f} h of "
        f"speech without transcripts ({heard}): it predicts codes of what it does not hear (BEST-RQ, Chiu et al. 2022)."
        f" Its output layer of {facts['tokens']} tokens is that of the start"
        + (
            ", held to what the start says of the same audio."
            if facts["masked"]["keep_weight"]
            else ", untouched, and may no longer fit the encoder: train a new one."
        ),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _rows(facts).items()),
        "",
        "Whether it is a better start for a recogniser is not measured here: train from both, and compare on dev.",
        "",
        "```",
        "orature train CORPUS --start MODEL --to RECOGNISER",
        "orature transcribe MODEL recording.wav",
        "```",
        "",
    ]
    return "\n".join([*front, "---", "", *body])


def _rows(facts: dict[str, Any]) -> dict[str, str]:
    dev, config, masked = facts["dev"], facts["config"], facts["masked"]
    where = "held out of train" if facts["dev_held_out_of_train"] else "the dev split"
    left_out = ", ".join(f"{count} {reason}" for reason, count in facts["rows_not_heard"].items()) or "none"
    right, chance = 100 * dev["dev_masked_accuracy"], 100 * dev["dev_chance"]
    return {
        "masked steps predicted on dev (chose the checkpoint, so optimistic)": f"{right:.1f} % (always the most "
        f"frequent code: {chance:.1f} %)",
        "phones of the start still written": f"{100 * dev['dev_phones_kept']:.1f} % of its steps on dev",
        "dev": f"{60 * facts['dev_hours']:.1f} minutes, {where}",
        "weights": f"{facts['chosen']} of {facts['updates']} updates, {facts['precision']}",
        "audio heard in training": f"{facts['audio_hours_seen']:.1f} h",
        "rows not heard": left_out,
        "codes and weight of keeping": f"{masked['codes']}, {masked['keep_weight']:g}",
        "licences of the recordings": "; ".join(facts["licences_heard"]) or "not stated",
        "corpus digests": ", ".join(f"`{digest[:16]}`" for digest in facts["corpus_digests"]),
        "seed": str(config["seed"]),
    }
