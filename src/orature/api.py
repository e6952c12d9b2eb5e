"""The commands as functions, one to one; each is also an attribute of the package.

Example::

    import orature

    orature.ingest("my_corpus", "corpus")
    result = orature.up("my_corpus", "my_model", scale="dev")
    print(result.score["wer"])
    print(orature.transcribe(result.model, "talk.wav")[0].text)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orature.core.finding import Finding
from orature.core.types import Hypothesis, Refusal
from orature.data.audio import Limits, decode
from orature.data.corpus import Corpus
from orature.data.doctor import examine
from orature.engines.recognisers import load_recogniser
from orature.evaluate.folder import open_scored
from orature.evaluate.over_seeds import compare_in_turn
from orature.flow import Resources, Run, open_store
from orature.recipes.diagnose import diagnose
from orature.recipes.judging import judged, publish_judgement, split_of
from orature.recipes.labelling import LabelledSplit, labelled, read_account
from orature.recipes.score import score_model
from orature.recipes.training import UpOptions, named_start, pooled, split_stage, train_stage
from orature.recipes.translating import Translating, read_translation_account, translated
from orature.recipes.translating_text import translated_file
from orature.recipes.up import UpResult
from orature.recipes.up import up as run_up
from orature.stages.evaluate import report_from_folder
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.split import MakeSplits
from orature.train.config import Scale
from orature.train.devices import prepare_device

PathLike = str | os.PathLike[str]


def up(source: PathLike, to: PathLike, **options: Any) -> UpResult:
    """`orature up`: from a corpus to a measured recogniser; `options` are those of `orature.recipes.up.up`."""
    return run_up(Path(source), Path(to), **options)


def ingest(
    source: PathLike,
    to: PathLike,
    *,
    format: str = "auto",
    language: str | None = None,
    workers: int = 1,
    store: PathLike | None = None,
    **fields: Any,
) -> Corpus:
    """`orature ingest`: reads a source into the corpus folder `to`; `fields` are those of the stage `Ingest`."""
    home = open_store(_path(store))
    stage = ingest_stage(Path(source), format=format, language=language, **fields)
    ref = Run(home, recipe="ingest", command=f"orature.ingest({str(source)!r})").do(
        stage, on=Resources(workers=workers)
    )
    home.publish(ref, Path(to))
    return Corpus.open(Path(to))


def split(corpus: PathLike, to: PathLike, *, store: PathLike | None = None, **fields: Any) -> Corpus:
    """`orature split`: disjoint splits in the new corpus folder `to`; `fields` are those of the stage `MakeSplits`."""
    home = open_store(_path(store))
    stage = MakeSplits(corpus=corpus_ref(Path(corpus)), **fields)
    home.publish(Run(home, recipe="split", command=f"orature.split({str(corpus)!r})").do(stage), Path(to))
    return Corpus.open(Path(to))


def check(corpus: PathLike, *, against: Sequence[PathLike] = (), text: Sequence[PathLike] = ()) -> list[str]:
    """`orature check`: a sentence for each leak between the splits, with other corpora and with text files."""
    others = [Corpus.open(Path(folder)) for folder in against]
    found = examine(Corpus.open(Path(corpus)), others, [Path(file) for file in text])
    return [leak.sentence for leak in found.leaks]


def train(
    corpora: PathLike | Sequence[PathLike],
    to: PathLike,
    *,
    scale: Scale = "dev",
    seed: int = 1,
    start: PathLike | None = None,
    language: str | None = None,
    rehearse: Sequence[PathLike] = (),
    resources: Resources | None = None,
    store: PathLike | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """`orature train`: a model folder from the train split of corpora; `options` override `TrainConfig`."""
    home = open_store(_path(store))
    first = None if start is None else named_start(os.fspath(start))
    old = tuple(os.fspath(folder) for folder in rehearse)
    chosen = UpOptions(language=language, scale=scale, seed=seed, train=options or {}, start=first, rehearse=old)
    folders = [Path(corpora)] if isinstance(corpora, str | os.PathLike) else [Path(folder) for folder in corpora]
    run = Run(home, recipe="train", command=f"orature.train({[str(folder) for folder in folders]!r})")
    on = resources or Resources()
    joined = pooled(run, [corpus_ref(folder) for folder in folders], folders, on)
    ready = run.do(split_stage(joined, chosen), on=on)
    ref = run.do(train_stage(run, ready, chosen, name="-".join(folder.name for folder in folders)), on=on)
    home.publish(ref, Path(to))
    return Path(to)


def evaluate(model: PathLike, corpus: PathLike, to: PathLike, *, split: str = "test", **options: Any) -> dict[str, Any]:
    """`orature evaluate`: decodes and scores one split; the whole score file."""
    store = _path(options.pop("store", None))
    return score_model(Path(model), Path(corpus), Path(to), split=split, store=store, **options)


def judge(
    corpus: PathLike,
    reference: PathLike,
    judge: PathLike,
    to: PathLike,
    *,
    split: str = "dev",
    synthetic_split: str | None = None,
    resources: Resources | None = None,
    store: PathLike | None = None,
    **options: Any,
) -> dict[str, Any]:
    """`orature judge`: Norm_I of synthetic beside real speech, its page in `to`; `options` of `recipes.judging`."""
    run = Run(open_store(_path(store)), recipe="judge", command=f"orature.judge({os.fspath(corpus)!r})")
    made, real = corpus_ref(Path(corpus)), corpus_ref(Path(reference))
    own = split_of(Corpus.open(Path(corpus)), synthetic_split)
    options |= {"synthetic_split": own, "reference_split": split, "on": resources or Resources()}
    found = judged(run, made, real, model_ref(os.fspath(judge)), **options)
    return publish_judgement(run, found, Path(to))


def label(
    corpus: PathLike,
    model: PathLike,
    to: PathLike,
    *,
    second: PathLike | None = None,
    split: LabelledSplit = "unlabelled",
    resources: Resources | None = None,
    store: PathLike | None = None,
    **filters: Any,
) -> dict[str, Any]:
    """`orature label`: the labelled corpus in `to` and the account of its labels; `filters` as in `--set`."""
    run = Run(open_store(_path(store)), recipe="label", command=f"orature.label({os.fspath(corpus)!r})")
    other = None if second is None else model_ref(os.fspath(second))
    inputs = (corpus_ref(Path(corpus)), model_ref(os.fspath(model)))
    labels = labelled(run, *inputs, second=other, split=split, filters=filters, on=resources)
    run.store.publish(labels, Path(to))
    return read_account(Path(to))


def translate(
    texts: PathLike,
    to: PathLike,
    *,
    into: str,
    resources: Resources | None = None,
    store: PathLike | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """`orature translate`: the translated corpus (or file) `to`, and its account; `asked` is a `Translating`'s."""
    run = Run(open_store(_path(store)), recipe="translate", command=f"orature.translate({os.fspath(texts)!r})")
    for name in ("embargo", "like"):
        asked[name] = tuple(map(Path, asked.get(name, ())))
    wanted = Translating(into=into, human=_path(asked.pop("human", None)), **asked)
    if Path(texts).is_file():
        return translated_file(run, Path(texts), Path(to), wanted, on=resources)
    run.store.publish(translated(run, Path(texts), wanted, on=resources), Path(to))
    return read_translation_account(Path(to))


