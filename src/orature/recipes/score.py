"""Scores a model folder on one split of a corpus folder and publishes the scored folder.

Example::

    whole = score_model(Path("model"), Path("corpus"), Path("results"), split="test")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.files import refuse_unwritable
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.search_config import SearchConfig
from orature.flow import Resources, Run, open_store
from orature.recipes.backends import choose_backend
from orature.recipes.scoring import decode_and_score
from orature.stages.evaluate import Circumstances, Extras, lineage_rows, publish_results
from orature.stages.inputs import corpus_ref, decoder_ref, model_ref
from orature.text.normalise import NORMALISER, get


def score_model(
    model: str | Path,
    corpus: Path,
    to: Path,
    *,
    split: str = "test",
    normaliser: str | None = None,
    language: str = "",
    decoder: Path | None = None,
    backend: str = "auto",
    fast: bool = False,
    search: SearchConfig | None = None,
    resources: Resources | None = None,
    store: Path | None = None,
    command: str = "",
) -> dict[str, Any]:
    """The whole score file; raises ModelError, CorpusError or ConfigError for what cannot be scored.

    `backend` and `fast`: see `recipes.backends`; `search` is for encoder-decoders (None: greedy).
    """
    get(normaliser or NORMALISER)
    refuse_unwritable(to)
    _check_split(corpus, split)
    home = open_store(store)
    run = Run(home, recipe="evaluate", command=command)
    inputs = {"model": model_ref(model), "corpus": corpus_ref(corpus)}
    on = resources or Resources()
    chosen = choose_backend(
        run, inputs["model"], inputs["corpus"], split, backend=backend, fast=fast, language=language, on=on
    )
    if chosen.told:
        say(chosen.told)
    heard, scored = decode_and_score(
        run,
        model=chosen.model,
        corpus=inputs["corpus"],
        precision=chosen.precision,
        search=search,
        split=split,
        name=Path(model).name,
        corpus_name=corpus.name,
        language=language,
        decoder=None if decoder is None else decoder_ref(decoder),
        normaliser=normaliser or NORMALISER,
        on=on,
    )
    rtf = home.info(heard.key).notes.get("rtf")
    return publish_results(
        to,
        scored=run.path_of(scored),
        circumstances=Circumstances(
            command=command, run=run.id, rtf=rtf if isinstance(rtf, float) else None, model_path=str(model)
        ),
        extras=Extras(lineage=lineage_rows(home, scored)),
    )


def _check_split(corpus: Path, split: str) -> None:
    """CorpusError where a corpus has no rows in the split."""
    if len(Corpus.open(corpus).split(split)):
        return
    known = ", ".join(Corpus.open(corpus).summary()["splits"])
    raise CorpusError(
        f"the corpus has no utterances in split {split!r}",
        where=str(corpus),
        next_step=f"choose one of {known}, or make splits with `orature split`",
    )
