"""Decoding and scoring one split, and what the languages that a model knew before have lost.

Example::

    heard, scored = decode_and_score(run, model=model, corpus=splits, split="test", name="kichwa", on=resources)
    rows = forgetting(run, stage, model, guards=[swahili], on=resources)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.phone_tokens import writes_phones
from orature.engines.recognisers import can_read
from orature.engines.search_config import SearchConfig
from orature.engines.torch_fast import Precision
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.flow import Ref, Resources, Run
from orature.recipes.training import only_language
from orature.stages.evaluate import Evaluate
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.text.normalise import NORMALISER


def decode_and_score(
    run: Run,
    *,
    model: Ref,
    corpus: Ref,
    split: str,
    name: str,
    corpus_name: str,
    on: Resources,
    language: str = "",
    decoder: Ref | None = None,
    normaliser: str = NORMALISER,
    precision: Precision = "fp32",
    search: SearchConfig | None = None,
) -> tuple[Ref, Ref]:
    """The hypotheses and the score of one split; `decoder` is a folder with a decoder.json (None: best path).

    `search` is for encoder-decoders (None: greedy).
    """
    decode = Transcribe(
        model=model,
        corpus=corpus,
        split=split,
        language=language,
        decoder=decoder,
        precision=precision,
        search=search,
    )
    how = {} if search is None else search.model_dump()
    heard = run.do(decode, on=on)
    scored = run.do(
        Evaluate(
            hypotheses=heard,
            corpus=corpus,
            split=split,
            model=name,
            corpus_name=corpus_name,
            decoder=how if decoder is None else decoder_facts(run.path_of(decoder)),
            normaliser=normaliser,
        )
    )
    return heard, scored


def publish_scores(run: Run, to: Path, scored: Mapping[str, Ref]) -> None:
    """The scored folder of each arm as `to`/NAME, so that `orature compare` can be asked about any two of them.

    In names all but letters, digits and dots becomes a hyphen: `labels-alone`, `slimIPL-pooled`.
    """
    for name, ref in scored.items():
        run.store.publish(ref, to / re.sub(r"[^\w.]+", "-", name).strip("-"))


def decoder_facts(folder: Path) -> dict[str, str | int | float | bool | None]:
    """The plain values of a decoder.json, for the score file."""
    found = json.loads((folder / "decoder.json").read_text(encoding="utf-8"))
    table = found.get("decoder", found)
    return {name: value for name, value in table.items() if isinstance(value, str | int | float | bool)}


def zero_shot(run: Run, stage: Train, splits: Ref, corpus_name: str, on: Resources) -> Ref | None:
    """The starting model's own score on test before any training; None, said aloud, where it cannot read yet.

    Nothing is chosen by it.
    """
    if stage.start is None:
        say("zero-shot: no starting model was given, so there is nothing to score before training")
        return None
    language = spoken(Path(stage.start.path), stage.language)
    if language is None:
        say("zero-shot: the starting model has no output layer for text yet, so there is nothing to score")
        return None
    if language != stage.language:
        say(f"zero-shot: the starting model does not know {stage.language!r}; it is scored without being told it")
    name = f"{Path(stage.start.path).name} (zero-shot)"
    _, scored = decode_and_score(
        run,
        model=stage.start,
        corpus=splits,
        split="test",
        name=name,
        corpus_name=corpus_name,
        language=language,
        on=on,
    )
    found = score_of(run, scored)
    say(f"zero-shot: WER {100 * found['wer']['value']:.1f} %, CER {100 * found['cer']['value']:.1f} % on test")
    return scored


def spoken(model: Path, language: str) -> str | None:
    """The language to decode with: `language` where the model knows it, "" where it reads without, None if not at all.

    Most families ask for none; MMS chooses an adapter by it, Whisper a token. A model of phones writes no letters.
    """
    if writes_phones(model):
        return None
    for tag in dict.fromkeys((language, "")):
        if can_read(model, tag or None):
            return tag
    return None


def forgetting(run: Run, stage: Train, model: Ref, folders: Sequence[Path], on: Resources) -> list[dict[str, Any]]:
    """Each guard corpus (old languages) scored by the start and by the trained model, with the paired difference.

    Test is scored, or dev where a corpus has no test. A start that cannot read has nothing to forget.
    """
    rows: list[dict[str, Any]] = []
    for ref, folder in zip([*stage.rehearse, *stage.guards], folders, strict=True):
        corpus = Corpus.open(run.path_of(ref))
        split = "test" if len(corpus.split("test")) else "dev"
        common: dict[str, Any] = {"corpus": ref, "split": split, "corpus_name": folder.name, "on": on}
        tag = only_language(corpus)
        now = spoken(run.path_of(model), tag) or ""
        _, after = decode_and_score(run, model=model, name=stage.model_name, language=now, **common)
        row: dict[str, Any] = {"corpus": folder.name, "split": split, "after": _rates(score_of(run, after))}
        then = None if stage.start is None else spoken(Path(stage.start.path), tag)
        if stage.start is not None and then is not None:
            name = Path(stage.start.path).name
            _, before = decode_and_score(run, model=stage.start, name=name, language=then, **common)
            found = compare(open_scored(run.path_of(before)), open_scored(run.path_of(after)))
            row |= {"before": _rates(score_of(run, before)), "wer": found["wer"], "cer": found["cer"]}
            delta = found["cer"]["delta"]
            say(
                f"guard {folder.name}: CER {100 * row['before']['cer']['value']:.1f} % before, "
                f"{100 * row['after']['cer']['value']:.1f} % after ({100 * delta:+.1f}): {found['cer']['verdict']}"
            )
        rows.append(row)
    return rows


def score_of(run: Run, scored: Ref) -> dict[str, Any]:
    """The score file of a scored artefact."""
    found: dict[str, Any] = json.loads((run.path_of(scored) / "score.json").read_text(encoding="utf-8"))
    return found


def _rates(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in ("wer", "cer", "utterances", "words")}
