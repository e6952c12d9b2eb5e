"""What lies outside the store, named by a person, as an input of a stage.

Example::

    run.do(Transcribe(model=model_ref(Path("model")), corpus=corpus_ref(Path("corpus")), split="test"))
"""

from __future__ import annotations

from pathlib import Path

from orature.core.identity import digest_file, digest_json
from orature.data.corpus import Corpus
from orature.engines.scratch_ctc import read_config
from orature.flow import Ref

_COUNTS = ("config.json", "model.safetensors", "vocab.json")


def corpus_ref(folder: Path) -> Ref:
    """A corpus folder; CorpusError where there is none."""
    corpus = Corpus.open(folder)
    return Ref(key="external", stage="corpus", digest=corpus.digest, path=str(corpus.root))


def model_ref(folder: Path) -> Ref:
    """A model folder, its digest over config, weights and vocabulary; ModelError where there is none."""
    read_config(folder)
    digest = digest_json({name: digest_file(folder / name) for name in _COUNTS if (folder / name).is_file()})
    return Ref(key="external", stage="model", digest=digest, path=str(folder.absolute()))
