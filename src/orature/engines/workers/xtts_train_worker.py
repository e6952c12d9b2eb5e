"""Trains XTTS-v2's transformer on a folder of recordings: a training worker (docs/voice_worker.md) for coqui-tts.

It is run by the Python of an environment of its own and imports nothing of Orature at run time. The vocabulary, the
loss and the run lie in xtts_vocabulary.py, xtts_learning.py and xtts_loop.py, which need no coqui-tts; its model, the
frozen codec and the folder that comes out in xtts_folder.py and xtts_codec.py.

Example::

    python -I xtts_train_worker.py job.json
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from orature.engines.workers.training import Trouble, beside, run, tell
    from orature.engines.workers.xtts_codec import STRIDE, codec_of, codes_of, require_codec
    from orature.engines.workers.xtts_folder import latents_of, load_grown, read_table, speakers_of, write_voice
    from orature.engines.workers.xtts_learning import RATE_HZ, Prompt, Row, Tuning, next_token_loss, trained_names
    from orature.engines.workers.xtts_loop import Run
    from orature.engines.workers.xtts_sampling import LIMITS, Refused, prepared
    from orature.engines.workers.xtts_vocabulary import Extended, encode, extended, lacking, tags_of, tokenizer_of
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from training import Trouble, beside, run, tell
    from xtts_codec import STRIDE, codec_of, codes_of, require_codec
    from xtts_folder import latents_of, load_grown, read_table, speakers_of, write_voice
    from xtts_learning import RATE_HZ, Prompt, Row, Tuning, next_token_loss, trained_names
    from xtts_loop import Run
    from xtts_sampling import LIMITS, Refused, prepared
    from xtts_vocabulary import Extended, encode, extended, lacking, tags_of, tokenizer_of

REJECTS, CODES = "rejects.jsonl", "codes.safetensors"
_LEAST_LIMIT, _MOST_LIMIT = 40, 400
_MOST_SPEAKERS, _CLIPS_EACH = 50, 3


@dataclass(frozen=True)
class Given:
    """A row of the job with its prepared text."""

    id: str
    split: str
    audio: Path
    samples: int
    text: str
    tag: str
    speaker: str


class Rejects:
    """Why rows are left out; written to `rejects.jsonl` for the client to count."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []

    def add(self, row: str, split: str, reason: str, detail: str) -> None:
        self.rows.append({"id": row, "split": split, "reason": reason, "detail": detail})

    def write(self, path: Path) -> None:
        with beside(path) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Trains and writes the folder `out`; goes on where an earlier try with the same `state` was cut."""
    config, start, state = job["config"], Path(job["start"]), Path(job["state"])
    state.mkdir(parents=True, exist_ok=True)
    device, table = _device(job), read_table(start)
    require_codec(start)
    rejects = Rejects()
    given = _given(job, rejects)
    found = _vocabulary(table, given, config)
    model = load_grown(start, found, state / "vocab.json", seed=config["seed"])
    model.requires_grad_(False)
    model.to(device)
    model.train(False)  # `eval` of coqui's adds copies for its own sampling
    most = min(int(config["most_text_tokens"]), int(model.args.gpt_max_text_tokens) - 1)
    texts = _encoded(found, given, most, rejects)
    given = [row for row in given if row.id in texts]
    codes = _codes(start, model, given, state, device)
    rows = {split: _rows(given, split, texts, codes, model, rejects) for split in ("train", "dev")}
    rejects.write(state / REJECTS)
    if not rows["train"] or not rows["dev"]:
        raise Trouble("corpus", f"{len(rows['train'])} rows to train on and {len(rows['dev'])} to choose by are left")
    sounds = {row.id: row.audio for row in given}
    tuning = Tuning(**{one.name: config[one.name] for one in fields(Tuning)})

    def latents(rows: Sequence[Row], prompt: Prompt) -> Tensor:
        samples_S = _samples(sounds[rows[prompt.place].id])
        return latents_of(model, samples_S[prompt.start : prompt.start + prompt.length])

    running = Run(model.gpt, rows["train"], rows["dev"], tuning, latents, state=state)
    facts = _facts(model, found, rows)
    tell("facts", **facts)
    outcome = running.fit()
    model.train(False)  # `eval` of coqui's adds copies for its own sampling
    limits = _limits(given, tags_of(table), config)
    speakers = _speakers(model, rows["train"], sounds)
    write_voice(Path(job["out"]), start, model, found, sorted({row.tag for row in given}), limits, speakers)
    names = sorted(name.removesuffix("/latents") for name in speakers if name.endswith("/latents"))
    return {**facts, **outcome, "character_limits": limits, "speakers": names}


def cost(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of an update and weights, measured by one row of mean length (the quicker of two)."""
    start, means = Path(job["start"]), job["means"]
    device, table = _device(job), read_table(start)
    require_codec(start)
    state = Path(job["state"])
    state.mkdir(parents=True, exist_ok=True)
    model = load_grown(start, Extended(table, ()), state / "vocab.json", seed=1)
    model.to(device)
    model.train(False)  # `eval` of coqui's adds copies for its own sampling
    gpt = model.gpt
    names = set(trained_names(gpt))
    for name, parameter in gpt.named_parameters():
        parameter.requires_grad_(name in names)
    codes = max(1, min(int(means["seconds"] * RATE_HZ / STRIDE), int(gpt.max_gen_mel_tokens)))
    text = max(1, min(int(means["letters"]), int(gpt.max_text_tokens) - 3))
    condition = latents_of(model, torch.randn(3 * RATE_HZ, generator=torch.Generator().manual_seed(1)) * 0.1)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        loss = next_token_loss(gpt, [condition], [[1] * text], [[1] * codes])
        loss.weighted(1.0).backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    trained = sum(parameter.numel() for parameter in gpt.parameters() if parameter.requires_grad)
    whole = sum(parameter.numel() for parameter in model.parameters())
    return {"row_s": min(seconds), "trained": trained, "parameters": whole}


