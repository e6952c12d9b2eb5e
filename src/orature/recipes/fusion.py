"""A language model on top of a trained CTC model: made of transcripts and text, weighed on dev, measured on test.

Example::

    fused = fuse(run, model, splits, [Path("news.txt")], language="", on=resources)
    rows = gain(run, before=scored, after=scored_with_it)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orature.core.progress import say
from orature.engines.families import family_of
from orature.evaluate.compare import compare
from orature.evaluate.folder import open_scored
from orature.flow import Ref, Resources, Run
from orature.recipes.scoring import score_of
from orature.stages.language_model import language_model_stage, policy_of_model
from orature.stages.tune_decoder import TuneDecoder


def fuse(run: Run, model: Ref, splits: Ref, texts: Sequence[Path], *, language: str, on: Resources) -> Ref | None:
    """A decoder tuned on dev with language models of the train transcripts and of `texts` (dev and test stay out).

    A word model and a character model are made; the better one on dev is taken, or the best path where neither helps.
    None, said aloud, where the family gives no CTC probabilities.
    """
    folder = run.path_of(model)
    family = family_of(folder)
    if family.kind != "ctc":
        say(f"language model: {family.name} models are decoded without one; the text is not used")
        return None
    policy = policy_of_model(folder)
    made = []
    for unit in ("word", "character"):
        made.append(run.do(language_model_stage(list(texts), corpus=splits, policy=policy, unit=unit), on=on))
    return run.do(TuneDecoder(model=model, corpus=splits, lm=made[0], others=(made[1],), language=language), on=on)


def gain(run: Run, *, before: Ref, after: Ref) -> dict[str, Any]:
    """What the language model changed on test: both scores and the paired difference."""
    found = compare(open_scored(run.path_of(before)), open_scored(run.path_of(after)))
    old = score_of(run, before)
    say(
        f"language model: WER {100 * found['a']['wer']:.1f} % without, {100 * found['b']['wer']:.1f} % with it "
        f"({found['wer']['verdict']})"
    )
    return {"without": {"wer": old["wer"], "cer": old["cer"]}, "wer": found["wer"], "cer": found["cer"]}
