"""`orature demo`: the whole main job in a few minutes, on a small corpus that it makes itself or on yours.

Example::

    orature demo --to demo-out
    orature demo --corpus my_corpus/ --to demo-out
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import JsonOption, command_line, emit, example, run_command
from orature.cli.train import rate_lines, resources_of
from orature.core.errors import WorkFailed
from orature.core.progress import clock
from orature.core.types import Hypothesis

if TYPE_CHECKING:
    from orature.recipes.up import UpResult


@dataclass(frozen=True, slots=True)
class Unseen:
    """A clip that the model was not trained on, and what is said in it."""

    clip: Path
    text: str
    start_s: float = 0.0
    duration_s: float | None = None


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=example("orature demo --to demo-out", "orature demo --corpus my_corpus/ --to demo-out"))(demo)


@run_command
def demo(
    corpus: Annotated[
        Path | None, typer.Option(help="A corpus of yours; without it a small synthetic one is made.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder for the corpus, the model and the report.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Seed of the corpus and of the training.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Train, score and use a recogniser, start to end, in a few minutes."""
    from orature.core.files import refuse_unwritable
    from orature.recipes.up import up

    refuse_unwritable(to)
    began = time.monotonic()
    unseen: Unseen | None = None
    source = corpus
    if source is None:
        source, unseen = _synthetic(to, seed, quiet=as_json)
    on = resources_of("auto", None, as_json)
    result = up(source, to, scale="smoke", seed=seed, resources=on, command=command_line())
    unseen = unseen or _from_test(result.report.parent)
    heard = _listen(result.model, unseen)
    facts = _facts(result, unseen, heard, time.monotonic() - began, synthetic=corpus is None)
    emit(facts, as_json, lambda: _story(facts))


def _synthetic(to: Path, seed: int, *, quiet: bool) -> tuple[Path, Unseen]:
    """Makes the sample corpus and says what it is."""
    from orature.testing.sample_corpus import NOTICE, make_sample_corpus

    if not quiet:
        print(NOTICE, flush=True)
    to.mkdir(parents=True, exist_ok=True)
    sample = make_sample_corpus(to / "sample", seed=seed)
    if not quiet:
        print(f"{sample.utterances} sentences, {sample.seconds / 60:.0f} minutes, in {sample.corpus}", flush=True)
    return sample.corpus, Unseen(sample.unseen_clip, sample.unseen_text)


def _from_test(folder: Path) -> Unseen:
    """An utterance of the test split with several words, if there is one."""
    path = folder / "hypotheses.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except OSError as error:
        raise WorkFailed(f"the hypotheses cannot be read ({error})", where=str(path)) from error
    row = max(rows, key=lambda row: (min(len(str(row["reference"]).split()), 8), str(row["id"])))
    audio = row["audio"]
    return Unseen(Path(audio["path"]), str(row["reference"]), float(audio["start_s"]), float(audio["duration_s"]))


def _listen(model: Path, unseen: Unseen) -> str:
    """What the model hears in the clip."""
    from orature.data.audio import load
    from orature.engines.recognisers import load_recogniser

    samples = load(unseen.clip, unseen.start_s, unseen.duration_s)
    outcome = load_recogniser(model).transcribe([samples])[0]
    return outcome.text if isinstance(outcome, Hypothesis) else f"(refused: {outcome.detail})"


def _facts(result: UpResult, unseen: Unseen, heard: str, seconds: float, *, synthetic: bool) -> dict[str, Any]:
    score = result.score
    return {
        "synthetic_speech": synthetic,
        "wer": score["wer"],
        "cer": score["cer"],
        "utterances": score["utterances"],
        "words": score["words"],
        "clip": str(unseen.clip),
        "said": unseen.text,
        "heard": heard,
        "model": str(result.model),
        "report": str(result.report),
        "seconds": round(seconds, 1),
    }


def _story(facts: dict[str, Any]) -> str:
    lines = [
        "",
        f"Test split, which training never met ({facts['utterances']} utterances, {facts['words']} words):",
        *rate_lines(facts),
    ]
    if facts["synthetic_speech"]:
        lines.append("  (synthetic speech: this shows that everything works, not how well people are recognised)")
    lines += [
        f"A clip that it has not seen, {facts['clip']}:",
        f"  said   {facts['said']}",
        f"  heard  {facts['heard']}",
        f"Try it:  orature transcribe {facts['model']} YOUR_RECORDING.wav",
        f"Done in {clock(facts['seconds'])}. The report, to open in a browser:",
        facts["report"],
    ]
    return "\n".join(lines)
