"""XTTS-v2 as an engine of the voice worker (serve.py), run by the Python of an environment of its own with coqui-tts.

It imports nothing of Orature at run time. `orature voices add xtts` makes the environment, `xtts:FOLDER` starts it.
The weights are read from model.safetensors; `convert FOLDER` makes it once from the published model.pth, which is a
pickle, with the restricted reader of the environment's own libraries.

Example::

    python xtts_worker.py convert XTTS-v2/
    python -I serve.py xtts_worker.py XTTS-v2/ --batch 8 --device cuda

Sampling is ours (xtts_sampling.py): rows of different length are padded after their text-stop token, the pads and
nothing else are masked, and each row draws from its own seed. Only code sampling is batched; latents and sound are
computed a sentence at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from orature.engines.workers.xtts_codec import convert_codec
    from orature.engines.workers.xtts_sampling import (
        LIMITS,
        Chooser,
        Refused,
        base_language,
        int16,
        prepared,
        sample_codes,
    )
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from xtts_codec import convert_codec
    from xtts_sampling import LIMITS, Chooser, Refused, base_language, int16, prepared, sample_codes

VERSION = 2
LICENCE = "CPML 1.0 (Coqui Public Model License): non-commercial use only"
WEIGHTS, CONFIG, VOCABULARY, SPEAKERS = "model.safetensors", "config.json", "vocab.json", "speakers.safetensors"
NOTES = "orature.json"
"""Written by training: `character_limits` of the languages that it added."""
MOST_SECONDS = 60.0
_KEPT_PROMPTS = 512
_SHORTEST_PROMPT_S = 0.5
_TAG = re.compile(r"\[([a-z]{2,3}(?:-[a-z]{2,8})?)\]")


class Engine:
    """A local XTTS-v2 folder."""

    def __init__(self, folder: Path, *, device: str, batch: int, temperature: float | None) -> None:
        self._device = torch.device(device)
        self._model, self._config = _load(folder)
        self._model.to(self._device).eval()
        self._temperature = self._config.temperature if temperature is None else temperature
        self._tags = sorted(_tags(folder / VOCABULARY))
        self._studio = _studio(folder / SPEAKERS)
        self._prompts: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()
        self._limits = {**LIMITS, **_own_limits(folder / NOTES)}
        files = [folder / name for name in (CONFIG, VOCABULARY, WEIGHTS, SPEAKERS) if (folder / name).is_file()]
        self.hello = {
            "engine": "xtts",
            "revision": f"xtts-{VERSION} coqui-tts {version('coqui-tts')} {digest_of(files)} t{self._temperature:g}",
            "rate_hz": int(self._model.args.output_sample_rate),
            "licence": LICENCE,
            "languages": self._tags,
            "speakers": {"*": sorted(self._studio)},
            "deterministic": batch == 1 and self._device.type == "cpu",
            "traits": {
                "rate": True,
                "prompts": True,
                "random": self._temperature > 0,
                "batch": batch,
                "most_characters": max(self._limits.values()),
                "most_seconds": MOST_SECONDS,
            },
        }

    def speak(self, requests: list[dict[str, Any]]) -> Iterator[tuple[int, bytes | dict[str, str]]]:
        """Codes of all requests together, then latents and sound of each by itself."""
        ready: list[tuple[int, dict[str, Any], list[int], tuple[torch.Tensor, torch.Tensor]]] = []
        for place, request in enumerate(requests):
            try:
                ready.append((place, request, self._tokens(request), self._voice_of(request)))
            except Refused as refused:
                yield place, refused.answer
        if not ready:
            return
        gpt, config = self._model.gpt, self._config
        choosers = [
            Chooser(
                int(request.get("seed", 0)),
                temperature=self._temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                repetition_penalty=float(config.repetition_penalty),
            )
            for _, request, _, _ in ready
        ]
        conditions, texts = [one[3][0] for one in ready], [one[2] for one in ready]
        found = sample_codes(gpt, conditions, texts, choosers, int(gpt.max_gen_mel_tokens))
        for (place, request, tokens, voice), codes in zip(ready, found, strict=True):
            try:
                yield place, self._sound(tokens, codes, voice, float(request.get("rate", 1.0)))
            except Refused as refused:
                yield place, refused.answer

    def _tokens(self, request: dict[str, Any]) -> list[int]:
        tag = self._tag(str(request.get("language", "und")))
        tokenizer = self._model.tokenizer
        text = prepared(str(request["text"]), tag, tokenizer.preprocess_text, self._limits)
        ids = tokenizer.tokenizer.encode(f"[{tag}]{text}".replace(" ", "[SPACE]")).ids
        if tokenizer.tokenizer.token_to_id("[UNK]") in ids:
            known = {token for token in tokenizer.tokenizer.get_vocab() if len(token) == 1}
            lacking = sorted({one for one in text if one not in known and not one.isspace()})
            raise Refused("unreadable-characters", f"the vocabulary lacks {', '.join(map(repr, lacking[:20]))}")
        most = int(self._model.args.gpt_max_text_tokens)
        if len(ids) >= most:
            raise Refused("too-long", f"{len(ids)} tokens; at most {most - 1}")
        return list(ids)

    def _tag(self, language: str) -> str:
        wanted = language.replace("_", "-").lower()
        for tag in self._tags:
            if tag == wanted:
                return tag
        for tag in self._tags:
            if base_language(tag) == base_language(wanted):
                return tag
        raise Refused("unknown-language", f"the model has no language token for {language!r}; {', '.join(self._tags)}")

    def _voice_of(self, request: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (1, n, C) and speaker embedding (1, D, 1) of the prompt, kept for the next requests."""
        prompt, speaker = str(request.get("prompt", "")), str(request.get("speaker", ""))
        if not prompt:
            if speaker in self._studio:
                return self._studio[speaker]
            if self._studio and not speaker:
                return self._studio[min(self._studio)]
            raise Refused("no-prompt", "XTTS imitates the speaker of a recording: give a prompt")
        path = Path(prompt)
        try:
            state = path.stat()
        except OSError as error:
            raise Refused("bad-prompt", f"the prompt {path.name} cannot be read: {error.strerror}") from error
        key = f"{path}|{state.st_size}|{state.st_mtime_ns}"
        if key not in self._prompts:
            self._prompts[key] = self._imitated(path)
            if len(self._prompts) > _KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def _imitated(self, path: Path) -> tuple[torch.Tensor, torch.Tensor]:
        soundfile, torchaudio = import_module("soundfile"), import_module("torchaudio")
        try:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except (RuntimeError, OSError) as error:
            raise Refused("bad-prompt", f"the prompt {path.name} cannot be read: {error}") from error
        audio = torch.from_numpy(samples.mean(axis=1))[None]
        if audio.shape[1] < _SHORTEST_PROMPT_S * rate_hz or not bool(audio.abs().max() > 1e-4):
            raise Refused("bad-prompt", f"the prompt {path.name} is shorter than {_SHORTEST_PROMPT_S} s or silent")
        audio = torchaudio.functional.resample(audio, rate_hz, 22050)[:, : 22050 * int(self._config.max_ref_len)]
        model, config = self._model, self._config
        latents = model.get_gpt_cond_latents(audio, 22050, config.gpt_cond_len, config.gpt_cond_chunk_len)
        return latents.detach(), model.get_speaker_embedding(audio, 22050).detach()

    @torch.inference_mode()
    def _sound(
        self, tokens: list[int], codes: list[int] | None, voice: tuple[torch.Tensor, torch.Tensor], rate: float
    ) -> bytes:
        gpt = self._model.gpt
        ceiling_s = gpt.max_gen_mel_tokens * gpt.code_stride_len / self._model.args.input_sample_rate
        if codes is None:
            raise Refused("truncated", f"the speech did not end within {ceiling_s:.0f} s, the most that XTTS can say")
        latents = gpt(
            torch.tensor([tokens], device=self._device),
            torch.tensor([len(tokens)], device=self._device),
            torch.tensor([codes], device=self._device),
            torch.tensor([len(codes) * gpt.code_stride_len], device=self._device),
            cond_latents=voice[0].to(self._device),
            return_latent=True,
        )
        if rate != 1.0:
            scaled = torch.nn.functional.interpolate(latents.transpose(1, 2), scale_factor=1.0 / rate, mode="linear")
            latents = scaled.transpose(1, 2)
        samples = self._model.hifigan_decoder(latents, g=voice[1].to(self._device)).cpu().numpy().reshape(-1)
        if len(samples) > MOST_SECONDS * self._model.args.output_sample_rate:
            raise Refused("truncated", f"at this rate the speech is longer than {MOST_SECONDS:g} s")
        return int16(samples)


