"""Phone error rate of a phone model on recordings: against espeak-ng's reading of their transcripts.

Example::

    judged(network, vocabulary, [Corpus.open(folder)])["eng"]       # {"per": 0.41, "weighted_per": 0.25, ...}
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from orature.data import audio
from orature.data.corpus import Corpus
from orature.engines.ctc_decode import collapse
from orature.engines.espeak_pipe import EspeakPipe
from orature.engines.network import CtcNetwork
from orature.engines.phone_tokens import PhoneTokens
from orature.stages.phone_material import labelled
from orature.text.phone_features import Errors, phone_errors

LONGEST_S = 30.0
_SPLITS = ("dev", "test")


@torch.no_grad()
def judged(network: CtcNetwork, vocabulary: PhoneTokens, corpora: Sequence[Corpus]) -> dict[str, dict[str, Any]]:
    """By language: `per`, `weighted_per`, `phones`, `utterances` and `left_out` of dev and test rows up to 30 s.

    The model was not chosen by them. References are readings by rule, so that a perfect model would not reach 0.
    """
    rows = [row for corpus in corpora for name in _SPLITS for row in corpus.split(name)]
    with EspeakPipe() as espeak:
        kept, rejects = labelled(rows, espeak)
    language_of = {row.id: row.language for row in rows}
    totals: dict[str, Errors] = defaultdict(Errors)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for reject in rejects:
        counts[language_of[reject.id]][1] += 1
    network.eval()
    for row in kept:
        span, language = row.utterance.audio, row.utterance.language
        if span.duration_s > LONGEST_S:
            counts[language][1] += 1
            continue
        samples = torch.from_numpy(audio.load(span.path, span.start_s, span.duration_s))[None]
        logits_BTV, steps_B = network(samples, torch.tensor([samples.shape[1]]))
        path = logits_BTV[0, : int(steps_B[0])].argmax(dim=-1).numpy()
        heard = vocabulary.units(vocabulary.decode(collapse(path, vocabulary.blank)))
        totals[language] = totals[language] + phone_errors(row.phones.split(), heard)
        counts[language][0] += 1
    return {language: _facts(totals.get(language), *counts[language]) for language in sorted(counts)}


def _facts(errors: Errors | None, utterances: int, left_out: int) -> dict[str, Any]:
    if errors is None:
        return {"per": None, "weighted_per": None, "phones": 0, "utterances": 0, "left_out": left_out}
    return {
        "per": round(errors.rate, 6),
        "weighted_per": round(errors.weighted_rate, 6),
        "phones": errors.phones,
        "utterances": utterances,
        "left_out": left_out,
    }
