"""What the page of a trained translator says of its figures."""

from __future__ import annotations

from typing import Any

import pytest

from orature.evaluate.html.translation import translation_section


def score(low: float | None, value: float, copied: float) -> dict[str, Any]:
    one = {"value": value, "low": low, "high": value + 1, "by": "utterance", "signature": "s"}
    figures = {"bleu": one, "chrf": one}
    counts = {"split": "test", "sentences": 9, "words": 30, "empty": 0, "normaliser": "basic@1"}
    return {**counts, **figures, "normalised": figures, "copy": {"chrf": copied}}


@pytest.mark.parametrize(
    ("low", "value", "says"),
    [
        (0.4, 0.5, "no translator yet"),
        (18.0, 22.0, "cannot be told"),
        (None, 19.8, "no translator yet"),
        (21.0, 25.0, ""),
        (None, 25.0, ""),
    ],
)
def test_a_translator_is_held_against_leaving_the_source_as_it_is(low: float | None, value: float, says: str) -> None:
    page = translation_section(score(low, value, copied=19.9))
    for said in ("no translator yet", "cannot be told"):
        assert (said in page) == (said == says)
