"""What recipes publish in a folder: whether it is there already, and the circumstances that the report names.

Example::

    if published_keys(to) != keys:
        publish_results(to, scored=folder, circumstances=circumstances_of(run, heard, to), extras=extras)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orature.flow import Ref, Run
from orature.stages.evaluate import Circumstances

REPORT = "report.json"


def published_keys(to: Path) -> dict[str, str]:
    """Keys of what lies in `to`; report.json is written last, so that without it nothing counts as published."""
    try:
        report = json.loads((to / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = (to / "report.html").is_file() and (to / "model" / "model.safetensors").is_file()
    return dict(report.get("artefacts", {})) if whole else {}


def circumstances_of(run: Run, heard: Ref, to: Path) -> Circumstances:
    """Command, run and real-time factor of the decoding `heard`; the model is published in `to`/model."""
    rtf = run.store.info(heard.key).notes.get("rtf")
    return Circumstances(
        command=run.record.command,
        run=run.id,
        rtf=rtf if isinstance(rtf, float) else None,
        model_path=str(to / "model"),
    )


def train_log(run: Run, model: Ref) -> list[dict[str, Any]]:
    """The learning curve of a model; [] for one that was merged."""
    path = run.path_of(model) / "train_log.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
