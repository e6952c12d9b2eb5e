"""`orature judge`: how intelligible synthetic speech is (Norm_I), which of it to keep, and from where on it helps.

Example::

    orature judge made --reference corpus --judge whisper-small --to judged
    orature judge made --reference corpus --judge whisper-small --filter-to kept --most-cer 0.4
    orature judge --calibrate corpus --synthetic made --judge whisper-small --to calibration --dry-run
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import (
    BackendOption,
    DryRunOption,
    FastOption,
    JsonOption,
    StoreOption,
    command_line,
    emit,
    example,
    run_command,
)
from orature.cli.train import DeviceOption, ScaleOption, SeedOption, SetOption, ThreadsOption, resources_of

if TYPE_CHECKING:
    from orature.flow import Ref, Resources

_LINES = (
    "orature judge made --reference corpus --judge whisper-small --to judged",
    "orature judge made --reference corpus --judge whisper-small --filter-to kept --most-cer 0.4",
    "orature judge --calibrate corpus --synthetic made --judge whisper-small --to calibration --scale dev",
)


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=example(*_LINES))(judge)


ReferenceOption = Annotated[
    Path | None, typer.Option(help="Corpus folder of real speech in the same language.", show_default=False)
]
ModelOption = Annotated[
    str | None, typer.Option("--judge", help="Model folder (or allowed hub id) that listens.", show_default=False)
]
NormaliserOption = Annotated[str | None, typer.Option(help="Scoring normaliser.", show_default="orature-basic@1")]
SyntheticSplitOption = Annotated[
    str | None, typer.Option(help="Split of the synthetic speech.", show_default="the only one")
]
MostOption = Annotated[
    int | None, typer.Option(min=1, help="Judge so many synthetic utterances, drawn at random.", show_default="all")
]
TrainedOption = Annotated[
    str | None,
    typer.Option(help="Model that the speech is for: a judge of its family is warned of.", show_default=False),
]
RepeatOption = Annotated[bool, typer.Option("--repeat", help="Print Norm_I of each voice and speaker too.")]
FilterOption = Annotated[
    Path | None, typer.Option("--filter-to", help="Corpus folder for what the judge understands.", show_default=False)
]
CerOption = Annotated[float, typer.Option(help="Filter: the largest character error rate to keep.")]
ShareOption = Annotated[float, typer.Option(help="Filter: the largest share to reject; the worst go first.")]
OddOption = Annotated[
    float | None,
    typer.Option(help="Filter: robust deviations of seconds a character beyond which to reject.", show_default=False),
]
CalibrateOption = Annotated[
    bool, typer.Option("--calibrate", help="Train small recognisers over a ladder of qualities instead.")
]
SyntheticOption = Annotated[
    Path | None, typer.Option(help="Calibrate: corpus folder of synthetic speech.", show_default=False)
]
SpokenTextOption = Annotated[
    Path | None, typer.Option("--text", help="Calibrate: sentences for --voice to read.", show_default=False)
]
VoiceOption = Annotated[str, typer.Option(help="Calibrate: the voice that reads --text.")]
ToOption = Annotated[
    Path | None, typer.Option("--to", help="Folder for judge.json and judge.html.", show_default="NAME-judged")
]


@run_command
def judge(
    corpus: Annotated[Path, typer.Argument(help="Synthetic speech (with --calibrate: real speech).")],
    reference: ReferenceOption = None,
    model: ModelOption = None,
    metric: Annotated[str, typer.Option(help="wer, cer or auto.")] = "auto",
    normaliser: NormaliserOption = None,
    split: Annotated[str, typer.Option(help="Split of the reference.")] = "dev",
    synthetic_split: SyntheticSplitOption = None,
    most: MostOption = None,
    trained: TrainedOption = None,
    repeat: RepeatOption = False,
    filter_to: FilterOption = None,
    most_cer: CerOption = 0.5,
    most_rejected: ShareOption = 0.1,
    odd_durations: OddOption = None,
    calibrate: CalibrateOption = False,
    synthetic: SyntheticOption = None,
    text: SpokenTextOption = None,
    voice: VoiceOption = "espeak",
    scale: ScaleOption = None,
    seed: SeedOption = None,
    assign: SetOption = None,
    to: ToOption = None,
    lang: Annotated[str, typer.Option("--lang", help="Language, where the judge asks for one.")] = "",
    backend: BackendOption = "auto",
    fast: FastOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Judge synthetic speech against real speech (Norm_I), filter it, or find from which quality on it helps."""
    _refuse_unlike(model, calibrate, reference, [synthetic, text, scale, seed, assign], [synthetic, text], to)
    on = resources_of(device, threads, as_json)
    if calibrate:
        options = {"synthetic": synthetic, "text": text, "voice": voice if text else "", "language": lang}
        options |= {"judge": model, "metric": metric, "normaliser": normaliser}
        how = {"scale": scale or "dev", "seed": 1 if seed is None else seed, "resources": on, "store": store}
        return _calibrate(str(corpus), to, options, assign or [], how, as_json, dry_run)
    task = _Task(store, corpus, str(reference), str(model), on)
    task.choose(metric, normaliser, split, synthetic_split, trained, lang, backend, fast)
    to = to or Path(f"{corpus.name}-judged")
    bounds = {"most_cer": most_cer, "most_rejected": most_rejected, "duration_deviations": odd_durations}
    task.refuse_early(to, filter_to, bounds)
    if dry_run:
        return emit(task.plan(filter_to), as_json)
    facts = task.judge(to, most)
    if filter_to is not None:
        facts["filter"] = task.filter(filter_to, bounds)
    emit(facts, as_json, lambda: "\n".join(task.story(facts, to, repeat=repeat)))


