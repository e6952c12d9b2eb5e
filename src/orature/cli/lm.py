"""`orature lm` and `orature tune`: a language model from text, and a decoder tuned on dev.

Example::

    orature lm news.txt --corpus corpus --model model --to lm
    orature tune model corpus --lm lm --to decoder
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command
from orature.cli.train import DeviceOption, ThreadsOption, resources_of

if TYPE_CHECKING:
    from orature.flow import Resources, Stage


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    lm_lines = (
        "orature lm news.txt --corpus corpus --model model --to lm",
        "orature lm news.txt bible.tsv --exclude corpus --unit character --order 6 --to spelling",
    )
    tune_lines = (
        "orature tune model corpus --lm lm --to decoder",
        "orature tune model corpus --lm words --lm characters --to decoder",
    )
    app.command(epilog=example(*lm_lines))(lm)
    app.command(epilog=example(*tune_lines))(tune)


TextsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="TEXT",
        help="Sentences: .txt (one a line), .tsv (column sentence), .jsonl (text); also .gz.",
        show_default=False,
    ),
]
LmFolderOption = Annotated[Path | None, typer.Option(help="Folder for the language model.", show_default=False)]
OrderOption = Annotated[
    int | None, typer.Option(help="Length of n-grams, 2 to 6.", show_default="3 for words, 6 for characters")
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(help="Corpus whose train transcripts join in; its dev and test stay out.", show_default=False),
]
ExcludeOption = Annotated[
    list[Path] | None, typer.Option(help="Corpus whose dev and test stay out, too.", show_default=False)
]
ModelOption = Annotated[
    Path | None, typer.Option(help="Model folder: text is prepared as its transcripts were.", show_default=False)
]
TextOption = Annotated[str, typer.Option(help="Without --model: normalise (lower case, no punctuation) or keep.")]
PruneOption = Annotated[
    str, typer.Option(help="Drop n-grams seen at most so often, by order: 0,0,1.", show_default="none")
]
VocabularyOption = Annotated[
    int | None, typer.Option(min=1, help="Keep only so many of the most frequent words.", show_default="all")
]
MemoryOption = Annotated[int, typer.Option("--memory-mb", min=1, help="Memory for counts; the rest goes to disk.")]


@run_command
def lm(
    texts: TextsArgument = None,
    to: LmFolderOption = None,
    order: OrderOption = None,
    unit: Annotated[str, typer.Option(help="word or character.")] = "word",
    corpus: CorpusOption = None,
    exclude: ExcludeOption = None,
    model: ModelOption = None,
    text: TextOption = "normalise",
    lang: Annotated[str, typer.Option("--lang", help="Language (BCP-47) of the text.")] = "und",
    prune: PruneOption = "",
    vocabulary: VocabularyOption = None,
    licence: Annotated[list[str] | None, typer.Option(help="Licence of a text, for the record.")] = None,
    memory_mb: MemoryOption = 512,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Estimate a language model from text, without the sentences of dev and test."""
    from orature.core.errors import ConfigError
    from orature.stages.language_model import language_model_stage, policy_of_model
    from orature.text.alphabet import TextPolicy

    if unit not in ("word", "character"):
        raise ConfigError(f"there is no unit {unit!r}", next_step="choose word or character")
    if to is None:
        raise ConfigError("where to?", next_step="orature lm TEXT --to LM")
    stage = language_model_stage(
        texts or [],
        corpus=corpus,
        exclude=exclude or [],
        policy=policy_of_model(model) if model is not None else TextPolicy.named(text, lang),
        licences=licence or [],
        unit=unit,  # type: ignore[arg-type]
        order=order,
        prune=_thresholds(prune),
        vocabulary=vocabulary,
    ).within(memory_mb)
    said = f"{unit} {stage.order}-grams of {len(stage.texts)} texts"
    if _made(stage, to, store, "lm", said, as_json=as_json, dry_run=dry_run):
        report = _lm_report(to)
        emit(report, as_json, lambda: _lm_lines(report))


def _made(
    stage: Stage,
    to: Path,
    store: Path | None,
    recipe: str,
    said: str,
    *,
    resources: Resources | None = None,
    as_json: bool,
    dry_run: bool,
) -> bool:
    """Runs one stage and publishes it to `to`; with `dry_run` only says what would be done."""
    from orature.flow import Resources, Run, open_store
    from orature.flow.store import refuse_foreign

    home = open_store(store)
    run = Run(home, recipe=recipe, command=command_line())
    if dry_run:
        state = run.planned(stage)
        emit({"to": str(to), stage.name: state}, as_json, f"{said} to {to}: {state}")
        return False
    refuse_foreign(to)
    ref = run.do(stage, on=resources or Resources(progress=not as_json))
    home.publish(ref, to)
    return True


def _thresholds(prune: str) -> tuple[int, ...]:
    from orature.core.errors import ConfigError

    try:
        return tuple(int(part) for part in prune.split(",")) if prune else ()
    except ValueError as error:
        raise ConfigError(f"--prune {prune}: not whole numbers", next_step="for example --prune 0,0,1") from error


def _lm_report(folder: Path) -> dict[str, Any]:
    import json

    facts = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
    kept = ("unit", "order", "ngrams", "vocabulary", "tokens", "kept", "rejected", "fallback_orders", "dev", "licences")
    return {"lm": str(folder), **{name: facts[name] for name in kept}}