def _device(job: dict[str, Any]) -> torch.device:
    torch.set_num_threads(int(job["threads"]))
    wanted = str(job["device"])
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted != "cpu" and not torch.cuda.is_available():
        raise Trouble("config", f"there is no device {wanted!r} in the environment of xtts", next_step="--device cpu")
    return torch.device(wanted)


def _given(job: dict[str, Any], rejects: Rejects) -> list[Given]:
    """Rows with prepared texts: coqui's cleaner for the languages that it knows, ours (`prepared`) for all others."""
    tokenizer = import_module("TTS.tts.layers.xtts.tokenizer").VoiceBpeTokenizer()
    rows = Path(job["rows"])
    found = []
    for line in rows.read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)
        try:
            text = prepared(raw["text"], raw["tag"], tokenizer.preprocess_text, limits=None)
        except Refused as refused:
            rejects.add(raw["id"], raw["split"], refused.answer["reason"], refused.answer["detail"])
            continue
        if not text:
            rejects.add(raw["id"], raw["split"], "text-empty", "nothing is left of the text")
            continue
        found.append(Given(**{**raw, "text": text, "audio": rows.parent / raw["audio"]}))
    return found


def _vocabulary(table: dict[str, Any], given: Sequence[Given], config: dict[str, Any]) -> Extended:
    """The vocabulary of the start, extended from texts of train alone; pieces are learned for new languages only."""
    known = tags_of(table)
    tags = {row.tag for row in given}
    if config["vocabulary"] == "keep":
        if tags - known:
            raise Trouble(
                "config", f"the model has no token for {', '.join(sorted(tags - known))}, and vocabulary=keep",
                next_step="leave vocabulary out: the language is then added",
            )  # fmt: skip
        return Extended(table, ())
    texts = [row.text for row in given if row.split == "train"]
    fresh = [row.text for row in given if row.split == "train" and row.tag not in known]
    most = int(config["new_pieces"]) if sum(map(len, fresh)) >= int(config["little_text"]) else 0
    try:
        letters = extended(table, texts, tags, most_pieces=0)
        pieces = extended(letters.table, fresh, (), most_pieces=most)
    except (ValueError, KeyError) as error:
        raise Trouble("model", f"vocab.json cannot be extended: {error}") from error
    return Extended(pieces.table, (*letters.new, *pieces.new))


def _encoded(found: Extended, given: Sequence[Given], most: int, rejects: Rejects) -> dict[str, tuple[int, ...]]:
    """Ids by row; rows with characters that the vocabulary lacks, or with too many tokens, are rejected."""
    tokenizer = tokenizer_of(found.table)
    texts = {}
    for row in given:
        ids = tuple(encode(tokenizer, row.text, row.tag))
        if unknown := lacking(found.table, row.text):
            rejects.add(row.id, row.split, "characters-unknown", f"the vocabulary lacks {' '.join(unknown)}")
        elif len(ids) > most:
            rejects.add(row.id, row.split, "too-many-tokens", f"{len(ids)} tokens of text; at most {most} are taken")
        else:
            texts[row.id] = ids
    return texts


