"""What stages that train write beside the weights, and what a folder says of its training.

Example::

    write_files(ctx, model_files(family, network, vocabulary, labels_of(facts)))
    write_records(ctx, facts, outcome.log, rejects)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orature.core.files import write_json, write_json_lines
from orature.core.types import Reject
from orature.data.corpus import reject_json
from orature.engines.vocabulary import Files
from orature.flow import StageContext

TRAINING = "training.json"


def labels_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """What `orature.json` says of a model, from the facts of its training."""
    return {
        "name": str(facts["name"]),
        "family": str(facts["family"]),
        "languages": ",".join(facts["languages"]),
        "licence": "; ".join(facts["licences"]) or "unknown",
    }


def write_files(ctx: StageContext, files: Files) -> None:
    """Each file by what writes it."""
    for name, write in files.items():
        with ctx.writing(name) as part:
            write(part)


def write_texts(ctx: StageContext, texts: Mapping[str, str]) -> None:
    """Each file with its text, UTF-8."""
    for name, text in texts.items():
        with ctx.writing(name) as part:
            part.write_text(text, encoding="utf-8")


def write_records(
    ctx: StageContext, facts: Mapping[str, Any], log: Iterable[Mapping[str, Any]], rejects: Sequence[Reject]
) -> None:
    """`training.json`, `train_log.jsonl` and `rejects.jsonl`."""
    with ctx.writing(TRAINING) as part:
        write_json(part, facts)
    with ctx.writing("train_log.jsonl") as part:
        write_json_lines(part, log)
    with ctx.writing("rejects.jsonl") as part:
        write_json_lines(part, [reject_json(reject) for reject in rejects])


def training_of(folder: Path) -> dict[str, Any]:
    """What a model folder says of its training; {} where it says nothing that can be read."""
    try:
        found = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