def _refuse_unlike(
    model: str | None,
    calibrate: bool,
    reference: Path | None,
    only_calibrate: list[Any],
    spoken: list[Path | None],
    to: Path | None,
) -> None:
    """ConfigError for options that are missing or belong to the other way of using the command."""
    from orature.core.errors import ConfigError

    usage = "orature judge CORPUS --reference CORPUS --judge MODEL"
    if calibrate:
        usage = "orature judge --calibrate CORPUS --synthetic CORPUS --judge MODEL --to DIR (or --text FILE)"
    problem = ""
    if model is None:
        problem = "who judges? --judge names a recogniser that knows the language"
    elif calibrate and to is None:
        problem = "where shall the calibration go? --to names a folder"
    elif calibrate and sum(one is not None for one in spoken) != 1:
        problem = "calibration needs either synthetic speech (--synthetic) or a text for a voice (--text)"
    elif calibrate and reference is not None:
        problem = "--calibrate takes the real speech as CORPUS and no --reference"
    elif not calibrate and reference is None:
        problem = "which real speech is it to be judged beside? --reference names a corpus"
    elif not calibrate and any(one is not None for one in only_calibrate):
        problem = "--synthetic, --text, --scale, --seed and --set are for --calibrate"
    if problem:
        raise ConfigError(problem, next_step=usage)


def _calibrate(
    corpus: str,
    to: Path | None,
    options: dict[str, Any],
    assign: list[str],
    how: dict[str, Any],
    as_json: bool,
    dry_run: bool,
) -> None:
    from orature.recipes import calibrate as recipe
    from orature.recipes.registry import Request
    from orature.recipes.settings import parse_assignments

    given = {name: str(value) for name, value in options.items() if value}
    settings = given | parse_assignments(assign)
    request = Request(sources=(corpus,), to=Path(str(to)), settings=settings, command=command_line(), **how)
    if dry_run:
        return emit(recipe.plan(request), as_json)
    outcome = recipe.run(request)
    emit(outcome.facts, as_json, lambda: "\n".join(outcome.lines))


