"""What lies outside the store, named by a person, as an input of a stage.

Example::

    run.do(Transcribe(model=model_ref(Path("model")), corpus=corpus_ref(Path("corpus")), split="test"))
"""

from __future__ import annotations

from pathlib import Path

from orature.core.errors import ModelError
from orature.core.identity import digest_file, digest_json
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.flow import Ref
from orature.text.text_corpus import TextCorpus

_LEFT_OUT = ("README.md", "train_log.jsonl", "rejects.jsonl", "training.json", "artefact.json", "parity.json")
"""What says nothing about what a model computes."""


def corpus_ref(folder: Path) -> Ref:
    """A corpus folder; CorpusError where there is none."""
    corpus = Corpus.open(folder)
    return Ref(key="external", stage="corpus", digest=corpus.digest, path=str(corpus.root))


def model_ref(source: str | Path) -> Ref:
    """A model folder or an allowed hub id, its digest over all files that matter; ModelError where there is none."""
    folder = model_folder(source)
    family_of(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in _LEFT_OUT)
    digest = digest_json({path.name: digest_file(path) for path in files if not path.name.startswith(".")})
    return Ref(key="external", stage="model", digest=digest, path=str(folder.absolute()))


def decoder_ref(folder: Path) -> Ref:
    """A folder with a decoder.json (and its language model); ModelError where there is none."""
    if not (folder / "decoder.json").is_file():
        raise ModelError(
            "there is no decoder.json", where=str(folder), next_step="make one with `orature tune MODEL CORPUS --lm LM`"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "artefact.json")
    digest = digest_json({path.name: digest_file(path) for path in files})
    return Ref(key="external", stage="decoder", digest=digest, path=str(folder.absolute()))


def text_corpus_ref(folder: Path) -> Ref:
    """A text corpus folder (`orature text`); CorpusError where there is none."""
    corpus = TextCorpus.open(folder)
    return Ref(key="external", stage="text", digest=corpus.digest, path=str(corpus.root))
