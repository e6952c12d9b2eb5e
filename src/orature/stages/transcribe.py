"""The stage that decodes one split of a corpus with a model: `hypotheses.jsonl`, one line an utterance.

Example::

    hypotheses = run.do(Transcribe(model=model, corpus=corpus, split="test"))
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from orature.core.errors import AudioError
from orature.core.identity import canonical_json, digest_rows
from orature.core.spool import in_order
from orature.core.types import AudioSpan, Hypothesis, Refusal, Utterance
from orature.data import audio
from orature.data.corpus import Corpus
from orature.data.tarspan import tar_span
from orature.engines.ctc_recogniser import Decoder
from orature.engines.protocol import Recogniser, Samples
from orature.engines.recognisers import load_recogniser
from orature.engines.search_config import SearchConfig
from orature.engines.torch_fast import Precision
from orature.flow import Ref, Stage, StageContext
from orature.flow.shards import shard_name
from orature.train.devices import prepare_device, usable_cores

HYPOTHESES = "hypotheses.jsonl"
_SHARD = 200
_GROUP, _GROUP_S = 64, 1200.0
"""Utterances that are given to the recogniser at once, and seconds at most (beyond the first of them)."""
_READERS = 2


class Transcribe(Stage):
    """Decodes a split; every utterance of it gets a line, a refused one with its reason.

    `decoder` is a folder with a decoder.json (see `TuneDecoder`; None: best path, or greedy), `language` chooses an
    adapter or a language token where the family has them. `precision` "bf16" computes matrix products in bfloat16 (of
    encoder-decoders: the encoder's): quicker on some processors, and not quite the same texts, so it is part of what is
    done. `search` is how an encoder-decoder looks for texts (None: greedily).
    """

    name: ClassVar[str] = "transcribe"
    version: ClassVar[int] = 3
    model: Ref
    corpus: Ref
    split: str = "test"
    decoder: Ref | None = None
    language: str = ""
    precision: Precision = "fp32"
    search: SearchConfig | None = None

    def run(self, ctx: StageContext) -> None:
        """Shards of 200 utterances, so that a crash costs no more than one; the digest leaves paths out."""
        corpus = Corpus.open(ctx.path_of(self.corpus)).split(self.split)
        on = ctx.resources
        device, threads = on.device, on.threads or 1
        if on.executor == "local":
            threads = on.threads or max(1, usable_cores() // on.workers)
            device = prepare_device(on.device, threads)
        decoder = "" if self.decoder is None else str(ctx.path_of(self.decoder))
        how = _How(str(ctx.path_of(self.model)), device, threads, self.language, decoder, self.precision, self.search)
        work = partial(_shard, how)
        began = time.monotonic()
        needs = self._needs(ctx, corpus) if on.executor == "ray" else []
        rows = in_order(corpus, key=lambda row: row.id, pack=_packed, unpack=_unpacked, within=ctx.state)
        shards = ctx.map_shards(_batches(rows), work, folder="parts", total=len(corpus), unit="utterances", needs=needs)
        spent_s = time.monotonic() - began
        with ctx.writing(HYPOTHESES) as part, part.open("w", encoding="utf-8", newline="\n") as whole:
            kept = sum(whole.write(line) > 0 for line in _lines(ctx.out, len(shards)))
        refused = sum(shard["refused"] for shard in shards)
        ctx.conserve(total=len(corpus), kept=kept, rejected={})
        audio_s = sum(row.audio.duration_s for row in corpus)
        ctx.note(rtf=round(spent_s / max(audio_s, 1e-9), 5), refused=refused)
        ctx.declare_digest(digest_rows(_without_place(line) for line in _lines(ctx.out, len(shards))))

    def _needs(self, ctx: StageContext, rows: Iterable[Utterance]) -> list[Path]:
        """What a worker reads that is not in its task: the models, and the folders (or archives) of recordings."""
        folders = [ctx.path_of(self.model), *([] if self.decoder is None else [ctx.path_of(self.decoder)])]
        files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
        spans = ((row.audio.path, tar_span(row.audio.path)) for row in rows)
        places = {Path(name).parent if span is None else Path(span.tar) for name, span in spans}
        return [*files, *sorted(places)]


def _lines(out: Path, shards: int) -> Iterator[str]:
    for number in range(shards):
        with (out / "parts" / shard_name(number) / HYPOTHESES).open(encoding="utf-8") as lines:
            yield from lines


def _without_place(line: str) -> bytes:
    record = json.loads(line)
    record.pop("audio")
    return canonical_json(record).encode()


def _batches(rows: Iterator[Utterance]) -> Iterator[Sequence[Utterance]]:
    while batch := list(islice(rows, _SHARD)):
        yield batch


def _packed(row: Utterance) -> list[Any]:
    audio = row.audio
    return [
        *(row.id, audio.path, audio.start_s, audio.duration_s, audio.digest),
        *(row.text, row.language, row.speaker, row.origin, row.source, row.licence, row.split),
    ]


def _unpacked(held: list[Any]) -> Utterance:
    return Utterance(held[0], AudioSpan(*held[1:5]), *held[5:])


@dataclass(frozen=True, slots=True)
class _How:
    """What a shard is decoded with (it crosses process borders)."""

    model: str
    device: str
    threads: int
    language: str
    decoder: str
    precision: Precision
    search: SearchConfig | None


@lru_cache(maxsize=1)
def _model(how: _How) -> Recogniser:
    """Once a process; sets its number of threads."""
    return load_recogniser(
        how.model,
        device=prepare_device(how.device, how.threads),
        language=how.language or None,
        decoder=decoder_in(how.decoder),
        precision=how.precision,
        search=how.search,
    )


def decoder_in(folder: str) -> Decoder | None:
    """The decoder of a folder with a decoder.json; None for ""."""
    if not folder:
        return None
    from orature.engines.decoder import load_decoder

    return load_decoder(Path(folder))


def _shard(how: _How, rows: Sequence[Utterance], folder: Path) -> dict[str, Any]:
    """Decodes one shard, utterances of like length together; audio that cannot be read becomes a refusal.

    Files are read by other threads while the model works, one group ahead of it.
    """
    recogniser = _model(how)
    outcomes: list[Hypothesis | Refusal] = [Refusal("not-decoded", "the recogniser gave no answer")] * len(rows)
    with ThreadPoolExecutor(_READERS) as readers:
        for group in _read_ahead(readers, rows):
            heard = {index: samples for index, samples in group.items() if not isinstance(samples, Refusal)}
            for index, samples in group.items():
                if isinstance(samples, Refusal):
                    outcomes[index] = samples
            for index, outcome in zip(heard, recogniser.transcribe(list(heard.values())), strict=True):
                outcomes[index] = outcome
    with (folder / HYPOTHESES).open("w", encoding="utf-8", newline="\n") as stream:
        for row, outcome in zip(rows, outcomes, strict=True):
            stream.write(json.dumps(record_of(row, outcome), ensure_ascii=False) + "\n")
    return {"rows": len(rows), "refused": sum(isinstance(outcome, Refusal) for outcome in outcomes)}


def _read_ahead(readers: ThreadPoolExecutor, rows: Sequence[Utterance]) -> Iterator[dict[int, Samples | Refusal]]:
    """Groups of recordings by their places, while the next one is being read."""
    coming: deque[dict[int, Future[Samples | Refusal]]] = deque()
    for group in _groups(rows):
        coming.append({index: readers.submit(_read, rows[index]) for index in group})
        if len(coming) > 1:
            yield {index: one.result() for index, one in coming.popleft().items()}
    for waiting in coming:
        yield {index: one.result() for index, one in waiting.items()}


def _groups(rows: Sequence[Utterance]) -> Iterator[list[int]]:
    """Places of recordings of like length, the shortest first."""
    group: list[int] = []
    seconds = 0.0
    for index in sorted(range(len(rows)), key=lambda index: (rows[index].audio.duration_s, index)):
        seconds += rows[index].audio.duration_s
        if group and (len(group) == _GROUP or seconds > _GROUP_S):
            yield group
            group, seconds = [], rows[index].audio.duration_s
        group.append(index)
    if group:
        yield group


def _read(row: Utterance) -> Samples | Refusal:
    try:
        return audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
    except AudioError as error:
        return Refusal(error.reason, error.what)


def record_of(row: Utterance, outcome: Hypothesis | Refusal) -> dict[str, Any]:
    """One line of `hypotheses.jsonl`."""
    heard = outcome if isinstance(outcome, Hypothesis) else Hypothesis(text="")
    refusal = {"reason": outcome.reason, "detail": outcome.detail} if isinstance(outcome, Refusal) else None
    record: dict[str, Any] = {
        "id": row.id,
        "reference": row.text or "",
        "hypothesis": heard.text,
        "speaker": row.speaker,
        "language": row.language,
        "origin": row.origin,
        "duration_s": round(row.audio.duration_s, 3),
        "score": round(heard.score, 5),
        "words": [
            {"text": w.text, "start_s": w.start_s, "end_s": w.end_s, "confidence": w.confidence} for w in heard.words
        ],
        "audio": {"path": row.audio.path, "start_s": row.audio.start_s, "duration_s": row.audio.duration_s},
        "refusal": refusal,
    }
    if heard.confidence is not None:
        record["confidence"] = round(heard.confidence, 4)
    if heard.alternatives:
        record["alternatives"] = [{"text": a.text, "score": round(a.score, 4)} for a in heard.alternatives]
    return record
