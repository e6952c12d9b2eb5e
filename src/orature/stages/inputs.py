"""What lies outside the store, named by a person, as an input of a stage.

Example::

    run.do(Transcribe(model=model_ref(Path("model")), corpus=corpus_ref(Path("corpus")), split="test"))
    run.do(Synthesise(text=text_corpus_ref(Path("text")), voice=voice_ref("espeak"), language="sw"))
    run.do(Translate(texts=corpus_ref(Path("corpus")), translator=translator_ref("fake"), source="es", target="qu"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orature.core.errors import BadInput, ModelError
from orature.core.identity import digest_file, digest_json
from orature.data.corpus import SUMMARY, Corpus
from orature.engines.families import family_of
from orature.engines.hub import model_folder
from orature.engines.translator import Translator
from orature.engines.translators import open_translator, parse_translator, translator_files
from orature.engines.voice import Voice
from orature.engines.voices import open_voice, parse_voice, voice_files
from orature.flow import Ref
from orature.text.text_corpus import TextCorpus

_LEFT_OUT = (
    "README.md",
    "train_log.jsonl",
    "rejects.jsonl",
    "training.json",
    "artefact.json",
    "parity.json",
    "prior.tsv",
    "n_best.jsonl",
    "pseudo_labels.jsonl",
)
"""What says nothing about what a model computes."""


def corpus_ref(folder: Path) -> Ref:
    """A corpus folder; CorpusError where there is none."""
    corpus = Corpus.open(folder)
    return Ref(key="external", stage="corpus", digest=corpus.digest, path=str(corpus.root))


def made_corpus(place: Path) -> Ref | None:
    """The corpus folder at `place`; None where there is something that has to be ingested first."""
    return corpus_ref(place) if (place / SUMMARY).is_file() else None


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


class EngineRef(BaseModel, frozen=True, extra="forbid"):
    """An engine as an input: its name and revision, and its model by content (by name if it has no files).

    `model` is local files, digested; `setting` what follows the engine's name where that is not a path.
    """

    engine: str
    revision: str
    model: Ref | None = None
    setting: str = ""

    @property
    def spec(self) -> str:
        """What `open_voice` or `open_translator` takes."""
        model = self.setting or (self.model.path if self.model is not None else "")
        return f"{self.engine}:{model}" if model else self.engine

    @property
    def public_name(self) -> str:
        """The engine and its model without the path of anybody's machine."""
        name = "" if self.model is None else Path(self.model.path).name
        return ":".join(part for part in (self.engine, name) if part)


class VoiceRef(EngineRef, frozen=True, extra="forbid"):
    """A voice as an input."""


class TranslatorRef(EngineRef, frozen=True, extra="forbid"):
    """A translator as an input; `backend` as of `open_translator`."""

    backend: str = "auto"


def voice_ref(spec: str, voice: Voice | None = None) -> VoiceRef:
    """The voice that `spec` names (`voice`: the same, opened already); errors as of `open_voice`.

    Its key changes with the engine's revision and with the content of every file that its samples depend on.
    """
    name = parse_voice(spec)
    if voice is None:
        with open_voice(spec) as opened:
            revision = opened.card.revision
    else:
        revision = voice.card.revision
    return VoiceRef(engine=name.engine, revision=revision, **_model(name.model, voice_files(spec), "voice"))


def translator_ref(spec: str, translator: Translator | None = None, *, backend: str = "auto") -> TranslatorRef:
    """The translator that `spec` names (`translator`: the same, opened already); errors as of `open_translator`.

    Its key changes with the engine's revision, with the content of every file that its texts depend on, and with
    `backend`.
    """
    name = parse_translator(spec)
    if translator is None:
        with open_translator(spec, backend=backend) as opened:
            revision = opened.card.revision
    else:
        revision = translator.card.revision
    model = _model(name.model, translator_files(spec), "translator")
    return TranslatorRef(engine=name.engine, revision=revision, backend=backend, **model)


def _model(name: str, paths: Sequence[Path], stage: str) -> dict[str, Any]:
    """The fields `model` and `setting` of an engine whose model is called `name` and consists of `paths`."""
    files = [(path, digest_file(path)) for path in paths]
    at = Path(name).absolute()
    is_path = bool(name) and at.exists()
    ref = None
    if files:
        named = {
            path.absolute().relative_to(at).as_posix() if at in path.absolute().parents else path.name: digest
            for path, digest in files
        }
        place = at if is_path else files[0][0].absolute().parent
        ref = Ref(key="external", stage=stage, digest=digest_json(named), path=str(place))
    return {"model": ref, "setting": "" if is_path and files else name}


def text_file_ref(path: Path) -> Ref:
    """A file of text by its content; BadInput where there is none."""
    if not path.is_file():
        raise BadInput(f"no such text file: {path}", next_step="name a file of text")
    return Ref(key="external", stage="text-source", digest=digest_file(path), path=str(path.absolute()))


def read_result(path: Path, *, what: str, version: int, needed: str, make: str, again: str) -> dict[str, Any]:
    """The JSON of a result (`what`: "judgement") of a format's `version` with a field `needed`; BadInput for all else.

    `make` and `again` say how one is made, where there is none and where it is another thing.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"this folder holds no {what} that can be read ({error})", where=str(path), next_step=make
        ) from error
    if not isinstance(found, dict) or needed not in found or found.get("format") != version:
        raise BadInput(f"this is not a {what}", where=str(path), next_step=again)
    return found
