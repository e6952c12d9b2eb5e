"""The stage that trains a translator on the train split of sentence pairs and measures it once on test.

Example::

    model = run.do(TrainTranslator(pairs=pairs, config=TranslatorConfig(pieces=1000)), on=resources)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from orature.core.errors import TrainingFailed
from orature.core.files import write_json, write_json_lines
from orature.core.progress import say
from orature.core.types import Reject
from orature.engines.translator import TextSearch
from orature.evaluate.translation import require_metrics
from orature.evaluate.translator_report import translator_page
from orature.flow import Ref, Stage, StageContext
from orature.stages.model_folder import labels_of, write_files, write_records, write_texts
from orature.stages.translation_score import (
    REPORT_FILE,
    SCORE_FILE,
    TRANSLATIONS_FILE,
    TranslatedRow,
    score_rows,
    tested,
)
from orature.stages.translator_card import translator_card
from orature.text.parallel import Pair, ParallelCorpus
from orature.train.devices import prepare_device
from orature.train.text.architecture import from_nothing, shape_of
from orature.train.text.config import TranslatorConfig
from orature.train.text.data import TextExample, TextLoader, example_of
from orature.train.text.folder import translator_files
from orature.train.text.loop import TextOutcome, fit_translator
from orature.train.text.vocabulary import TranslatorText
from orature.train.text.watch import TextWatcher

FAMILY = "marian"
TOO_LONG = "too-many-tokens"


class TrainTranslator(Stage):
    """A translator's folder in the layout of MarianMT, with score, translations of test, report, card, log and rejects.

    Word pieces come from the train split alone, dev chooses the checkpoint, test is translated once at the end.
    """

    name: ClassVar[str] = "train_translator"
    version: ClassVar[int] = 1
    pairs: Ref
    config: TranslatorConfig
    model_name: str = ""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Tokens, network, the run itself (which goes on where it was cut), test, the folder."""
        require_metrics()
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        corpus = ParallelCorpus.open(ctx.path_of(self.pairs))
        train = corpus.split("train")
        text = TranslatorText.of([pair.source for pair in train], [pair.target for pair in train], self.config)
        with ctx.progress("train-translator: tokens", len(train), "pairs") as bar:
            kept, rejects = self._examples(train, text, bar.advance)
        if not kept:
            raise TrainingFailed(
                f"all {len(train)} pairs have more than {self.config.longest} tokens on a side",
                next_step="allow more with --set train.longest=..., or make more pieces with --pieces",
            )
        rejected = dict(sorted(Counter(reject.reason for reject in rejects).items()))
        ctx.conserve(total=len(train), kept=len(kept), rejected=rejected, reject_limit=self.reject_limit)
        dev = self._dev(corpus.split("dev"), text)
        model = from_nothing(self.config, text)
        outcome = self._fit(ctx, model, text, kept, dev, device)
        facts = self._facts(corpus, model, text, len(kept), outcome, rejected)
        labels = labels_of(facts) | dict(zip(("source", "target"), corpus.languages, strict=True))
        files = translator_files(model, text, labels, languages=corpus.languages)
        search = TextSearch(beams=self.config.beams, length_penalty=self.config.length_penalty)
        rows, _ = tested(ctx, FAMILY, files, corpus, search, device)
        score = score_rows(
            rows,
            model=facts["name"],
            split="test",
            fingerprint=corpus.fingerprint("test"),
            languages=corpus.languages,
            decoder={"beams": self.config.beams, "length_penalty": self.config.length_penalty},
        )
        write_files(ctx, files)
        write_results(ctx, facts, score, rows, outcome.log, rejects)
        ctx.note(test_chrf=score["chrf"]["value"], test_bleu=score["bleu"]["value"], updates=outcome.updates)

    def _examples(
        self, train: Sequence[Pair], text: TranslatorText, advance: Any
    ) -> tuple[list[TextExample], list[Reject]]:
        kept: list[TextExample] = []
        rejects: list[Reject] = []
        for pair in train:
            example = example_of(pair.id, pair.source, pair.target, text)
            if example.tokens > self.config.longest:
                rejects.append(Reject(pair.id, TOO_LONG, f"{example.tokens} tokens on a side", pair.id))
            else:
                kept.append(example)
            advance(1)
        return kept, rejects

    def _dev(self, pairs: Sequence[Pair], text: TranslatorText) -> list[TextExample]:
        """At most `dev_rows` of dev, spread evenly over those that are not too long."""
        found = [example_of(pair.id, pair.source, pair.target, text) for pair in pairs]
        short = [example for example in found if example.tokens <= self.config.longest]
        if not short:
            raise TrainingFailed(
                f"all {len(found)} dev pairs have more than {self.config.longest} tokens on a side",
                next_step="allow more with --set train.longest=...",
            )
        most = min(self.config.dev_rows, len(short))
        return [short[place * len(short) // most] for place in range(most)]

    def _fit(
        self,
        ctx: StageContext,
        model: Any,
        text: TranslatorText,
        train: list[TextExample],
        dev: list[TextExample],
        device: str,
    ) -> TextOutcome:
        config = self.config
        say(
            f"train-translator: {_parameters(model) / 1e6:.1f} M parameters, {len(train)} pairs, "
            f"{len(text.source.numbers)} tokens, {config.updates} updates of up to "
            f"{config.batch_tokens * config.accumulate} tokens; dev: {len(dev)} pairs\n"
            f"train-translator: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        loaders = TextLoader(train, text, config), TextLoader(dev, text, config)
        with ctx.progress("train-translator", config.updates, "updates") as bar:
            return fit_translator(
                model,
                text,
                *loaders,
                config,
                state=ctx.state / "training",
                watcher=TextWatcher(progress=bar, logs=ctx.logs),
                device=device,
            )

    def _facts(
        self,
        corpus: ParallelCorpus,
        model: Any,
        text: TranslatorText,
        pairs: int,
        outcome: TextOutcome,
        rejected: dict[str, int],
    ) -> dict[str, Any]:
        source, target = corpus.languages
        summary, start = corpus.summary(), outcome.log[0]
        sizes = len(text.source.numbers), len(text.target.numbers)
        shape = shape_of(self.config)
        told = {
            "Network": f"MarianMT, {_parameters(model) / 1e6:.1f} M parameters: {shape.layers} layers, width "
            f"{shape.width}, {shape.heads} heads",
            "Tokens": f"{sizes[0]}, shared" if text.shared else f"{sizes[0]} and {sizes[1]}",
            "Weights": f"{outcome.chosen} of {outcome.updates} updates ({outcome.tokens / 1e6:.1f} M tokens seen)",
            "Dev (chose the weights)": f"chrF {start['dev_chrf']:.1f} before, {outcome.dev.chrf:.1f} after; loss "
            f"{start['dev_loss']:.2f} and {outcome.dev.loss:.2f}",
            "Pairs left out": said_counts(rejected | summary.get("rows", {}).get("rejected", {})),
            "Seed": str(self.config.seed),
            "Pairs digest": corpus.digest[:16],
        }
        return {
            "name": self.model_name or f"translator-{source}-{target}",
            "family": FAMILY,
            "kind": "transformer",
            "kind_said": "a Transformer",
            "languages": [source, target],
            "licences": summary.get("licences", []),
            "pairs_digest": corpus.digest,
            "train_pairs": pairs,
            "rejected": rejected,
            "parameters": _parameters(model),
            "tokens": list(sizes),
            "config": self.config.model_dump(mode="json"),
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "tokens_seen": outcome.tokens,
            "dev_at_start": {name: start[name] for name in ("dev_loss", "dev_chrf")},
            "dev": outcome.dev.row(),
            "told": told,
        }


def write_results(
    ctx: StageContext,
    facts: dict[str, Any],
    score: dict[str, Any],
    rows: Sequence[TranslatedRow],
    log: Sequence[dict[str, Any]],
    rejects: Sequence[Reject],
) -> None:
    """Score, translations of test, report and card, and the records of a training."""
    lines = [row.to_json() for row in rows]
    with ctx.writing(SCORE_FILE) as part:
        write_json(part, score)
    with ctx.writing(TRANSLATIONS_FILE) as part:
        write_json_lines(part, lines)
    page = translator_page(facts, score=score, rows=lines, train_log=log)
    write_texts(ctx, {REPORT_FILE: page, "README.md": translator_card(facts, score)})
    write_records(ctx, facts, log, rejects)


def said_counts(rejected: dict[str, int]) -> str:
    """Reasons with their counts in one line."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items())) or "none"


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
