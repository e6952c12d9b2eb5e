"""What is said of labels: counts, examples, and what to do where nearly all are doubted."""

from __future__ import annotations

from typing import Any

from orature.recipes.labelling import label_lines


def account(kept: int, **rejected: int) -> dict[str, Any]:
    reasons = {name.replace("_", "-"): count for name, count in rejected.items()}
    examples = {name: [{"id": "u1", "text": "wasi", "detail": "confidence 0.29"}] for name in reasons}
    return {
        **{"kept": kept, "rows": kept + sum(rejected.values()), "kept_hours": 0.1, "hours": 1.0, "silent_kept": 0},
        **{"rejected": reasons, "examples": examples, "languages": {"qu": {}}},
    }


def test_where_most_labels_are_doubted_the_bound_is_named() -> None:
    said = "\n".join(label_lines(account(20, low_confidence=80, hallucinated=3)))
    assert "labels: 20 of 103 rows kept" in said and "u1 “wasi”: confidence 0.29" in said
    assert "--set min_confidence=0.2 (or none) keeps more" in said
    assert "min_confidence" not in "\n".join(label_lines(account(80, low_confidence=20)))
