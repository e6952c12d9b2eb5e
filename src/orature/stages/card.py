"""The card in a model folder: what the model is, what it was made from, how well it does on dev, its licences.

Example::

    Path("README.md").write_text(model_card(facts))
"""

from __future__ import annotations

from typing import Any


def model_card(facts: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    languages = facts["languages"]
    config = facts["config"]
    front = ["---", "library_name: orature", "pipeline_tag: automatic-speech-recognition", "language:"]
    front += [f"- {language}" for language in languages]
    front += ["---", ""]
    dev = facts["dev"]
    body = [
        f"# {facts['name']}",
        "",
        f"A {facts['family']} recogniser of {facts['parameters'] / 1e6:.1f} M parameters for {', '.join(languages)}, "
        f"{_origin(facts['start'])} with Orature on {facts['train_hours']:.2f} h of transcribed speech "
        f"({facts['train_utterances']} utterances).",
        "",
        "| | |",
        "|---|---|",
        f"| dev CER (chose the checkpoint, so optimistic) | {100 * dev['cer']:.1f} % |",
        f"| dev WER | {100 * dev['wer']:.1f} % |",
        f"| weights | {facts['chosen']} of {facts['updates']} updates |",
        *_preference(facts.get("preference")),
        f"| audio seen in training | {facts['audio_hours_seen']:.1f} h, perturbed |",
        f"| text | case: {config['case']}, punctuation: {config['punctuation']} |",
        f"| licences of the training data | {'; '.join(facts['licences']) or 'not stated'} |",
        f"| corpus digest | `{facts['corpus_digest'][:16]}` |",
        f"| seed | {config['seed']} |",
        "",
        "Scores on test, with intervals, are in the report that was made with this model.",
        "",
        "```",
        "orature transcribe MODEL recording.wav",
        "```",
        "",
    ]
    return "\n".join(front + body)


def _origin(start: dict[str, Any] | None) -> str:
    if start is None:
        return "trained from nothing"
    return f"fine-tuned from {start['name']} (digest `{start['digest'][:16]}`)"


def _preference(facts: dict[str, Any] | None) -> list[str]:
    """How a last stage of preference self-training ended."""
    if not facts:
        return []
    before, after = 100 * facts["dev_start"], 100 * facts["dev_trained"]
    return [
        f"| preference self-training ({facts['method']}, {facts['utterances']} utterances) | dev {facts['select']} "
        f"{before:.1f} % at the start, {after:.1f} % trained: kept is the {facts['kept']} model |"
    ]
