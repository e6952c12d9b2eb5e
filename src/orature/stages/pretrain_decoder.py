"""The stage that trains the decoder of an encoder-decoder on text alone, where speech cannot be translated.

Example::

    stage = PretrainDecoder(corpus=kichwa, texts=(text_ref(path),), names=("more",), kinds=("lines",), config=config)
    model = run.do(stage, on=Resources(threads=2))     # then: Train(corpus=kichwa, start=model), with head="keep"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field

from orature.core.errors import ConfigError, TrainingFailed
from orature.core.progress import say
from orature.core.types import AudioSpan, Reject, Utterance
from orature.data.corpus import Corpus
from orature.engines.recognisers import model_files
from orature.flow import Ref, Stage, StageContext
from orature.stages.model_folder import labels_of, write_files, write_records, write_texts
from orature.text.alphabet import TextPolicy, prepare
from orature.text.leaks import EmbargoIndex, reject_of
from orature.text.sentences import Kind, read_sentences
from orature.train.config import TrainConfig
from orature.train.decoder_text import TextReport, text_example
from orature.train.devices import prepare_device
from orature.train.examples import policy_of
from orature.train.job import Job, Made
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Example
from orature.train.loop import Outcome

ENCODER_DECODER = "encoder-decoder"
_HELD_OUT, _MOST_HELD_OUT = 20, 500


class PretrainDecoder(Stage):
    """A model folder of an encoder-decoder: the encoder of `start` as it is, a decoder that has learned to write.

    It learns the train transcripts of `corpus` and the sentences of `texts` (with `names` and `kinds`); a sentence that
    is, nearly is or holds one of dev or test of `corpus` or of `embargo` is rejected. Dev transcripts choose the
    checkpoint by their loss. `start` is a Conformer of ours, or an encoder-decoder (None: the encoder is drawn, in the
    shape that `config` says). The decoder, its embeddings and its output layer begin anew; recognition then starts from
    all of the folder.
    """

    name: ClassVar[str] = "pretrain-decoder"
    version: ClassVar[int] = 1
    corpus: Ref
    config: TrainConfig
    texts: tuple[Ref, ...] = ()
    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    start: Ref | None = None
    embargo: tuple[Ref, ...] = ()
    language: str = ""
    model_name: str = ""
    reject_limit: float = Field(default=0.95, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Trains; interrupted, it goes on from its last checkpoint."""
        config = self._config()
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        corpus = Corpus.open(ctx.path_of(self.corpus))
        language = self.language or _only(corpus)
        found = self._gathered(ctx, corpus, policy_of(config, language))
        start = None if self.start is None else str(ctx.path_of(self.start))
        languages = () if language == "und" else (language,)
        job = Job(config, tuple([" ", *found.train]), languages, start=start, language=language, text=True)
        made = job.make()
        if made.family.name != ENCODER_DECODER:
            raise ConfigError(
                f"decoders of the family {made.family.name} cannot be trained on text alone here",
                next_step="start from a Conformer or an encoder-decoder of Orature's own",
            )
        examples = [_examples(texts, made, language, part) for part, texts in (("t", found.train), ("d", found.dev))]
        outcome = self._fit(ctx, job.with_examples(*examples), made, device)
        ctx.conserve(
            total=found.total,
            kept=len(found.train),
            rejected=Counter(reject.reason for reject in found.rejects),
            reject_limit=self.reject_limit,
        )
        facts = self._facts(job, made, outcome, found, corpus)
        made.network.to("cpu")
        write_files(
            ctx, model_files(made.family, cast(Any, made.network), cast(Any, made.vocabulary), labels_of(facts))
        )
        write_texts(ctx, {"README.md": _card(facts)})
        write_records(ctx, facts, outcome.log, found.rejects)
        ctx.note(dev_perplexity=facts["dev_perplexity"], updates=outcome.updates)

    def _config(self) -> TrainConfig:
        """The encoder never moves, and only it is taken up."""
        fields = {"network": ENCODER_DECODER, "start_parts": "encoder", "head": "auto", "train_only": "all"}
        return self.config.model_copy(update={**fields, "freeze": ("features", "encoder"), "freeze_encoder_updates": 0})

    def _gathered(self, ctx: StageContext, corpus: Corpus, policy: TextPolicy) -> _Text:
        others = [Corpus.open(ctx.path_of(ref)) for ref in self.embargo]
        held = [row for one in (corpus, *others) for part in ("dev", "test") for row in one.split(part)]
        index = EmbargoIndex.of(held)
        train: dict[str, str] = {}
        rejects: list[Reject] = []
        total = 0
        for place, source, text in self._sources(ctx, corpus):
            total += 1
            reject = _reject(place, source, text, prepare(text, policy), train, index)
            if reject is None:
                train[prepare(text, policy)] = place
            else:
                rejects.append(reject)
        dev = sorted({prepare(row.text, policy) for row in corpus.split("dev") if row.text} - {""})
        texts = sorted(train, key=_draw)
        if not dev:
            count = max(1, min(_MOST_HELD_OUT, len(texts) // _HELD_OUT))
            dev, texts = texts[:count], texts[count:]
            rejects += [Reject(train[text], "held-out", "for dev, which the corpus lacks") for text in dev]
        if not texts or not dev:
            raise TrainingFailed("no sentence is left to learn", next_step="give more text, or look at rejects.jsonl")
        return _Text(texts, dev, rejects, total)

    def _sources(self, ctx: StageContext, corpus: Corpus) -> Iterator[tuple[str, str, str]]:
        for number, row in enumerate(row for row in corpus.split("train") if row.text):
            yield f"train:{number}", "train transcripts", row.text or ""
        for ref, name, kind in zip(self.texts, self.names, self.kinds, strict=True):
            for number, text in enumerate(read_sentences(ctx.path_of(ref), kind), 1):
                yield f"{name}:{number}", name, text

    def _fit(self, ctx: StageContext, job: Job, made: Made, device: str) -> Outcome:
        config, on = job.config, ctx.resources
        say(
            f"pretrain-decoder: {len(job.train)} sentences, {len(made.vocabulary)} tokens, {config.updates} updates; "
            f"dev chooses by its {len(job.dev)} transcripts"
        )
        spread = Spread(device, on.threads, on.processes, on.sharding, config.batch_seconds)
        place = Place(ctx.state / "training", ctx.logs, on.progress, score_start=True)
        return train_job(job, made, spread, place).outcome

    def _facts(self, job: Job, made: Made, outcome: Outcome, found: _Text, corpus: Corpus) -> dict[str, Any]:
        dev = cast(TextReport, outcome.dev)
        policy = policy_of(job.config, job.language or "und")
        return {
            "name": self.model_name or "decoder-from-text",
            "family": made.family.name,
            "languages": list(job.languages),
            "licences": [str(one) for one in corpus.summary().get("licences", [])],
            "corpus_digest": self.corpus.digest,
            "start": None if self.start is None else {"name": Path(job.start or "").name, "digest": self.start.digest},
            "start_parts": "encoder",
            "trained_on": "text",
            "sentences": len(found.train),
            "dev_sentences": len(found.dev),
            "rejected": dict(Counter(reject.reason for reject in found.rejects)),
            "train_utterances": 0,
            "train_hours": 0.0,
            "parameters": made.parameters,
            "step_ms": made.step_ms,
            "text_policy": policy.to_json(),
            "config": job.config.model_dump(mode="json"),
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "audio_hours_seen": 0.0,
            "dev": outcome.dev.row(),
            "dev_perplexity": round(dev.perplexity, 4),
        }


@dataclass(frozen=True, slots=True)
class _Text:
    """Prepared sentences of train and dev, and what was left out."""

    train: list[str]
    dev: list[str]
    rejects: list[Reject]
    total: int


def _only(corpus: Corpus) -> str:
    tags = [str(tag) for tag in corpus.summary()["languages"] if tag != "und"]
    return tags[0] if len(tags) == 1 else "und"


def _reject(
    place: str, source: str, text: str, prepared: str, seen: dict[str, str], index: EmbargoIndex
) -> Reject | None:
    """Why a sentence is not learned, if it is not."""
    if not prepared:
        return Reject(place, "text-empty", "nothing is left under the text policy", source)
    if prepared in seen:
        return Reject(place, "duplicate", f"the same as {seen[prepared]}", source)
    found = index.sentence_breach(text)
    row = Utterance(id=place, audio=AudioSpan("", 0.0, 0.0), text=text, source=source)
    return None if found is None else reject_of(row, found)


def _draw(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()


def _examples(texts: Sequence[str], made: Made, language: str, part: str) -> list[Example]:
    encode = made.vocabulary.encode
    return [text_example(f"{part}{number}", text, encode(text), language) for number, text in enumerate(texts)]


def _card(facts: dict[str, Any]) -> str:
    """Markdown for a person who finds the folder; holds no date."""
    start = facts["start"]
    encoder = f"that of {start['name']} (digest `{start['digest'][:16]}`)" if start else "random weights"
    lines = [
        f"# {facts['name']}",
        "",
        f"A start for recognition, not a recogniser: its decoder has learned to write {', '.join(facts['languages'])} "
        f"from {facts['sentences']} sentences and has heard nothing; its encoder is {encoder}.",
        "",
        "| | |",
        "|---|---|",
        f"| perplexity a character on {facts['dev_sentences']} dev sentences | {facts['dev_perplexity']:.2f} |",
        f"| weights | {facts['chosen']} of {facts['updates']} updates |",
        f"| licences of the training data | {'; '.join(facts['licences']) or 'not stated'} |",
        f"| seed | {facts['config']['seed']} |",
        "",
        "```",
        "orature train CORPUS --start MODEL --set head=keep --to NEW",
        "```",
        "",
    ]
    return "\n".join(lines)