def _codes(
    start: Path, model: Any, given: Sequence[Given], state: Path, device: torch.device
) -> dict[str, tuple[int, ...]]:
    """Audio codes by row, computed once a run: the codec is frozen."""
    safetensors = import_module("safetensors.torch")
    if not (state / CODES).is_file():
        codec = codec_of(start, tokens=int(model.args.gpt_num_audio_tokens) - 2, device=device)
        table = {}
        for place, row in enumerate(given):
            table[row.id] = torch.tensor(codes_of(codec, _samples(row.audio)), dtype=torch.int32)
            tell("reading", done=place + 1, total=len(given))
        with beside(state / CODES) as part:
            safetensors.save_file(table, part)
    return {name: tuple(value.tolist()) for name, value in safetensors.load_file(state / CODES).items()}


def _rows(
    given: Sequence[Given],
    split: str,
    texts: dict[str, tuple[int, ...]],
    codes: dict[str, tuple[int, ...]],
    model: Any,
    rejects: Rejects,
) -> list[Row]:
    most = int(model.gpt.max_gen_mel_tokens)
    rows = []
    for row in given:
        if row.split != split:
            continue
        if len(codes[row.id]) > most:
            detail = f"{len(codes[row.id])} audio codes; the model has at most {most}"
            rejects.add(row.id, split, "too-long", detail)
        else:
            rows.append(Row(row.id, texts[row.id], codes[row.id], row.samples, row.speaker))
    return rows


def _samples(path: Path) -> Tensor:
    samples, rate_hz = import_module("soundfile").read(path, dtype="float32")
    if rate_hz != RATE_HZ:
        raise Trouble("corpus", f"a recording of the job has {rate_hz} Hz, not {RATE_HZ}", where=str(path))
    return torch.from_numpy(samples)


def _limits(given: Sequence[Given], known: set[str], config: dict[str, Any]) -> dict[str, int]:
    """Characters of one utterance by new language: what fits the longest audio at the median speaking rate."""
    rates = defaultdict(list)
    for row in given:
        if row.split == "train":
            rates[row.tag].append(len(row.text) * RATE_HZ / row.samples)
    longest_s = int(config["longest_samples"]) / RATE_HZ
    return {
        tag: int(config["character_limit"] or min(_MOST_LIMIT, max(_LEAST_LIMIT, median(found) * longest_s)))
        for tag, found in sorted(rates.items())
        if tag not in known and tag not in LIMITS
    }


def _speakers(model: Any, rows: Sequence[Row], sounds: dict[str, Path]) -> dict[str, Tensor]:
    """Latents of the speakers that train names, so that the voice also speaks without a prompt."""
    clips = defaultdict(list)
    for row in sorted(rows, key=lambda one: (-one.samples, one.id)):
        if row.speaker:
            clips[row.speaker].append(row)
    most = sorted(clips, key=lambda name: (-sum(row.samples for row in clips[name]), name))[:_MOST_SPEAKERS]
    return speakers_of(
        model, model.config, {name: [_samples(sounds[row.id]) for row in clips[name][:_CLIPS_EACH]] for name in most}
    )


def _facts(model: Any, found: Extended, rows: dict[str, list[Row]]) -> dict[str, Any]:
    table = dict(model.gpt.named_parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained": sum(table[name].numel() for name in trained_names(model.gpt)),
        "rate_hz": int(model.args.output_sample_rate),
        "text_tokens": len(model.gpt.text_embedding.weight),
        "new_tokens": [token.text for token in found.new],
        "train_rows": len(rows["train"]),
        "dev_rows": len(rows["dev"]),
        "train_s": sum(row.samples for row in rows["train"]) / RATE_HZ,
    }


def main(job: dict[str, Any]) -> dict[str, Any]:
    """A job of the kind `op`: train or cost."""
    if job.get("op") not in ("train", "cost"):
        raise Trouble("config", f"there is no operation {job.get('op')!r}")
    try:
        return train(job) if job["op"] == "train" else cost(job)
    except torch.OutOfMemoryError as error:
        raise Trouble(
            "failed", f"the memory of the GPU ran out: {' '.join(str(error).split())[:200]}",
            next_step="lower batch and raise accumulation by the same factor: the update stays the same",
        ) from error  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
