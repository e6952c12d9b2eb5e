"""Translators under CTranslate2: conversion from a loaded model, kept in a cache by digest, and the search.

The search of CTranslate2 is that of `seq2seq_search` with `early` (2 x beams candidates, done when `beams` texts have
ended, the end token and a forced language token counted in the length), so that in float32 both find the same texts.
Tokens are given to it by their numbers, so that it needs no tokenizer. It draws from one generator for all texts: for
sampling torch is used.

The converted model lies in `$ORATURE_CACHE` (default: `$XDG_CACHE_HOME/orature` or `~/.cache/orature`), in a folder
named by the digest of the checkpoint's files; where nothing can be written there, in a temporary one until `close`.

Example::

    with tempfile.TemporaryDirectory() as folder:
        search = Ctranslate2Search(converted(model, "0a1b...", int8=False)[0], network_facts, device="cpu", threads=2)
"""

from __future__ import annotations

import copy
import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from orature.core.errors import MissingExtra, ModelError
from orature.core.files import write_beside
from orature.engines.hf_folder import quiet
from orature.engines.network import Written
from orature.engines.translator import TextSearch
from orature.engines.translator_network import Found, Job, never_written

CACHE = "ORATURE_CACHE"
"""Environment variable: the cache folder of the user."""
FORMAT = 1
"""Goes up with every change of how models are converted."""
_LOADERS = {"marian": "BartLoader", "m2m_100": "M2M100Loader", "t5": "T5Loader"}


def installed() -> bool:
    """Whether CTranslate2 is here."""
    return importlib.util.find_spec("ctranslate2") is not None


def need() -> None:
    """MissingExtra unless CTranslate2 is installed."""
    if not installed():
        raise MissingExtra("ctranslate2 is not installed", next_step="pip install 'orature[fast]'")


def why_not(config: Any, device: str) -> str:
    """Why CTranslate2 cannot run a checkpoint, in words; "" where it can."""
    if config.model_type not in _LOADERS:
        return f"CTranslate2 translates with {', '.join(_LOADERS)} only"
    if config.model_type == "marian" and not getattr(config, "share_encoder_decoder_embeddings", True):
        return "here CTranslate2 takes Marian models with one vocabulary for both sides only"
    heads = {getattr(config, name, 0) for name in ("encoder_attention_heads", "decoder_attention_heads")}
    if len(heads) > 1:
        return "CTranslate2 takes one number of attention heads for encoder and decoder"
    if device.startswith("cuda"):
        import ctranslate2

        if not ctranslate2.get_cuda_device_count():
            return "the CTranslate2 that is installed sees no GPU"
    return ""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What CTranslate2's loaders ask of a tokenizer, with each token named by its number."""

    size: int
    bos_token: str
    eos_token: str
    unk_token: str
    pad_token: str
    num_madeup_words: int = 0

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        return {}

    def get_vocab(self) -> dict[str, int]:
        return {str(number): number for number in range(self.size)}

    def convert_ids_to_tokens(self, number: int) -> str:
        return str(number)


def convert(model: Any, to: Path, *, int8: bool) -> None:
    """Writes a model of transformers for CTranslate2 into the folder `to`; ModelError where that does not go."""
    from ctranslate2.converters import Converter, transformers

    config = model.config
    names = (config.bos_token_id, config.eos_token_id, None, config.pad_token_id)
    bos, eos, unknown, pad = ("0" if name is None else str(name) for name in names)
    numbers = _Numbers(int(config.vocab_size), bos, eos, unknown, pad)
    model = copy.copy(model)
    model.config = copy.deepcopy(config)
    if config.model_type == "marian":
        # As its own loader, but with the padding token, from which decoding starts.
        model.config.normalize_before = model.config.normalize_embedding = False
    if config.model_type == "t5":  # its loader scales the output where transformers once tied the embeddings
        model.config.tie_word_embeddings = bool(config.scale_decoder_outputs)
    loader = getattr(transformers, _LOADERS[config.model_type])()

    class _Loaded(Converter):  # type: ignore[misc]
        def _load(self) -> Any:
            return loader(model, numbers)

    try:
        with quiet():
            _Loaded().convert(str(to), quantization="int8" if int8 else "float32")
    except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"CTranslate2 cannot convert this model: {str(error).splitlines()[0][:200]}",
            next_step="choose the backend torch",
        ) from error


def cache_folder() -> Path:
    """The folder for converted models of this user."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE]) / "translators"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "orature" / "translators"


def converted(
    load: Callable[[], Any], digest: str, *, int8: bool
) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """The folder of the converted model, made with `load()` where it is not there yet.

    The second value is the temporary folder that holds it, where the cache cannot be written.
    """
    import ctranslate2

    kind = "int8" if int8 else "float32"
    folder = cache_folder() / f"{digest[:32]}-{kind}-{FORMAT}-{ctranslate2.__version__}"
    if folder.is_dir():
        return folder, None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                with write_beside(folder) as part:
                    convert(load(), part, int8=int8)
        return folder, None
    except OSError:
        kept = tempfile.TemporaryDirectory(prefix="orature-translator-")
        convert(load(), Path(kept.name) / "model", int8=int8)
        return Path(kept.name) / "model", kept


class Ctranslate2Search:
    """Jobs side by side, one thread each."""

    def __init__(self, folder: Path, config: Any, generation: Any, *, device: str, threads: int, int8: bool) -> None:
        import ctranslate2

        self._end = str(config.eos_token_id)
        self._never = [[str(token)] for token in never_written(config, generation)]
        try:
            self._translator: Any = ctranslate2.Translator(
                str(folder),
                device="cuda" if device.startswith("cuda") else "cpu",
                compute_type="int8" if int8 else "float32",
                inter_threads=threads,
                intra_threads=1,
            )
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"CTranslate2 cannot open the model: {str(error).splitlines()[0][:200]}",
                where=str(folder),
                next_step="remove that folder and try again, or choose the backend torch",
            ) from error

    def search(self, jobs: Sequence[Job], how: TextSearch) -> list[Found]:
        """What is found for each job, in order."""
        waiting = [self._begun(job, how) for job in jobs]
        return [
            [self._written(row.result(), len(job.prompt)) for row in rows]
            for job, rows in zip(jobs, waiting, strict=True)
        ]

    def _begun(self, job: Job, how: TextSearch) -> list[Any]:
        prefix = [str(token) for token in job.prompt]
        begun: list[Any] = self._translator.translate_batch(
            [[str(token) for token in row] for row in job.rows],
            [prefix] * len(job.rows) if prefix else None,
            asynchronous=True,
            beam_size=max(how.beams, how.n_best),
            num_hypotheses=how.n_best,
            length_penalty=how.length_penalty,
            max_decoding_length=job.limit + len(prefix),
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_end_token=True,
            suppress_sequences=self._never or None,
        )
        return begun

    def _written(self, result: Any, forced: int) -> list[Written]:
        found = []
        for tokens, score in zip(result.hypotheses, result.scores, strict=True):
            kept = tokens[forced : -1 if tokens and tokens[-1] == self._end else None]
            found.append(Written(tuple(map(int, kept)), (), float(score)))
        return found

    def close(self) -> None:
        """Lets go of the weights."""
        self._translator.unload_model()
