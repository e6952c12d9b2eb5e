"""The stage that chooses the weights of a beam search on dev, and what its confidences mean (never on test, law 5).

Example::

    decoder = run.do(TuneDecoder(model=model, corpus=corpus, lm=lm))    # decoder.json and the language models
    run.do(Transcribe(model=model, corpus=corpus, split="test", decoder=decoder))
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator
from rapidfuzz.distance import Levenshtein

from orature.core.errors import AudioError, ConfigError, CorpusError, ModelError
from orature.core.files import write_json
from orature.core.identity import digest_bytes, digest_file, digest_json
from orature.core.types import Refusal, Utterance
from orature.data import audio
from orature.data.corpus import Corpus
from orature.engines.confidence import Calibration, cross_fitted, fit, utterance_confidence
from orature.engines.ctc_align import Floats, fold_silent
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.decoder import DECODER, BeamDecoder, BestPath, DecoderConfig, make_decoder
from orature.engines.recognisers import load_ctc
from orature.evaluate.alignment import align_words, plain
from orature.evaluate.calibration import judged, reliability
from orature.flow import Ref, Stage, StageContext
from orature.stages.language_model import LM, LM_FACTS
from orature.text import normalise
from orature.train.devices import prepare_device

SPELLING = "spelling.arpa.gz"
_BATCH = 32
_ROUNDS = 2
_ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
_BETAS = {
    "word": (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.5, 6.0),
    "character": (-0.3, 0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.7),
}
_UNSEEN = (0.0, -2.0, -4.0, -7.0, -12.0)
_UNSEEN_SPELLED = (3.0, 1.5, 0.0, -2.0, -4.0)
_Place = tuple[float, float, float]
"""Alpha, beta, unseen."""
_START = {"word": (0.6, 1.0, -4.0), "spelled": (0.2, 2.0, 0.0), "character": (0.7, 0.7, 0.0), "none": (0.0, 0.0, 0.0)}


@dataclass(frozen=True, slots=True)
class Point:
    """Weights that were tried with language model number `lm`, and the error rates on dev (fractions)."""

    lm: int
    alpha: float
    beta: float
    unseen: float
    wer: float
    cer: float


@dataclass(frozen=True, slots=True)
class _Clip:
    """A dev utterance: its row, its log-probabilities, its reference as it is scored."""

    row: Utterance
    log_TV: Floats
    reference: str


class TuneDecoder(Stage):
    """A decoder folder for `model`: decoder.json with all that was tried, and copies of the language models.

    `lm` is what `LanguageModel` made (None: only confidences are calibrated, for the best path); `others` are tried as
    well, words or characters, and the best on dev is taken. `spelling` is a
    character model for words that a word model lacks; `lexicon` closes the vocabulary to the words of `lm`. At most
    `most_seconds` of dev are decoded, drawn by a hash of the ids. Where no weights beat the best path, that is written.
    """

    name: ClassVar[str] = "tune-decoder"
    version: ClassVar[int] = 1

    model: Ref
    corpus: Ref
    lm: Ref | None = None
    others: tuple[Ref, ...] = ()
    spelling: Ref | None = None
    split: str = "dev"
    language: str = ""
    lexicon: bool = False
    metric: Literal["wer", "cer"] = "wer"
    search: Literal["auto", "own", "flashlight"] = "auto"
    width: int = Field(default=64, ge=1)
    n_best: int = Field(default=1, ge=1)
    alphas: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    most_seconds: float = Field(default=1800.0, gt=0)
    normaliser: str = normalise.NORMALISER

    @field_validator("split")
    @classmethod
    def _never_test(cls, split: str) -> str:
        if split == "test":
            raise ConfigError(
                "weights are never chosen on test (law 5)",
                next_step="choose them on dev; test is for the one measurement after",
            )
        return split

    def run(self, ctx: StageContext) -> None:
        """Decodes dev once for log-probabilities, then searches the weights one after the other."""
        lms = [ref for ref in (self.lm, *self.others) if ref is not None]
        configs = [self._begin(ctx, ref) for ref in lms]
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        recogniser = load_ctc(ctx.path_of(self.model), device=device, language=self.language or None)
        corpus = Corpus.open(ctx.path_of(self.corpus))
        clips = self._clips(ctx, corpus, recogniser)
        began = time.monotonic()
        tuner = _Tuner(recogniser, clips, self.normaliser, self.metric)
        baseline = tuner.rates(BestPath())
        points = [point for number in range(len(lms)) for point in self._search(ctx, tuner, number, configs[number])]
        best = min(points, key=tuner.rank, default=None)
        if best is not None and tuner.rank(best)[0] < (baseline[0] if self.metric == "wer" else baseline[1]):
            config = configs[best.lm].model_copy(update={"alpha": best.alpha, "beta": best.beta, "unseen": best.unseen})
        else:
            config = DecoderConfig()
        calibration, about = tuner.calibrate(make_decoder(config))
        config = self._with_copies(ctx, config)
        facts = {
            "format": 1,
            "decoder": config.model_copy(update={"calibration": calibration}).model_dump(mode="json"),
            "tuned": {
                "split": self.split,
                "fingerprint": corpus.fingerprint(self.split),
                "utterances": len(clips),
                "metric": self.metric,
                "normaliser": self.normaliser,
                "best_path": {"wer": round(baseline[0], 6), "cer": round(baseline[1], 6)},
                "language_models": [{"unit": one.unit, "digest": digest_file(Path(one.lm or ""))} for one in configs],
                "points": [_rounded(point) for point in points],
            },
            "confidence": about,
        }
        with ctx.writing(DECODER) as path:
            path.write_text(json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        ctx.note(
            best_path_wer=round(baseline[0], 4),
            wer=None if best is None else round(best.wer, 4),
            tried=len(points),
            seconds=round(time.monotonic() - began, 1),
        )

    def _clips(self, ctx: StageContext, corpus: Corpus, recogniser: CtcRecogniser) -> list[_Clip]:
        """The utterances with a reference, within `most_seconds`, with their log-probabilities."""
        clean = normalise.get(self.normaliser)
        rows = [row for row in corpus.split(self.split) if row.text and plain(clean(row.text))]
        rows.sort(key=lambda row: digest_bytes(row.id.encode("utf-8")))
        chosen: list[Utterance] = []
        seconds = 0.0
        for row in rows:
            if chosen and seconds + row.audio.duration_s > self.most_seconds:
                break
            chosen.append(row)
            seconds += row.audio.duration_s
        chosen.sort(key=lambda row: row.id)
        clips: list[_Clip] = []
        with ctx.progress("tune: log-probabilities", len(chosen), "utterances") as bar:
            for first in range(0, len(chosen), _BATCH):
                batch = chosen[first : first + _BATCH]
                clips += _heard(recogniser, batch, clean)
                bar.advance(len(batch))
        if not clips:
            raise CorpusError(
                f"no utterance of {self.split} can be decoded and has a transcript",
                where=str(corpus.root),
                next_step="make splits with `orature split CORPUS --to NEW`",
            )
        return clips

    def _begin(self, ctx: StageContext, lm: Ref) -> DecoderConfig:
        """The config to begin with; language models by their whole path."""
        unit = _unit_of(ctx.path_of(lm))
        if self.spelling is not None and (unit != "word" or _unit_of(ctx.path_of(self.spelling)) != "character"):
            raise ConfigError(
                "spellings need a word model and a character model beside it",
                next_step="give --lm a word model and --spelling one made with --unit character",
            )
        if self.lexicon and unit != "word":
            raise ConfigError("a lexicon needs a word model", next_step="make one with: orature lm --unit word")
        alpha, beta, unseen = _START[unit] if self.spelling is None else _START["spelled"]
        return DecoderConfig(
            kind="beam",
            unit=unit,
            lm=str(ctx.path_of(lm) / LM),
            spelling=None if self.spelling is None else str(ctx.path_of(self.spelling) / LM),
            lexicon=self.lexicon,
            search=self.search,
            width=self.width,
            n_best=self.n_best,
            alpha=alpha,
            beta=beta,
            unseen=unseen,
        )

    def _with_copies(self, ctx: StageContext, config: DecoderConfig) -> DecoderConfig:
        """The language models that `config` uses lie beside decoder.json from here on."""
        update: dict[str, str] = {}
        for field, source, name in (("lm", config.lm, LM), ("spelling", config.spelling, SPELLING)):
            if source is not None:
                with ctx.writing(name) as path:
                    shutil.copyfile(source, path)
                update[field] = name
        return config.model_copy(update=update)

    def _search(self, ctx: StageContext, tuner: _Tuner, number: int, config: DecoderConfig) -> list[Point]:
        """One weight after the other over its grid from the best so far, until a round changes nothing.

        What an interrupted run tried is kept.
        """
        decoder = BeamDecoder(config)
        kept = ctx.state / f"tried-{number}.json"
        tried: dict[_Place, Point] = {}
        if kept.is_file():
            points = [Point(**row) for row in json.loads(kept.read_text(encoding="utf-8"))]
            tried = {(point.alpha, point.beta, point.unseen): point for point in points}
        used: dict[_Place, Point] = {}
        with ctx.progress(f"tune: weights of {config.unit} model", unit="settings") as bar:

            def at(place: _Place) -> Point:
                if place not in tried:
                    tried[place] = Point(number, *place, *tuner.rates(decoder.with_weights(*place)))
                    write_json(kept, [asdict(point) for point in tried.values()])
                    bar.advance(1, note=f"best {min(map(tuner.rank, tried.values()))[0]:.4f}")
                used[place] = tried[place]
                return tried[place]

            here: _Place = (config.alpha, config.beta, config.unseen)
            for _ in range(_ROUNDS):
                before = here
                for axis, grid in enumerate(self._grids(config)):
                    found = min((at(place) for place in [here, *_line(here, axis, grid)]), key=tuner.rank)
                    here = (found.alpha, found.beta, found.unseen)
                if here == before:
                    break
        return list(used.values())

    def _grids(self, config: DecoderConfig) -> list[tuple[float, ...]]:
        unseen = _UNSEEN if config.spelling is None else _UNSEEN_SPELLED
        open_words = config.unit == "word" and not config.lexicon
        return [
            self.alphas or _ALPHAS,
            self.betas or _BETAS[config.unit],
            unseen if open_words else (config.unseen,),
        ]


def _line(here: _Place, axis: int, grid: tuple[float, ...]) -> list[_Place]:
    """`here` with its weight number `axis` replaced by each of `grid`."""
    alpha, beta, unseen = here
    if axis == 0:
        return [(value, beta, unseen) for value in grid]
    return [(alpha, value, unseen) for value in grid] if axis == 1 else [(alpha, beta, value) for value in grid]


class _Tuner:
    """Error rates and calibration over cached log-probabilities."""

    def __init__(self, recogniser: CtcRecogniser, clips: Sequence[_Clip], normaliser: str, metric: str) -> None:
        self._vocabulary, self._step_s = recogniser.vocabulary, recogniser.step_s
        self._clips, self._normaliser, self._metric = clips, normaliser, metric
        self._clean = normalise.get(normaliser)
        self._folded = [fold_silent(clip.log_TV, self._vocabulary) for clip in clips]

    def rank(self, point: Point) -> tuple[float, ...]:
        """The metric, then the other one, then the weakest language model."""
        rates = (point.wer, point.cer) if self._metric == "wer" else (point.cer, point.wer)
        return (*rates, point.alpha, abs(point.beta), -point.unseen)

    def rates(self, decoder: BestPath | BeamDecoder) -> tuple[float, float]:
        """WER and CER of all clips together."""
        word_errors = words = letter_errors = letters = 0
        for clip, folded_TV in zip(self._clips, self._folded, strict=True):
            if isinstance(decoder, BeamDecoder):
                text = decoder.texts(folded_TV, self._vocabulary)[0].text if len(folded_TV) else ""
            else:
                text = decoder.decode(clip.log_TV, self._vocabulary, step_s=self._step_s).text
            heard = plain(self._clean(text))
            word_errors += Levenshtein.distance(clip.reference.split(), heard.split())
            letter_errors += Levenshtein.distance(clip.reference, heard)
            words, letters = words + len(clip.reference.split()), letters + len(clip.reference)
        return word_errors / words, letter_errors / letters

    def calibrate(self, decoder: BestPath | BeamDecoder) -> tuple[Calibration | None, dict[str, Any]]:
        """The lines from raw to true confidence, and how far off it was before and (on held-out folds) is after."""
        raw: list[float] = []
        right: list[float] = []
        group: list[int] = []
        whole: list[float] = []
        share: list[float] = []
        for number, clip in enumerate(self._clips):
            heard = decoder.decode(clip.log_TV, self._vocabulary, step_s=self._step_s)
            pairs = judged(clip.reference, [asdict(word) for word in heard.words], self._normaliser)
            raw += [confidence for confidence, _ in pairs]
            right += [float(good) for _, good in pairs]
            group += [number] * len(pairs)
            if heard.words:
                whole.append(utterance_confidence(heard))
                share.append(_share_right(clip.reference, plain(self._clean(heard.text))))
        if not raw:
            return None, {"words": 0, "utterances": len(whole)}
        calibration = Calibration(word=fit(raw, right), utterance=fit(whole, share))
        held_out = cross_fitted(raw, right, group)
        before = reliability([(c, r > 0.5) for c, r in zip(raw, right, strict=True)])
        after = reliability([(c, r > 0.5) for c, r in zip(held_out, right, strict=True)])
        return calibration, {
            "words": len(raw),
            "utterances": len(whole),
            "ece_before": None if before is None else round(before.error, 6),
            "ece_after": None if after is None else round(after.error, 6),
        }


def _heard(recogniser: CtcRecogniser, rows: Sequence[Utterance], clean: Callable[[str], str]) -> list[_Clip]:
    """Clips of the rows whose audio can be read and decoded."""
    readable: list[Utterance] = []
    recordings = []
    for row in rows:
        try:
            recordings.append(audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s))
        except AudioError:
            continue
        readable.append(row)
    logs = recogniser.log_probabilities(recordings)
    pairs = zip(readable, logs, strict=True)
    return [_Clip(row, log, plain(clean(row.text or ""))) for row, log in pairs if not isinstance(log, Refusal)]


def _share_right(reference: str, heard: str) -> float:
    """Share of the heard words that are right, missed words counted as wrong ones."""
    counts = align_words(reference, heard).counts
    return counts.hits / max(counts.hits + counts.errors, 1)


def _unit_of(folder: Path) -> Literal["word", "character"]:
    try:
        unit = json.loads((folder / LM_FACTS).read_text(encoding="utf-8"))["unit"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"this folder holds no language model ({LM_FACTS} cannot be read)",
            where=str(folder),
            next_step="make one with: orature lm TEXT --to LM",
        ) from error
    return "character" if unit == "character" else "word"


def _rounded(point: Point) -> dict[str, float]:
    return {name: round(value, 6) for name, value in asdict(point).items()}


def lm_ref(folder: Path) -> Ref:
    """A folder that `orature lm` made, as an input; ModelError where there is none."""
    _unit_of(folder)
    if not (folder / LM).is_file():
        raise ModelError(f"{LM} is missing", where=str(folder), next_step="make it with: orature lm TEXT --to LM")
    digest = digest_json({name: digest_file(folder / name) for name in (LM, LM_FACTS)})
    return Ref(key="external", stage="language-model", digest=digest, path=str(folder.absolute()))
