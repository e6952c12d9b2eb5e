"""`vits:FOLDER`: VITS and MMS-TTS checkpoints in the layout of transformers, spoken in our own process.

Example::

    with open_voice("vits:models/mms-tts-swh", threads=2) as voice:
        speech = voice.speak([SpeechRequest("habari za asubuhi", language="sw", seed=7)])[0]

On a CPU every utterance is computed alone, several side by side with one thread each: its samples are the same bits
whatever is spoken beside it. On a GPU utterances of similar length share a batch; there the last bits of a sample may
depend on the neighbours, which the card says (`deterministic`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from orature.core.errors import ConfigError, ModelError
from orature.core.identity import digest_file
from orature.core.types import Card, Refusal
from orature.engines.crew import Crew
from orature.engines.families import read_config
from orature.engines.hf_folder import WHOLE, config_of, load_model, read_json, weight_files
from orature.engines.hf_folder import facts_of as facts_of_card
from orature.engines.hub import model_folder
from orature.engines.language_codes import codes_of
from orature.engines.vits_network import Samples, VitsNetwork, VitsRow
from orature.engines.vits_text import TOKENIZER, VOCABULARY, VitsReader
from orature.engines.voice import Speech, SpeechRequest, Traits
from orature.engines.voice_pipe import refusal_by

ABOUT = "VITS and MMS-TTS checkpoints (over 1,100 languages), in this process"
CONFIG, FACTS = "config.json", "orature.json"
MOST_CHARACTERS, MOST_SECONDS = 600, 60.0
VERSION = 2
"""Goes up with every change of what is spoken for the same request (2: the decoder of `vits_decoder`)."""
_GPU_BATCH = 16
_TRAINING_ONLY = "posterior_encoder."
"""What only training needs may be missing."""


class VitsVoice:
    """A checkpoint that speaks; `side_by_side` is how many utterances are computed at a time on a CPU."""

    def __init__(self, folder: Path, *, device: str = "cpu", side_by_side: int = 1) -> None:
        self._reader = VitsReader.open(folder, phonemise=EspeakPhonemes)
        self._device = _device(device)
        model = _model(folder, self._reader)
        self._network: VitsNetwork | None = VitsNetwork(model.to(self._device)).eval()
        self._crew: Crew[Any] = Crew(self._network)
        self._side_by_side = side_by_side
        self._names = _speaker_names(model.config)
        self.rate_hz = int(model.config.sampling_rate)
        self._most_frames = int(MOST_SECONDS * self.rate_hz / self._network.hop)
        on_cpu = self._device.type == "cpu"
        self.card = _card(folder, self._reader, deterministic=on_cpu)
        self.traits = Traits(
            rate=True,
            random=_is_random(model),
            batch=max(1, side_by_side) if on_cpu else _GPU_BATCH,
            most_characters=MOST_CHARACTERS,
            most_seconds=MOST_SECONDS,
        )

    def speakers(self, language: str) -> list[str]:
        """Names of the speakers; numbers where the checkpoint has no names. ConfigError for another language."""
        own = self.card.languages
        asked = set(codes_of(language))
        if own and language != "und" and not any(asked & set(codes_of(one)) for one in own):
            raise ConfigError(
                f"the voice {self.card.name} cannot read {language!r}",
                next_step=f"it reads {', '.join(own)}: take a checkpoint of {language}, or ask for the language 'und' "
                "to have the text read as it is spelled",
            )
        return list(self._names)

    def speak(self, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
        """Samples at `rate_hz`, float32 in [-1, 1], shape (samples,), or a Refusal; one a request, in order.

        Reasons: those of `refusal_by`, unreadable-characters, truncated (longer than
        `traits.most_seconds`), voice-failed (the network gave no finite length or sound), no-audio.
        """
        if self._network is None:
            raise ConfigError("the voice was closed", next_step="open it again")
        prepared = [self._row(request) for request in requests]
        places = [place for place, row in enumerate(prepared) if isinstance(row, VitsRow)]
        places.sort(key=lambda place: _predicted(prepared[place]))
        size = 1 if self._device.type == "cpu" else _GPU_BATCH
        groups = [places[start : start + size] for start in range(0, len(places), size)]
        outcomes: list[Speech | Refusal] = [row if isinstance(row, Refusal) else _NOT_DONE for row in prepared]
        batches = [[row for place in group if isinstance(row := prepared[place], VitsRow)] for group in groups]
        for group, spoken in zip(groups, self._spoken(batches), strict=True):
            for place, samples in zip(group, spoken, strict=True):
                outcomes[place] = self._outcome(samples)
        return outcomes

    def close(self) -> None:
        """Lets go of the weights and of the phonemiser; it can be called twice."""
        if isinstance(self._reader.phonemise, EspeakPhonemes):
            self._reader.phonemise.close()
        self._network = None
        self._crew = Crew(nn.Module())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _row(self, request: SpeechRequest) -> VitsRow | Refusal:
        if refused := refusal_by(self, request):
            return refused
        tokens = self._reader.read(request.text)
        if isinstance(tokens, Refusal):
            return tokens
        speaker = self._names.index(request.speaker) if request.speaker else 0
        return VitsRow(tuple(tokens), seed=request.seed, speaker=speaker, rate=request.rate)

    def _spoken(self, batches: list[list[VitsRow]]) -> list[list[Samples | int]]:
        def work(network: VitsNetwork, rows: list[VitsRow]) -> list[Samples | int]:
            return network.speak(rows, most_frames=self._most_frames)

        with _threads(min(self._side_by_side, len(batches)) if self._device.type == "cpu" else None):
            return list(self._crew.map(work, batches))

    def _outcome(self, samples: Samples | int) -> Speech | Refusal:
        if isinstance(samples, int):
            if samples < 0:
                return Refusal("voice-failed", "the network gave no finite length for this text")
            return Refusal("truncated", f"it would take {samples} frames; at most {MOST_SECONDS:g} s are spoken")
        if not np.isfinite(samples).all():
            return Refusal("voice-failed", "the network gave samples that are no numbers")
        if not np.abs(samples).max(initial=0.0) > _SILENCE:
            return Refusal("no-audio", "the voice gave no sound for this text")
        return samples


_NOT_DONE = Refusal("not-done", "stopped before this row")
_SILENCE = 1e-5
_MARKS = re.compile(r"([;:,.!?\u00a1\u00bf\u2014\u2026\"\u00ab\u00bb\u201c\u201d]+)")
"""Punctuation that stays as it is between phonemes: phoneme checkpoints were trained with it."""


class EspeakPhonemes:
    """The way from text to phonemes by espeak-ng, whose worker starts at the first text."""

    def __init__(self, language: str) -> None:
        self._language = "en-us" if language in ("", "en", "eng") else language
        self._voice: Any = None

    def __call__(self, text: str) -> str:
        """Phonemes of `text`, punctuation in its places; MissingExtra where espeak-ng is not installed."""
        if self._voice is None:
            self._voice = import_module("orature.engines.espeak_voice").begin("")
        pieces = _MARKS.split(text)
        words = [place for place, piece in enumerate(pieces) if place % 2 == 0 and piece.strip()]
        spoken = self._voice.phonemes([pieces[place].strip() for place in words], self._language)
        for place, phonemes in zip(words, spoken, strict=True):
            front, back = (" " if pieces[place][at].isspace() else "" for at in (0, -1))
            pieces[place] = f"{front}{phonemes}{back}"
        return "".join(pieces)

    def close(self) -> None:
        """Ends the worker."""
        if self._voice is not None:
            self._voice.close()
            self._voice = None


def begin(model: str, *, workers: int = 1, device: str = "cpu", threads: int | None = None) -> VitsVoice:
    """Loads the checkpoint in a folder (or a hub id whose download is allowed).

    On a CPU so many utterances are computed side by side as there are `workers` or `threads`. ModelError for a folder
    that is none of VITS, MissingExtra where its text needs uroman, ConfigError for a device that is not here.
    """
    return VitsVoice(_folder(model), device=device, side_by_side=max(workers, threads or torch.get_num_threads()))


def files(model: str) -> list[Path]:
    """Config, vocabulary, tokenizer and weights of the checkpoint."""
    folder = _folder(model)
    small = [folder / name for name in (CONFIG, VOCABULARY, TOKENIZER)]
    return [path for path in small if path.is_file()] + weight_files(folder)


def _folder(model: str) -> Path:
    if not model:
        raise ConfigError(
            "vits: names no checkpoint", next_step="write vits:FOLDER, for example vits:models/mms-tts-swh"
        )
    return model_folder(model)


def _model(folder: Path, reader: VitsReader) -> Any:
    kind = read_config(folder).get("model_type")
    if kind != "vits":
        raise ModelError(
            f"this is no checkpoint of VITS but of {kind!r}",
            where=str(folder / CONFIG),
            next_step="name a folder of MMS-TTS or another VITS in the layout of transformers",
        )
    config = config_of(folder)
    if max(reader.tokens.values()) >= config.vocab_size:
        more = sum(1 for number in reader.tokens.values() if number >= config.vocab_size)
        raise ModelError(
            f"vocab.json has {more} tokens beyond the {config.vocab_size} that the network knows",
            where=str(folder / VOCABULARY),
            next_step=WHOLE,
        )
    model: Any = load_model(folder, config, auto="VitsModel", may_lack=(_TRAINING_ONLY,), may_have=())
    model.posterior_encoder = nn.Identity()
    for layer in model.modules():
        if nn.utils.parametrize.is_parametrized(layer, "weight"):
            nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model


def _speaker_names(config: Any) -> tuple[str, ...]:
    count = max(1, int(config.num_speakers))
    named = getattr(config, "speaker_names", None)
    if isinstance(named, list) and len(named) == count and len(set(named)) == count:
        return tuple(str(name) for name in named)
    return ("",) if count == 1 else tuple(str(number) for number in range(count))


def _is_random(model: Any) -> bool:
    by_length = model.config.use_stochastic_duration_prediction and float(model.noise_scale_duration) > 0
    return bool(by_length or float(model.noise_scale) > 0)


def _card(folder: Path, reader: VitsReader, *, deterministic: bool) -> Card:
    own = read_json(folder / FACTS, optional=True)
    facts = {
        **facts_of_card(folder),
        **{name: value for name, value in own.items() if isinstance(value, str) and value},
    }
    languages = facts.get("languages") or facts.get("language") or reader.language
    digest = hashlib.sha256()
    for path in sorted(files(str(folder))):
        digest.update(f"{path.name} {digest_file(path)}\n".encode())
    return Card(
        name=facts["name"],
        family="vits",
        languages=tuple(one.strip() for one in languages.split(",") if one.strip()),
        licence=facts.get("licence", "not stated"),
        revision=f"vits-{VERSION} {digest.hexdigest()[:16]}",
        deterministic=deterministic,
    )


def _predicted(row: VitsRow | Refusal) -> float:
    """A number that grows with the length of the speech."""
    return 0.0 if isinstance(row, Refusal) else len(row.tokens) / row.rate


def _device(name: str) -> torch.device:
    wanted = name if name != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {name!r}", next_step="choose auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here", next_step="choose the device cpu")
    return device


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """So many threads of torch inside; one thread an utterance, so that its samples are the same on any machine."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(max(1, number))
    try:
        yield
    finally:
        if number is not None:
            torch.set_num_threads(before)
