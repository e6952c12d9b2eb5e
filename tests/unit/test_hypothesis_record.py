"""n-best and confidence reach the files where there are any, and leave them as they were where there are none."""

from __future__ import annotations

from orature.core.types import Alternative, AudioSpan, Hypothesis, Utterance
from orature.data.transcripts import Transcript, as_dict
from orature.stages.transcribe import record_of

ROW = Utterance("u1", AudioSpan("a.flac", 0.0, 1.0), "ari")
RICH = Hypothesis("ari", alternatives=(Alternative("ari", -1.0), Alternative("arin", -2.5)), confidence=0.91234)


def test_record_of_an_utterance() -> None:
    found = record_of(ROW, RICH)
    assert found["confidence"] == 0.9123
    assert found["alternatives"] == [{"text": "ari", "score": -1.0}, {"text": "arin", "score": -2.5}]
    assert not {"confidence", "alternatives"} & record_of(ROW, Hypothesis("ari")).keys()


def test_json_of_a_recording() -> None:
    found = as_dict(Transcript(RICH, "a.flac", 1.0, "qu", "m"))
    assert found["confidence"] == 0.9123 and len(found["alternatives"]) == 2  # type: ignore[arg-type]
    assert "confidence" not in as_dict(Transcript(Hypothesis("ari"), "a.flac", 1.0, "qu", "m"))