def digest_of(files: list[Path]) -> str:
    """One digest of the names and bytes of files, shortened."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            whole.update(f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _tags(path: Path) -> set[str]:
    table = json.loads(path.read_text(encoding="utf-8"))
    names = [*table.get("model", {}).get("vocab", {}), *(one["content"] for one in table.get("added_tokens", []))]
    return {match[1] for name in names if (match := _TAG.fullmatch(name))}


def _own_limits(path: Path) -> dict[str, int]:
    """Characters by language that training found, {} for folders that were not trained here."""
    if not path.is_file():
        return {}
    limits = json.loads(path.read_text(encoding="utf-8")).get("character_limits", {})
    return {str(language): int(limit) for language, limit in limits.items()}


def _studio(path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Speakers that come with the model: latents and embedding of each by name."""
    if not path.is_file():
        return {}
    table = import_module("safetensors.torch").load_file(path)
    names = {name.rpartition("/")[0] for name in table}
    return {name: (table[f"{name}/latents"], table[f"{name}/embedding"]) for name in sorted(names)}


def _stop(reason: str, detail: str) -> SystemExit:
    return SystemExit({"reason": reason, "detail": detail})


def _load(folder: Path) -> tuple[Any, Any]:
    """The model with every weight in its place, and its config; SystemExit says what is wrong with the folder."""
    if not (folder / WEIGHTS).is_file() and (folder / "model.pth").is_file():
        raise _stop("bad-model", f"{folder} holds pickled weights (model.pth): convert them once, see the next step")
    for name in (CONFIG, VOCABULARY, WEIGHTS):
        if not (folder / name).is_file():
            raise _stop("bad-model", f"{folder} is no folder of XTTS-v2: it has no {name}")
    xtts, configs = import_module("TTS.tts.models.xtts"), import_module("TTS.tts.configs.xtts_config")
    tokenizers = import_module("TTS.tts.layers.xtts.tokenizer")
    try:
        config = configs.XttsConfig()
        config.load_json(str(folder / CONFIG))
        model = xtts.Xtts(config)
        model.tokenizer = tokenizers.VoiceBpeTokenizer(vocab_file=str(folder / VOCABULARY))
        model.init_models()
        model.load_state_dict(import_module("safetensors.torch").load_file(folder / WEIGHTS))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _stop("bad-model", f"{folder} cannot be loaded: {str(error).splitlines()[0][:300]}") from error
    return model, config


