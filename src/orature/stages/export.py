"""The stage that writes a model for another backend, with the proof that it still says the same.

Example::

    run.do(Export(model=model_ref(Path("model")), format="onnx", corpus=corpus_ref(Path("corpus"))))
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from orature.core.errors import WorkFailed
from orature.core.files import write_json
from orature.core.identity import digest_file, digest_json
from orature.core.types import RATE_HZ
from orature.data.corpus import Corpus
from orature.engines.backends import APPROXIMATE, Format
from orature.engines.export import export_folder
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Stage, StageContext
from orature.stages.parity import CER_LIMIT, LOG_LIMIT, broken, compare_models, golden_set
from orature.train.devices import prepare_device

PARITY = "parity.json"


class Export(Stage):
    """A model folder in another `format`, which `load_recogniser` opens as any other.

    A golden set (of `corpus`, else sounds drawn from a seed) is decoded by the model and by its export; parity.json
    holds the differences. WorkFailed where a float32 export differs by more than is stated there; formats in 8 bits are
    only measured. `language` chooses an adapter or a language token where the family has them.
    """

    name: ClassVar[str] = "export"
    version: ClassVar[int] = 1
    model: Ref
    format: Format
    corpus: Ref | None = None
    split: str = "dev"
    language: str = ""

    def run(self, ctx: StageContext) -> None:
        """Exports into a passing folder, compares, and only then publishes."""
        prepare_device("cpu", ctx.resources.threads)
        source = ctx.path_of(self.model)
        corpus = None if self.corpus is None else Corpus.open(ctx.path_of(self.corpus))
        with tempfile.TemporaryDirectory(dir=ctx.state) as folder:
            made = Path(folder, "export")
            export_folder(source, made, self.format, language=self.language or None)
            parity = self._parity(source, made, corpus)
            write_json(made / PARITY, parity)
            digests = {}
            for path in sorted(made.iterdir()):
                digests[path.name] = digest_file(path)
                with ctx.writing(path.name) as part:
                    shutil.move(path, part)
        digests.pop(PARITY)  # measured with as many threads as there were
        ctx.declare_digest(digest_json(digests))
        ctx.note(parity=parity)

    def _parity(self, source: Path, made: Path, corpus: Corpus | None) -> dict[str, Any]:
        recordings, about = golden_set(corpus, self.split)
        language = self.language or _any_language(source)
        model, other = (load_recogniser(folder, language=language) for folder in (source, made))
        figures = compare_models(model, other, recordings)
        exact = self.format not in APPROXIMATE
        reason = broken(figures) if exact else ""
        if reason:
            raise WorkFailed(
                f"the model exported as {self.format} is refused: {reason}",
                where=str(source),
                next_step="use the model folder as it is, and report this model's config.json",
            )
        return {
            "format": self.format,
            "golden_set": about,
            "seconds": round(sum(map(len, recordings)) / RATE_HZ, 1),
            "limits": {"cer_between": CER_LIMIT, "log_probability": LOG_LIMIT} if exact else None,
            **figures,
        }


def _any_language(source: Path) -> str | None:
    """For an encoder-decoder that must be told the language, the first it knows: the proof is about numbers."""
    vocabulary: Any = getattr(load_recogniser(source), "vocabulary", None)
    known = vocabulary.language_tokens() if hasattr(vocabulary, "language_tokens") else {}
    return min(known, default=None) if getattr(vocabulary, "language", None) is None else None