def _lm_lines(report: dict[str, Any]) -> str:
    grams = ", ".join(f"{number} {order}-grams" for order, number in enumerate(report["ngrams"], 1))
    lost = ", ".join(f"{number} {reason}" for reason, number in report["rejected"].items()) or "none"
    lines = [
        f"{report['lm']}: {report['tokens']} {report['unit']}s in {report['kept']} sentences, {grams}",
        f"left out: {lost} (each in {report['lm']}/rejects.jsonl)",
    ]
    if report["dev"] is not None:
        dev = report["dev"]
        share = dev["unknown"] / max(dev["tokens"], 1)
        lines.append(
            f"dev: perplexity {dev['perplexity']:.1f} ({dev['perplexity_of_known']:.1f} over known {report['unit']}s), "
            f"{100 * share:.1f} % unknown"
        )
        if report["unit"] == "word" and share > _MANY_UNKNOWN:
            lines.append(
                "many words of dev are new to it: make a character model as well, and give both to `orature tune`"
            )
    return "\n".join(lines)


_MANY_UNKNOWN = 0.1
LmOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--lm",
        help="Language model; of several the best on dev is taken, without one only confidences are calibrated.",
        show_default=False,
    ),
]
SpellingOption = Annotated[
    Path | None,
    typer.Option(help="Character model that spells words which the word model lacks.", show_default=False),
]


@run_command
def tune(
    model: Annotated[Path, typer.Argument(help="Model folder (CTC).", show_default=False)],
    corpus: Annotated[Path, typer.Argument(help="Corpus whose dev split decides.", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder for the decoder.", show_default=False)],
    language_models: LmOption = None,
    spelling: SpellingOption = None,
    lexicon: Annotated[bool, typer.Option("--lexicon", help="Write words of the language model only.")] = False,
    metric: Annotated[str, typer.Option(help="wer or cer: what is made small.")] = "wer",
    width: Annotated[int, typer.Option(min=1, help="Beam width.")] = 64,
    n_best: Annotated[int, typer.Option("--n-best", min=1, help="Texts kept for each recording.")] = 1,
    most_seconds: Annotated[float, typer.Option("--most-seconds", help="Seconds of dev to tune on.")] = 1800.0,
    lang: Annotated[str, typer.Option("--lang", help="Adapter, where the model has several.")] = "",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Choose the weights of a language model, and what confidences mean, on the dev split of a corpus."""
    from orature.core.errors import ConfigError
    from orature.stages.inputs import corpus_ref, model_ref
    from orature.stages.tune_decoder import TuneDecoder, lm_ref

    if metric not in ("wer", "cer") or most_seconds <= 0:
        raise ConfigError("--metric is wer or cer, --most-seconds above 0", next_step="leave them out for wer and 1800")
    refs = [lm_ref(folder) for folder in language_models or []]
    stage = TuneDecoder(
        model=model_ref(model),
        corpus=corpus_ref(corpus),
        lm=refs[0] if refs else None,
        others=tuple(refs[1:]),
        spelling=None if spelling is None else lm_ref(spelling),
        lexicon=lexicon,
        metric="cer" if metric == "cer" else "wer",
        width=width,
        n_best=n_best,
        most_seconds=most_seconds,
        language=lang,
    )
    on = resources_of(device, threads, as_json)
    if _made(stage, to, store, "tune", "decoder", resources=on, as_json=as_json, dry_run=dry_run):
        report = _tune_report(to)
        emit(report, as_json, lambda: _tune_lines(report))


def _tune_report(folder: Path) -> dict[str, Any]:
    import json

    facts = json.loads((folder / "decoder.json").read_text(encoding="utf-8"))
    points = facts["tuned"].pop("points")
    metric = facts["tuned"]["metric"]
    best = min(points, key=lambda point: point[metric], default=None)
    return {"folder": str(folder), **facts, "best": best, "tried": len(points)}


def _tune_lines(report: dict[str, Any]) -> str:
    tuned, decoder, about = report["tuned"], report["decoder"], report["confidence"]
    greedy = tuned["best_path"]
    lines = [f"dev ({tuned['utterances']} utterances): best path {_rates(greedy)}"]
    if report["best"] is not None:
        best = report["best"]
        unit = tuned["language_models"][best["lm"]]["unit"]
        lines.append(
            f"{unit} model: {_rates(best)} with alpha {best['alpha']:g}, beta {best['beta']:g}, "
            f"unseen {best['unseen']:g} ({report['tried']} settings tried)"
        )
        if decoder["kind"] == "best-path":
            lines.append("the language model does not help here: the decoder written is the best path")
    if about.get("ece_before") is not None:
        lines.append(
            f"confidence of {about['words']} words: off by {100 * about['ece_before']:.1f} % before, "
            f"{100 * about['ece_after']:.1f} % after calibration (on held-out folds)"
        )
    return "\n".join([*lines, f"use it: orature transcribe MODEL AUDIO --decoder {report['folder']}"])


def _rates(point: dict[str, float]) -> str:
    return f"WER {100 * point['wer']:.1f} %, CER {100 * point['cer']:.1f} %"
