"""Laws of the filter of labels, for any mixture of rows and labels: nothing vanishes, nothing depends on the order."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from orature.core.errors import CorpusError
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.data.label_judge import LabelBounds
from orature.flow import Resources, Run, Store
from orature.flow.artefact import ArtefactInfo
from orature.stages.filter_labels import FilterLabels
from orature.stages.inputs import corpus_ref
from orature.stages.label_account import read_account
from orature.stages.label_quotas import Candidate, Quotas, over_quota

from label_samples import SPOKEN, heard  # isort: skip

QUIET = Resources(progress=False)
TEXTS = st.one_of(
    st.sampled_from([*SPOKEN[:30], "", "  ", "wasi wasi wasi wasi", "шук ишкай", "kimsa"]), st.text(max_size=40)
)
ROWS = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["train", "dev", "test", "unlabelled", "unlabelled", "unlabelled", None]),
        "text": TEXTS,
        "seconds": st.sampled_from([0.1, 1.0, 3.0]),
        "speaker": st.sampled_from([None, "a", "b"]),
        "language": st.sampled_from(["qu", "sw"]),
        "level": st.sampled_from([-80.0, -20.0]),
        "score": st.floats(-2, 0),
        "refused": st.booleans(),
    }
)
FIELDS = st.fixed_dictionaries(
    {
        "keep_train": st.booleans(),
        "keep_test": st.booleans(),
        "silence_share": st.sampled_from([0.0, 0.3]),
        "most_same": st.sampled_from([None, 1]),
        "bounds": st.sampled_from([LabelBounds(), LabelBounds(most_unseen=None, most_other_script=None)]),
        "quotas": st.builds(Quotas, speaker_hours=st.sampled_from([None, 2 / 3600])),
    }
)
SURE = [{"split": "unlabelled", "text": "shuk kimsa", "seconds": 1.5, "speaker": None, "language": "qu"}]


def write(folder: Path, rows: list[dict[str, Any]]) -> FilterLabels:
    folder.mkdir()
    made, records = [], {}
    for row in rows:
        name, split = row["id"], row["split"]
        text = row["text"] if split != "unlabelled" else None
        span = AudioSpan(f"/nowhere/{name}.flac", 0.0, row["seconds"])
        utterance = Utterance(name, span, text, row["language"], row["speaker"], split=split)
        made.append((utterance, {"quality": {"rms_dbfs": row.get("level", -20.0)}}))
        if split == "unlabelled":
            refusal = {"reason": "audio-missing", "detail": "gone"} if row.get("refused") else None
            records[name] = {"hypothesis": row["text"], "score": row.get("score", -0.1), "refusal": refusal}
    save_corpus(lambda name: write_beside(folder / name), made, [])
    ref = heard(folder / "heard", records)
    return FilterLabels(corpus=corpus_ref(folder), hypotheses=ref)


def run(stage: FilterLabels, folder: Path) -> tuple[Path, ArtefactInfo] | None:
    """None where no label of speech was kept, which the stage refuses to call a corpus."""
    store = Store(folder)
    try:
        ref = Run(store, "t", "t").do(stage, on=QUIET)
    except CorpusError:
        return None
    return store.path_of(ref), store.info(ref.key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(ROWS, max_size=14), fields=FIELDS)
def test_nothing_vanishes_and_the_order_of_rows_means_nothing(
    rows: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    numbered = [row | {"id": f"r{number:02}"} for number, row in enumerate([*SURE, *rows])]
    with tempfile.TemporaryDirectory() as place, patch.object(os, "fsync", lambda handle: None):
        top = Path(place)
        first = run(write(top / "one", numbered).model_copy(update=fields), top / "a")
        second = run(write(top / "two", numbered[::-1]).model_copy(update=fields), top / "b")
        if first is None or second is None:
            assert first == second
            reject()
        (folder, info), (other, _) = first, second
        made, account = Corpus.open(folder), read_account(folder)
        assert info.rows is not None and info.rows.total == len(numbered)
        assert info.rows.kept == len(made) and not made.verify()
        assert info.rows.kept + sum(info.rows.rejected.values()) == len(numbered)
        unlabelled = sum(row["split"] == "unlabelled" for row in numbered)
        assert account["rows"] == unlabelled == account["kept"] + sum(account["rejected"].values())
        pseudo = [row for row in made if row.origin == "pseudo"]
        assert len(pseudo) == account["kept"] and sum(not row.text for row in pseudo) == account["silent_kept"]
        by_reason = Counter(account["rejected"])
        for part in (account["languages"], account["speakers"]):
            assert sum((Counter(one["rejected"]) for one in part.values()), Counter()) == by_reason
        assert Corpus.open(other).digest == made.digest and read_account(other) == account


@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["qu", "sw"]), st.floats(0.1, 50))),
    speaker_s=st.floats(1, 200),
    language_s=st.floats(1, 200),
    seed=st.integers(0, 3),
)
def test_quotas_hold_and_reject_only_what_has_no_room(
    rows: list[tuple[str | None, str, float]], speaker_s: float, language_s: float, seed: int
) -> None:
    candidates = [Candidate(f"r{n}", language, speaker, s) for n, (speaker, language, s) in enumerate(rows)]
    quotas = Quotas(speaker_hours=speaker_s / 3600, language_hours=language_s / 3600)
    over = over_quota(candidates, quotas, seed)
    left = [one for one in candidates if one.id not in over]
    for speaker in {one.speaker for one in left} - {None}:
        assert sum(one.seconds for one in left if one.speaker == speaker) <= speaker_s + 1e-6
    for language in {one.language for one in left}:
        assert sum(one.seconds for one in left if one.language == language) <= language_s + 1e-6
    for one in candidates:
        if one.id in over:
            spoken = sum(row.seconds for row in left if row.speaker == one.speaker and one.speaker is not None)
            said = sum(row.seconds for row in left if row.language == one.language)
            assert spoken + one.seconds > speaker_s - 1e-6 or said + one.seconds > language_s - 1e-6
    assert over == over_quota(candidates[::-1], quotas, seed)
