"""What a model folder says of itself: name, family, languages, licence, revision.

Example::

    facts_of(folder, family_of(folder))["licence"]
"""

from __future__ import annotations

import json
from pathlib import Path

from orature.core.errors import ModelError
from orature.core.identity import digest_file
from orature.engines.families import Family
from orature.engines.native_folder import WHOLE_FOLDER

FACTS = "orature.json"


def facts_of(folder: Path, family: Family) -> dict[str, str]:
    """Name, family, languages, licence and revision: from `orature.json`, else from the folder's model card."""
    path = folder / FACTS
    if path.is_file():
        facts = _read_facts(path)
    elif family.where.startswith("orature.") and not family.name.startswith(("conformer", "transformer")):
        from orature.engines.hf_folder import facts_of as facts_of_card

        facts = facts_of_card(folder)
    else:
        facts = {"name": folder.name}
    facts.setdefault("family", family.name)
    weights = folder / "model.safetensors"
    if not facts.get("revision") and weights.is_file():
        facts["revision"] = digest_file(weights)[:16]
    return facts


def _read_facts(path: Path) -> dict[str, str]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the facts cannot be read: {error}", where=str(path), next_step=WHOLE_FOLDER) from error
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise ModelError("the facts must be names with texts", where=str(path), next_step=WHOLE_FOLDER)
    return facts
