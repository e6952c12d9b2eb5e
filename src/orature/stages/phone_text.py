"""The stage that makes phone text: sentences of many languages, who reads each, and the phones that it says; no audio.

Example::

    stage = phone_text_stage([Path("text_udhr")], PhoneTextSettings(per_language=600), embargo=[Path("corpus")])
    phones = run.do(stage, on=Resources(workers=2))          # rows.jsonl.gz, rejects.jsonl, phones.json
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.files import write_json, write_json_lines
from orature.core.identity import digest_file, digest_json
from orature.data.corpus import reject_json
from orature.engines.espeak_languages import Readings
from orature.engines.espeak_pipe import SILENT, EspeakPipe
from orature.flow import Ref, Stage, StageContext
from orature.flow.shards import shard_name
from orature.stages.inputs import VoiceRef, corpus_ref, voice_ref
from orature.stages.phone_text_plan import Candidate, PhoneTextSettings, Planner
from orature.stages.phone_text_shard import KEPT, OUT, PhoneTextWork, close_espeak
from orature.stages.synthesise import read_embargo
from orature.text.phone_corpus import FORMAT, REJECTS, ROWS, SUMMARY, PhoneRow, fitted_tempo, write_rows
from orature.text.phone_sources import source_files, texts_by_language

_SHARDS = "phones"
_PER_SHARD = 500


class PhoneText(Stage):
    """Sentences of `texts` (see `text/phone_sources.py`) as rows for voices, after `settings`.

    Nothing that is nearly a dev or test sentence of a corpus of `embargo` is taken. The artefact's digest is that of
    its rows, whatever the workers. `licences` are what a person says of the texts, for the card of a model.
    """

    name: ClassVar[str] = "phone-text"
    version: ClassVar[int] = 1

    texts: tuple[Ref, ...]
    names: tuple[str, ...]
    licences: tuple[str, ...] = ()
    voice: VoiceRef
    settings: PhoneTextSettings = PhoneTextSettings()
    embargo: tuple[Ref, ...] = ()
    reject_limit: float = Field(default=0.6, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes rows.jsonl.gz, rejects.jsonl, phones.json."""
        planner = self._planner(ctx)
        candidates = [candidate for own in planner.candidates() for candidate in own]
        work = PhoneTextWork(self.settings, self.voice.revision)
        try:
            shards = ctx.map_shards(
                _batches(candidates), work, folder=_SHARDS, total=len(candidates), unit="sentences", aside=True
            )
        finally:
            close_espeak()
        rejected = Counter(reject.reason for reject in planner.rejects)
        pairs: dict[str, list[tuple[int, float]]] = {}
        for shard in shards:
            rejected.update(shard["rejected"])
            for voice, own in shard["tempo"].items():
                pairs.setdefault(voice, []).extend((int(n), float(s)) for n, s in own)
        folders = [ctx.state / _SHARDS / shard_name(number) for number in range(len(shards))]
        tempos = {voice: fitted_tempo(own) for voice, own in sorted(pairs.items())}
        rows, silent = _told(folders, set(tempos))
        rejected.update({"no-audio": len(silent)} if silent else {})
        if not any(row.split == "train" for row in rows):
            raise CorpusError("no sentence is left for training", next_step="see rejects.jsonl; give more text")
        with ctx.writing(ROWS) as part:
            digest = write_rows(part, rows)
        with ctx.writing(REJECTS) as part:
            lines = [reject_json(reject) for reject in planner.rejects]
            write_json_lines(part, [*lines, *_lines(folders, OUT), *silent])
        facts = self._facts(rows, {voice: [t.start_s, t.phone_s] for voice, t in tempos.items()}, rejected)
        facts["pieces_unused"] = planner.unused
        facts["digest"] = digest_json({"rows": digest, "tempo": facts["tempo"]})
        with ctx.writing(SUMMARY) as part:
            write_json(part, facts)
        total = len(planner.rejects) + len(candidates)
        ctx.note(sentences=len(rows), languages=len(facts["languages"]), phones=len(facts["phones"]))
        ctx.conserve(total=total, kept=len(rows), rejected=rejected, reject_limit=self.reject_limit)
        ctx.declare_digest(facts["digest"])

    def _planner(self, ctx: StageContext) -> Planner:
        texts: dict[str, list[str]] = {}
        for ref in self.texts:
            for language, lines in texts_by_language(ctx.path_of(ref)).items():
                texts.setdefault(language, []).extend(lines)
        embargoes = [read_embargo(ctx.path_of(ref)) for ref in self.embargo]
        with EspeakPipe() as espeak:
            readings = Readings(espeak.rows(), silent=SILENT)
        return Planner(texts, readings, self.settings, embargoes)

    def _facts(self, rows: Sequence[PhoneRow], tempo: dict[str, list[float]], rejected: Counter[str]) -> dict[str, Any]:
        train = [row for row in rows if row.split == "train"]
        phones = Counter(phone for row in train for phone in row.phones.split(" "))
        seconds = [max(0.2, tempo[row.voice][0] + tempo[row.voice][1] * row.count) for row in train]
        return {
            "format": FORMAT,
            "languages": dict(sorted(Counter(row.spoken for row in train).items())),
            "voices": len(tempo),
            "kinds": dict(sorted(Counter(row.kind for row in train).items())),
            "sentences": {"train": len(train), "dev": len(rows) - len(train)},
            "hours_expected": round(sum(seconds) / 3600, 4),
            "phones": dict(sorted(phones.items())),
            "tempo": tempo,
            "rejected": dict(sorted(rejected.items())),
            "sources": list(self.names),
            "licences": list(self.licences),
            "engine": self.voice.revision,
        }


def phone_text_stage(
    texts: Sequence[Path],
    settings: PhoneTextSettings,
    *,
    embargo: Sequence[Path] = (),
    licences: Sequence[str] = (),
    voice: VoiceRef | None = None,
) -> PhoneText:
    """The stage for folders of text; BadInput where one holds none, MissingExtra without espeak-ng."""
    refs = []
    for path in texts:
        files = {file.name: digest_file(file) for file in source_files(path)}
        if not files:
            texts_by_language(path)
        refs.append(Ref(key="external", stage="texts", digest=digest_json(files), path=str(path.absolute())))
    return PhoneText(
        texts=tuple(refs),
        names=tuple(path.absolute().name for path in texts),
        licences=tuple(licences),
        voice=voice or voice_ref("espeak"),
        settings=settings,
        embargo=tuple(corpus_ref(path) for path in embargo),
    )


def _batches(candidates: Sequence[Candidate]) -> Iterator[list[str]]:
    for first in range(0, len(candidates), _PER_SHARD):
        yield [
            json.dumps(asdict(one), ensure_ascii=False, sort_keys=True)
            for one in candidates[first : first + _PER_SHARD]
        ]


def _told(folders: Iterable[Path], voices: set[str]) -> tuple[list[PhoneRow], list[dict[str, Any]]]:
    """The rows whose voice made sound; the others as rejects."""
    rows, silent = [], []
    for line in _lines(folders, KEPT):
        row = PhoneRow(**line)
        if row.voice in voices:
            rows.append(row)
        else:
            silent.append({"id": row.id, "reason": "no-audio", "detail": f"the voice {row.voice} is silent"})
    return rows, silent


def _lines(folders: Iterable[Path], name: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        with (folder / name).open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
