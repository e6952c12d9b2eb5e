"""The card in a translator's folder: what it is, what it was made from, how well it does on test, its licences.

Example::

    Path("README.md").write_text(translator_card(facts, score))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def translator_card(facts: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    """Markdown with the front matter that model hubs read; holds no date, so that equal runs give equal cards."""
    source, target = facts["languages"]
    front = ["---", "library_name: orature", "pipeline_tag: translation", "language:", f"- {source}", f"- {target}"]
    rows = [
        *((f"{name} on test", _points(score[key])) for key, name in (("bleu", "BLEU"), ("chrf", "chrF2"))),
        ("chrF2 of the source left as it is", f"{score['copy']['chrf']:.1f}"),
        *([("choice of the translator", facts["choice"]["sentence"])] if "choice" in facts else []),
        *facts["told"].items(),
        ("licences of the pairs", "; ".join(facts["licences"]) or "not stated"),
    ]
    body = [
        f"# {facts['name']}",
        "",
        f"{facts['kind_said'].capitalize()} from {source} into {target}, made with Orature from "
        f"{facts['train_pairs']} sentence pairs. It was never shown the test sentences.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        f"In Orature it is the translator `{facts['family']}:FOLDER`; examples are in report.html.",
        "",
    ]
    if facts["family"] == "marian":
        body += [
            "```python",
            "from transformers import MarianMTModel, MarianTokenizer",
            "",
            'model, tokenizer = MarianMTModel.from_pretrained("FOLDER"), MarianTokenizer.from_pretrained("FOLDER")',
            'found = model.generate(**tokenizer(["TEXT"], return_tensors="pt"), num_beams=5)',
            "print(tokenizer.batch_decode(found, skip_special_tokens=True))",
            "```",
            "",
        ]
    return "\n".join([*front, "---", "", *body])


def _points(figure: Mapping[str, Any]) -> str:
    reach = "" if figure["low"] is None else f" ({figure['low']:.1f} to {figure['high']:.1f})"
    return f"{figure['value']:.1f}{reach}"