def compare(a: PathLike, b: PathLike, *more: PathLike) -> dict[str, Any]:
    """`orature compare`: the paired difference of two scored folders; unlike test sets are refused.

    `more` are the same two systems trained with other seeds, A and B in turn: then the mean over seeds.
    """
    return compare_in_turn([open_scored(Path(folder)) for folder in (a, b, *more)])


def transcribe(
    model: PathLike, *files: PathLike, device: str = "auto", language: str | None = None
) -> list[Hypothesis | Refusal]:
    """`orature transcribe`: what is said in each recording; AudioError for a file that cannot be read."""
    recogniser = load_recogniser(os.fspath(model), device=prepare_device(device, None), language=language)
    limits = Limits(min_seconds=0.0, max_seconds=86_400.0, silence_dbfs=-1000.0)
    return recogniser.transcribe([decode(Path(file), limits=limits) for file in files])


def report(folder: PathLike, to: PathLike | None = None) -> Path:
    """`orature report`: the page of a scored folder."""
    return report_from_folder(Path(folder), _path(to))


def doctor(model: PathLike | None = None, corpus: PathLike | None = None) -> list[Finding]:
    """`orature doctor`: what is wrong with a model, a corpus, or with the two together."""
    return list(diagnose(_path(model), _path(corpus)))


def _path(value: PathLike | None) -> Path | None:
    return None if value is None else Path(value)