class _Task:
    """One judgement as it was asked for."""

    def __init__(self, store: Path | None, corpus: Path, reference: str, model: str, on: Resources) -> None:
        from orature.flow import Run, open_store
        from orature.stages.inputs import corpus_ref, model_ref

        self.run = Run(open_store(store), recipe="judge", command=command_line())
        self.on, self.name = on, corpus.name
        self.made, self.real, self.judge_ref = corpus_ref(corpus), corpus_ref(Path(reference)), model_ref(model)
        self.options: dict[str, Any] = {}
        self.made_split = ""

    def choose(
        self,
        metric: str,
        normaliser: str | None,
        split: str,
        synthetic_split: str | None,
        trained: str | None,
        lang: str,
        backend: str,
        fast: bool,
    ) -> None:
        """The options of `recipes.judging.judged`; what cannot be is refused here."""
        from orature.data.corpus import Corpus
        from orature.recipes.judging import Listening, check_options, refuse_empty, split_of
        from orature.stages.inputs import model_ref
        from orature.text.normalise import NORMALISER

        check_options(metric, normaliser or NORMALISER)
        made, real = Corpus.open(Path(self.made.path)), Corpus.open(Path(self.real.path))
        self.made_split = split_of(made, synthetic_split)
        refuse_empty(real, split)
        refuse_empty(made, self.made_split)
        self.options = {
            "metric": metric,
            "normaliser": normaliser or NORMALISER,
            "synthetic_split": self.made_split,
            "reference_split": split,
            "trained": None if trained is None else model_ref(trained),
            "listening": Listening(language=lang, backend=backend, fast=fast),
        }

    def refuse_early(self, to: Path, filter_to: Path | None, bounds: dict[str, Any]) -> None:
        """What cannot be written, or be a bound, before anything is decoded."""
        from orature.core.files import refuse_unwritable
        from orature.flow.store import refuse_foreign
        from orature.recipes.settings import override
        from orature.stages.filter_speech import FilterSpeech

        refuse_unwritable(to)
        if filter_to is not None:
            refuse_foreign(filter_to)
        override(FilterSpeech(corpus=self.made, heard=self.made), bounds, "filter.")

    def plan(self, filter_to: Path | None) -> dict[str, Any]:
        """What would be done."""
        from orature.data.corpus import Corpus

        sides = []
        for ref, split in ((self.real, self.options["reference_split"]), (self.made, self.made_split)):
            rows = Corpus.open(Path(ref.path))
            one = rows.summary()["splits"][split]
            facts = {"utterances": one["utterances"], "hours": one["hours"]}
            sides.append({"corpus": ref.path, "split": split, **facts})
        steps = ["transcribe both", "judge", *(["filter"] if filter_to is not None else [])]
        return {"steps": steps, "real": sides[0], "synthetic": sides[1], "judge": self.judge_ref.path}

    def judge(self, to: Path, most: int | None) -> dict[str, Any]:
        """Decodes (at most `most` synthetic utterances), judges and publishes; the judgement."""
        from orature.recipes.judging import judged, publish_judgement
        from orature.stages.distort import DrawRows

        made = self.made
        if most is not None:
            made = self.run.do(DrawRows(corpus=made, split=self.made_split, most=most), on=self.on)
        ref = judged(self.run, made, self.real, self.judge_ref, on=self.on, **self.options)
        return publish_judgement(self.run, ref, to, title=self.name)

    def filter(self, to: Path, bounds: dict[str, Any]) -> dict[str, Any]:
        """The kept corpus, published; the account of what went."""
        from orature.recipes.judging import filtered, read_filter

        ref: Ref = filtered(
            self.run,
            self.made,
            self.judge_ref,
            split=self.made_split,
            normaliser=self.options["normaliser"],
            listening=self.options["listening"],
            on=self.on,
            **bounds,
        )
        self.run.store.publish(ref, to)
        return {"corpus": str(to), **read_filter(to)}

    def story(self, facts: dict[str, Any], to: Path, *, repeat: bool) -> list[str]:
        """The judgement for a terminal."""
        from orature.recipes.judging import filter_lines, judgement_lines

        lines = judgement_lines(facts, groups=repeat)
        if "filter" in facts:
            lines += filter_lines(facts["filter"])
        return [*lines, f"report: {to / 'judge.html'}"]
