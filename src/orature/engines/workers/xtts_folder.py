"""Folders of XTTS-v2 for training: the start with a grown vocabulary, and the voice that comes out.

It runs in the environment of coqui-tts and imports nothing of Orature.

Example::

    model = load_grown(Path("XTTS-v2"), found, Path("state/vocab.json"), seed=1)
    write_voice(Path("out"), Path("XTTS-v2"), model, found, ["sw"], {"sw": 210}, speakers)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from orature.engines.workers.training import Trouble, beside
    from orature.engines.workers.xtts_codec import CODEC, read_codec, write_codec
    from orature.engines.workers.xtts_learning import RATE_HZ, grown
    from orature.engines.workers.xtts_vocabulary import Extended
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from training import Trouble, beside
    from xtts_codec import CODEC, read_codec, write_codec
    from xtts_learning import RATE_HZ, grown
    from xtts_vocabulary import Extended

CONFIG, VOCABULARY, MODEL, SPEAKERS, NOTES = (
    "config.json",
    "vocab.json",
    "model.safetensors",
    "speakers.safetensors",
    "orature.json",
)
LIMITS = "character_limits"
_TEXT = ("gpt.text_embedding.weight", "gpt.text_head.weight", "gpt.text_head.bias")


def read_table(folder: Path) -> dict[str, Any]:
    """The vocabulary of a folder as it stands in vocab.json; Trouble where it is none."""
    try:
        table: dict[str, Any] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble("model", f"vocab.json cannot be read: {error}", where=str(folder)) from error
    return table


def load_grown(folder: Path, found: Extended, vocabulary: Path, *, seed: int) -> Any:
    """The model of a folder with rows for the new tokens; `vocabulary` is where the new vocab.json may be written.

    Trouble (model) where something is missing, or where it is no XTTS of version 2.
    """
    for name in (CONFIG, MODEL):
        if not (folder / name).is_file():
            raise Trouble(
                "model", f"the folder has no {name}", where=str(folder),
                next_step="orature voices add xtts --accept-licence --convert FOLDER",
            )  # fmt: skip
    with beside(vocabulary) as part:
        part.write_text(json.dumps(found.table, ensure_ascii=False), encoding="utf-8")
    xtts, configs = import_module("TTS.tts.models.xtts"), import_module("TTS.tts.configs.xtts_config")
    tokenizers = import_module("TTS.tts.layers.xtts.tokenizer")
    try:
        config = configs.XttsConfig()
        config.load_json(str(folder / CONFIG))
        config.model_args.gpt_number_text_tokens = None
        model = xtts.Xtts(config)
        model.tokenizer = tokenizers.VoiceBpeTokenizer(vocab_file=str(vocabulary))
        model.init_models()
        weights = import_module("safetensors.torch").load_file(folder / MODEL)
        for name in _TEXT:
            weights[name] = grown(weights[name], [(one.number, one.origins) for one in found.new], seed=seed)
        model.load_state_dict(weights)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        said = " ".join(str(error).split())[:300]
        raise Trouble("model", f"the model cannot be loaded: {said}", where=str(folder)) from error
    if not model.args.gpt_use_perceiver_resampler:
        raise Trouble("model", "this is XTTS of version 1, which is not trained here", where=str(folder))
    return model


@torch.no_grad()
def latents_of(model: Any, samples_S: Tensor) -> Tensor:
    """Latents (1, n, C) of one stretch of a recording at 22.05 kHz, as the model reads a chunk of a prompt."""
    mel_1KF = import_module("TTS.tts.models.xtts").wav_to_mel_cloning(
        samples_S[None],
        mel_norms=model.mel_stats.cpu(),
        n_fft=2048,
        hop_length=256,
        win_length=1024,
        power=2,
        normalized=False,
        sample_rate=RATE_HZ,
        f_min=0,
        f_max=8000,
        n_mels=80,
    )
    latents: Tensor = model.gpt.get_style_emb(mel_1KF.to(model.device)).transpose(1, 2)
    return latents


def speakers_of(model: Any, config: Any, clips: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    """Latents and embedding by "name/latents" and "name/embedding" of each speaker, from some clips of theirs."""
    table = {}
    for name, parts in sorted(clips.items()):
        audio_1S = torch.cat(list(parts))[None, : RATE_HZ * int(config.max_ref_len)]
        latents = model.get_gpt_cond_latents(audio_1S, RATE_HZ, config.gpt_cond_len, config.gpt_cond_chunk_len)
        table[f"{name}/latents"] = latents.detach().cpu().contiguous().clone()
        table[f"{name}/embedding"] = model.get_speaker_embedding(audio_1S, RATE_HZ).detach().cpu().contiguous().clone()
    return table


def write_voice(
    out: Path,
    start: Path,
    model: Any,
    found: Extended,
    tags: Sequence[str],
    limits: Mapping[str, int],
    speakers: Mapping[str, Tensor],
) -> None:
    """A folder that the worker `xtts:` speaks with and that training goes on from; whole or not there at all."""
    save_file, load_file = (getattr(import_module("safetensors.torch"), name) for name in ("save_file", "load_file"))
    described = json.loads((start / CONFIG).read_text(encoding="utf-8"))
    described["model_args"]["gpt_number_text_tokens"] = len(model.gpt.text_embedding.weight)
    listed = described.setdefault("languages", [])
    listed += [tag for tag in tags if tag not in listed]
    notes = {}
    if (start / NOTES).is_file():
        notes = json.loads((start / NOTES).read_text(encoding="utf-8"))
    notes[LIMITS] = {**notes.get(LIMITS, {}), **limits}
    known = load_file(start / SPEAKERS) if (start / SPEAKERS).is_file() else {}
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with beside(out) as part:
        part.mkdir(parents=True)
        (part / CONFIG).write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
        (part / VOCABULARY).write_text(json.dumps(found.table, ensure_ascii=False), encoding="utf-8")
        (part / NOTES).write_text(json.dumps({LIMITS: notes[LIMITS]}), encoding="utf-8")
        save_file(weights, part / MODEL, metadata={"format": "pt"})
        if known or speakers:
            save_file({**known, **speakers}, part / SPEAKERS)
        write_codec(part / CODEC, read_codec(start))