def convert(folder: Path) -> None:
    """Writes model.safetensors, speakers.safetensors and (where the codec is there) dvae.safetensors beside the .pth
    files that are published, by restricted reading."""
    xtts, io = import_module("TTS.tts.models.xtts"), import_module("trainer.io")
    save_file = import_module("safetensors.torch").save_file
    with xtts._legacy_safe_globals():
        table = io.load_fsspec(folder / "model.pth", map_location="cpu")
    table = table.get("model", table)
    gone = (
        "torch_mel_spectrogram_style_encoder",
        "torch_mel_spectrogram_dvae",
        "dvae",
        "gpt.gpt_inference",
        "gpt.gpt.wte",
    )
    renamed = {name.removeprefix("xtts."): value for name, value in table.items()}
    kept = {name: value.contiguous().clone() for name, value in renamed.items() if not name.startswith(gone)}
    part = folder / (WEIGHTS + ".part")
    save_file(kept, part, metadata={"format": "pt"})
    if (folder / "speakers_xtts.pth").is_file():
        speakers = io.load_fsspec(folder / "speakers_xtts.pth", map_location="cpu")
        flat = {}
        for name, voice in speakers.items():
            flat[f"{name}/latents"] = voice["gpt_cond_latent"].contiguous().clone()
            flat[f"{name}/embedding"] = voice["speaker_embedding"].contiguous().clone()
        save_file(flat, folder / SPEAKERS)
    part.rename(folder / WEIGHTS)
    convert_codec(folder)


def begin(arguments: list[str]) -> Engine:
    """The engine of a command line; SystemExit with a reason where it cannot start."""
    parser = argparse.ArgumentParser(prog="xtts_worker")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--temperature", type=float)
    given = parser.parse_args(arguments)
    if given.batch < 1:
        raise _stop("bad-arguments", "--batch must be at least 1")
    device = given.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not torch.cuda.is_available():
        raise _stop("bad-arguments", f"there is no device {device} here")
    return Engine(given.folder, device=device, batch=given.batch, temperature=given.temperature)


if __name__ == "__main__":
    if sys.argv[1:2] != ["convert"] or len(sys.argv) != 3:
        sys.exit("usage: xtts_worker.py convert FOLDER")
    convert(Path(sys.argv[2]))
