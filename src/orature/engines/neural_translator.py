"""The translator around any encoder-decoder checkpoint: requests in, texts out, in batches of like length.

Requests with the same prompt and the same bound on length share batches, sorted by length. What one request gives does
not depend on them: its bound follows from its own source, padding is masked, and draws have seeds of their own.

Example::

    translator = open_checkpoint("marian", "models/opus-mt-es-qu", MarianVocabulary, paths, "cpu", 2, "auto")
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch

from orature.core.errors import ConfigError, ModelError
from orature.core.identity import digest_file
from orature.core.types import Card, Refusal
from orature.engines import ctranslate2_translator as fast
from orature.engines.families import read_config
from orature.engines.hf_folder import config_of, load_model, read_json, weight_files
from orature.engines.hf_folder import facts_of as facts_of_card
from orature.engines.hub import model_folder
from orature.engines.network import Written
from orature.engines.translator import (
    SCORE_DIGITS,
    TextSearch,
    Translation,
    TranslationRequest,
    Translations,
    refusal_by,
)
from orature.engines.translator_network import Found, Job, TorchSearch
from orature.engines.translator_vocabulary import Open, TranslatorVocabulary

VERSION = 1
"""Goes up with every change of what is found for the same request."""
FACTS = "orature.json"
ROOM, STEP = 10, 8
"""A translation may have `max_ratio` tokens for each of its source, counted in eights, and ten more."""
BATCH, GPU_BATCH = 512, 4096
_JOB_TOKENS, _GPU_JOB_TOKENS = 1024, 16384
"""The most source tokens of a job, padding counted."""
_FEW_TOKENS = 64
"""Below so many a job is not split up among idle threads."""
_JOB_ROWS, _GPU_JOB_ROWS = 64, 512
_MAY_LACK = ("final_logits_bias", "embed_positions", "embed_tokens", "lm_head", "shared")
"""What checkpoints leave out: positions that are computed, and tied copies of the embedding."""


def length_bound(tokens: int, max_ratio: float) -> int:
    """How many tokens a translation of a source of `tokens` tokens may have; it has to end before."""
    return ROOM + math.ceil(max_ratio * STEP * math.ceil(tokens / STEP))


class Searcher(Protocol):
    """What finds texts for jobs."""

    def search(self, jobs: Sequence[Job], how: TextSearch) -> list[Found]: ...

    def close(self) -> None: ...


@dataclass
class Checkpoint:
    """A folder that was looked at: what it is and how its weights are loaded."""

    engine: str
    folder: Path
    files: list[Path]
    config: Any
    generation: Any = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{path.name} {digest_file(path)}\n".encode())
        self.digest = digest.hexdigest()

    def load(self) -> Any:
        """The model of transformers in float32, from safetensors, every weight accounted for."""
        kinds = {"marian": "MarianMTModel", "m2m_100": "M2M100ForConditionalGeneration"}
        auto = kinds.get(self.engine, "T5ForConditionalGeneration")
        model: Any = load_model(self.folder, self.config, auto=auto, may_lack=_MAY_LACK, may_have=_MAY_LACK)
        return model


class NeuralTranslator:
    """A checkpoint with its vocabulary; torch is loaded only where it is needed."""

    def __init__(
        self, checkpoint: Checkpoint, vocabulary: TranslatorVocabulary, *, device: str, threads: int, backend: str
    ) -> None:
        self._vocabulary, self._checkpoint = vocabulary, checkpoint
        self._gpu, self._threads = torch.device(device).type != "cpu", threads
        self._begin_torch = partial(_torch, checkpoint, device, threads)
        self._torch: Searcher | None = None
        self._fast: Searcher | None = None
        self._closed = False
        self._scratch: Any = None
        config = checkpoint.config
        self._room = int(getattr(config, "max_position_embeddings", None) or 2 * vocabulary.most_tokens)
        if backend == "torch":
            self._torch = self._begin_torch()
        else:
            self._begin_fast(device, threads, int8=backend.endswith("int8"))
        self.card = _card(checkpoint, vocabulary, backend)
        self.batch = GPU_BATCH if self._gpu else BATCH

    def _begin_fast(self, device: str, threads: int, *, int8: bool) -> None:
        checkpoint = self._checkpoint
        folder, self._scratch = fast.converted(checkpoint.load, checkpoint.digest, int8=int8)
        self._fast = fast.Ctranslate2Search(
            folder, checkpoint.config, checkpoint.generation, device=device, threads=threads, int8=int8
        )

    def check(self, source: str, target: str) -> None:
        """ConfigError, with the nearest languages that it has, when it cannot translate in this direction."""
        self._vocabulary.check(source, target)

    def translate(self, requests: Sequence[TranslationRequest], search: TextSearch) -> list[Translations | Refusal]:
        """One outcome a request, in order; refusals as the protocol names them."""
        if self._closed:
            raise ConfigError("the translator was closed", next_step="open it again")
        outcomes: list[Translations | Refusal | None] = [refusal_by(self, request) for request in requests]
        places = [place for place, outcome in enumerate(outcomes) if outcome is None]
        rows = dict(zip(places, self._vocabulary.encode([requests[place] for place in places]), strict=True))
        for place, row in rows.items():
            if len(row) > self._vocabulary.most_tokens:
                most = self._vocabulary.most_tokens
                outcomes[place] = Refusal(
                    "too-long", f"the source has {len(row)} tokens; at most {most} are translated"
                )
        jobs, members = self._jobs(
            requests, {place: row for place, row in rows.items() if outcomes[place] is None}, search
        )
        for job, group, found in zip(jobs, members, self._searcher(search).search(jobs, search), strict=True):
            for place, written in zip(group, found, strict=True):
                outcomes[place] = self._outcome(written, job.limit)
        return [outcome for outcome in outcomes if outcome is not None]

    def _searcher(self, search: TextSearch) -> Searcher:
        """CTranslate2 where it was opened; torch for sampling, which takes a seed a request."""
        if self._fast is not None and not search.sample:
            return self._fast
        if self._torch is None:
            self._torch = self._begin_torch()
        return self._torch

    def _jobs(
        self, requests: Sequence[TranslationRequest], rows: dict[int, list[int]], search: TextSearch
    ) -> tuple[list[Job], list[list[int]]]:
        """Jobs, and the places of the requests in each."""
        total = sum(map(len, rows.values()))
        tokens = _GPU_JOB_TOKENS if self._gpu else min(_JOB_TOKENS, max(_FEW_TOKENS, total // self._threads))
        groups: dict[tuple[tuple[int, ...], int], list[int]] = defaultdict(list)
        for place, row in rows.items():
            prompt = tuple(self._vocabulary.prompt(requests[place].target))
            most = length_bound(len(row), search.max_ratio)
            groups[prompt, min(most, self._room - 1 - len(prompt))].append(place)
        jobs, members = [], []
        for (prompt, limit), group in groups.items():
            for places in _batches(group, rows, tokens, _GPU_JOB_ROWS if self._gpu else _JOB_ROWS):
                sources = tuple(tuple(rows[place]) for place in places)
                jobs.append(Job(sources, prompt, limit, tuple(requests[place].seed for place in places)))
                members.append(places)
        order = sorted(range(len(jobs)), key=lambda number: jobs[number].limit)
        return [jobs[number] for number in order], [members[number] for number in order]

    def _outcome(self, found: Sequence[Written], limit: int) -> Translations | Refusal:
        """Texts that ended, each once; the best must be one of them, unless texts were drawn."""
        ended = [written for written in found if len(written.tokens) < limit]
        if not ended or len(found[0].tokens) >= limit:
            return Refusal("truncated", f"the translation did not end within {limit} tokens")
        texts: dict[str, float] = {}
        for written in ended:
            texts.setdefault(self._vocabulary.decode(written.tokens), written.score)
        texts.pop("", None)
        if not texts:
            return Refusal("no-text", "the translation is empty")
        return tuple(Translation(text, round(score, SCORE_DIGITS)) for text, score in texts.items())

    def close(self) -> None:
        """Lets go of the weights and of a temporary folder; it can be called twice."""
        self._closed = True
        for searcher in (self._fast, self._torch):
            if searcher is not None:
                searcher.close()
        self._fast = self._torch = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _batches(places: Sequence[int], rows: dict[int, list[int]], tokens: int, most: int) -> list[list[int]]:
    """`places` by length of their rows in batches of at most `most` rows and `tokens` tokens, padding counted."""
    batches: list[list[int]] = []
    for place in sorted(places, key=lambda place: len(rows[place])):
        if not batches or len(batches[-1]) == most or (len(batches[-1]) + 1) * len(rows[place]) > tokens:
            batches.append([])
        batches[-1].append(place)
    return batches


def _torch(checkpoint: Checkpoint, device: str, threads: int) -> Searcher:
    return TorchSearch(checkpoint.load(), device=device, threads=threads)


def open_checkpoint(
    engine: str, model: str, vocabulary: Open, files: list[Path], device: str, threads: int | None, backend: str
) -> NeuralTranslator:
    """The translator of a folder whose config.json says `engine`; ModelError, MissingExtra, ConfigError."""
    from transformers import GenerationConfig

    folder = checkpoint_folder(engine, model)
    config = config_of(folder)
    generation = GenerationConfig.from_dict(read_json(folder / "generation_config.json", optional=True))
    _complete(folder, config, generation)
    checkpoint = Checkpoint(engine, folder, sorted(files), config, generation)
    place = _device(device)
    if backend != "torch":
        backend = _fast_backend(backend, config, place)
    return NeuralTranslator(
        checkpoint,
        vocabulary(folder, config),
        device=place,
        threads=max(1, threads or torch.get_num_threads()),
        backend=backend,
    )


def _fast_backend(backend: str, config: Any, device: str) -> str:
    """The backend to open: torch where "auto" finds no other way; MissingExtra, ModelError where one was asked for."""
    if backend == "auto":
        return "ctranslate2" if fast.installed() and not fast.why_not(config, device) else "torch"
    fast.need()
    if why := fast.why_not(config, device):
        raise ModelError(why, next_step="choose the backend torch")
    return backend


def _complete(folder: Path, config: Any, generation: Any) -> None:
    """ModelError where the checkpoint does not say how decoding starts, ends and is padded."""
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        if getattr(config, name, None) is None:
            setattr(config, name, getattr(generation, name, None))
        if getattr(config, name, None) is None:
            raise ModelError(
                f"neither config.json nor generation_config.json has a {name}",
                where=str(folder),
                next_step="copy the whole checkpoint folder again",
            )


def _device(name: str) -> str:
    wanted = name if name != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {name!r}", next_step="choose auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here", next_step="choose the device cpu")
    return wanted


def checkpoint_folder(engine: str, model: str) -> Path:
    """The folder that `model` names; ModelError where its config.json is of another type than `engine`."""
    if not model:
        raise ConfigError(f"{engine}: names no checkpoint", next_step=f"write {engine}:FOLDER")
    folder = model_folder(model)
    kind = read_config(folder).get("model_type")
    if kind != engine:
        raise ModelError(
            f"this is no checkpoint of {engine!r} but of {kind!r}",
            where=str(folder / "config.json"),
            next_step="name the folder alone, and its config.json tells the engine",
        )
    return folder


def checkpoint_files(engine: str, model: str, tokenizer: Sequence[str]) -> list[Path]:
    """Config, tokenizer files and weights of a checkpoint folder."""
    folder = checkpoint_folder(engine, model)
    small = [folder / name for name in ("config.json", "generation_config.json", *tokenizer)]
    return [path for path in small if path.is_file()] + weight_files(folder)


def _card(checkpoint: Checkpoint, vocabulary: TranslatorVocabulary, backend: str) -> Card:
    own = read_json(checkpoint.folder / FACTS, optional=True)
    facts = {
        **facts_of_card(checkpoint.folder),
        **{name: value for name, value in own.items() if isinstance(value, str) and value},
    }
    told = tuple(one.strip() for one in facts.get("languages", "").split(",") if one.strip())
    rounded = f" {backend}" if backend == "ctranslate2-int8" else ""
    return Card(
        name=facts["name"],
        family=checkpoint.engine,
        languages=vocabulary.languages or told,
        licence=facts.get("licence", "not stated"),
        revision=f"{checkpoint.engine}-{VERSION} {checkpoint.digest[:16]}{rounded}",
        deterministic=True,
    )
