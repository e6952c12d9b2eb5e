"""The card in a voice folder: what the voice is, what it was made from, how it does on dev, the licences.

Example::

    Path("README.md").write_text(voice_card(facts))
"""

from __future__ import annotations

from typing import Any


def voice_card(facts: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    languages, config, dev, before = facts["languages"], facts["config"], facts["dev"], facts["dev_at_start"]
    licences = "; ".join(facts["licences"]) or "not stated"
    front = ["---", "library_name: transformers", "pipeline_tag: text-to-speech", "license: other"]
    front += [f"license_name: {_yaml(licences)}", "language:", *(f"- {language}" for language in languages)]
    rows = [
        ("checkpoint", f"update {facts['chosen']} of {facts['updates']}, chosen on dev ({facts['dev_from']})"),
        ("mel error on dev, before and after", f"{before['dev_mel']:.3f} and {dev['dev_mel']:.3f}"),
        ("speakers", ", ".join(name or "unnamed" for name in facts["speakers"])),
        ("sample rate", f"{facts['rate_hz']} Hz"),
        ("text", f"case: {config['case']}, punctuation: {config['punctuation']}"),
        ("licences of data and start", licences),
        ("corpus digest", f"`{facts['corpus_digest'][:16]}`"),
        ("seed", str(config["seed"])),
    ]
    if "dev_judge_cer" in dev:
        heard = [100 * value for value in (before.get("dev_judge_cer", float("nan")), dev["dev_judge_cer"])]
        text = f"{heard[0]:.1f} % and {heard[1]:.1f} % ({facts['judge']})"
        rows.insert(2, ("CER of the judge on dev read aloud, before and after", text))
    body = [
        f"# {facts['name']}",
        "",
        f"A VITS voice of {facts['parameters'] / 1e6:.1f} M parameters for {', '.join(languages)}, "
        f"{_origin(facts['start'])} with Orature on {facts['train_hours']:.2f} h of speech "
        f"({facts['train_utterances']} utterances). It speaks with the voices of the people in that speech: use it "
        "only as they and the licence of their recordings allow.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        "Samples to listen to are in report.html.",
        "",
        "```python",
        "from transformers import VitsModel, VitsTokenizer",
        "",
        'voice, tokenizer = VitsModel.from_pretrained("FOLDER"), VitsTokenizer.from_pretrained("FOLDER")',
        'samples = voice(**tokenizer("TEXT", return_tensors="pt")).waveform',
        "```",
        "",
        "In Orature it is the voice `vits:FOLDER`.",
        "",
    ]
    return "\n".join([*front, "---", "", *body])


def _origin(start: dict[str, Any] | None) -> str:
    if start is None:
        return "trained from nothing"
    return f"fine-tuned from {start['name']} (digest `{start['digest'][:16]}`)"


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
