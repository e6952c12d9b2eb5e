"""The stage that makes a dictionary of aligned words from sentence pairs, for the poorest case, and measures it.

Example::

    model = run.do(TrainDictionary(pairs=pairs, config=DictionaryConfig(least_count=1)))
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from orature.core.errors import TrainingFailed
from orature.engines.dictionary_file import LIST, dictionary_files
from orature.engines.native_folder import write_json
from orature.engines.translator import TextSearch
from orature.engines.vocabulary import Files
from orature.evaluate.translation import require_metrics
from orature.flow import Ref, Stage, StageContext
from orature.stages.model_folder import labels_of, write_files
from orature.stages.train_translator import said_counts, write_results
from orature.stages.translation_score import score_rows, tested
from orature.text.parallel import ParallelCorpus
from orature.text.word_alignment import WordTable, align_pairs

FAMILY = "dictionary"


class DictionaryConfig(BaseModel, frozen=True, extra="forbid"):
    """How words are aligned and which renderings stay; see `orature.text.word_alignment.align_pairs`."""

    rounds: int = Field(default=10, ge=1)
    least_count: int = Field(default=2, ge=1)
    least_share: float = Field(default=0.1, ge=0, le=1)
    most: int = Field(default=5, ge=1)
    unknown: Literal["pass", "drop"] = "pass"
    """What becomes of words that are not listed."""


class TrainDictionary(Stage):
    """A folder with dictionary.tsv, said to be one in its card and report, with score and translations of test."""

    name: ClassVar[str] = "train_dictionary"
    version: ClassVar[int] = 1
    pairs: Ref
    config: DictionaryConfig = DictionaryConfig()
    model_name: str = ""

    def run(self, ctx: StageContext) -> None:
        """Aligns the train pairs, translates test word for word, writes the folder."""
        require_metrics()
        corpus = ParallelCorpus.open(ctx.path_of(self.pairs))
        train = corpus.split("train")
        config = self.config
        table = align_pairs(
            [(pair.source, pair.target) for pair in train],
            rounds=config.rounds,
            least_count=config.least_count,
            least_share=config.least_share,
            most=config.most,
        )
        if not table:
            raise TrainingFailed(
                f"no word of {len(train)} pairs stands for another one {config.least_count} times",
                next_step="take rarer ones too: --set dictionary.least_count=1",
            )
        ctx.conserve(total=len(train), kept=len(train), rejected={})
        facts = self._facts(corpus, table, len(train))
        files = self._files(facts, table)
        rows, known = tested(ctx, FAMILY, files, corpus, TextSearch(beams=1), "cpu")
        facts["told"]["Source words of test that are listed"] = f"{100 * known:.0f} %"
        facts["known_share"] = round(known, 6)
        score = score_rows(
            rows,
            model=facts["name"],
            split="test",
            fingerprint=corpus.fingerprint("test"),
            languages=corpus.languages,
            decoder={"kind": FAMILY},
        )
        write_files(ctx, files)
        write_results(ctx, facts, score, rows, [], [])
        ctx.note(test_chrf=score["chrf"]["value"], test_bleu=score["bleu"]["value"], words=len(table))

    def _files(self, facts: dict[str, Any], table: WordTable) -> Files:
        source, target = facts["languages"]
        labels = labels_of(facts) | {"source": source, "target": target}
        listed = dictionary_files(
            table,
            source=source,
            target=target,
            licence="; ".join(facts["licences"]),
            unknown=self.config.unknown,
            name=facts["name"],
        )
        return {**listed, "orature.json": write_json(labels)}

    def _facts(self, corpus: ParallelCorpus, table: WordTable, pairs: int) -> dict[str, Any]:
        source, target = corpus.languages
        summary = corpus.summary()
        return {
            "name": self.model_name or f"dictionary-{source}-{target}",
            "family": FAMILY,
            "kind": "dictionary",
            "kind_said": "a dictionary, word for word (no translator of sentences)",
            "languages": [source, target],
            "licences": summary.get("licences", []),
            "pairs_digest": corpus.digest,
            "train_pairs": pairs,
            "config": self.config.model_dump(mode="json"),
            "words": len(table),
            "told": {
                "Word list": f"{LIST}: {len(table)} words of {source} with {sum(map(len, table.values()))} renderings, "
                "aligned by IBM model 1 in both directions",
                "Order and inflection": f"those of {source}: the texts are no sentences of {target}",
                "Pairs left out": said_counts(summary.get("rows", {}).get("rejected", {})),
                "Pairs digest": corpus.digest[:16],
            },
        }
