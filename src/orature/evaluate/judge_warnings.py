"""When a judgement of synthetic speech must be read with care, and why.

Example::

    cautions(found, JudgeFacts(name="whisper-small", family="whisper"), trained=None)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orature.evaluate.diversity import narrower
from orature.evaluate.intelligibility import HIGH_ERROR, SHARED, lowest_possible

FEW_UTTERANCES = 100
FEW_WORDS = 300
LITTLE_ROOM = 0.1
"""Above this, the lowest Norm_I that a judge can show says little."""
MANY_REFUSED = 0.02


@dataclass(frozen=True, slots=True)
class JudgeFacts:
    """A recogniser as a judge sees or is seen: names, digest, the family, and what it was made from (digests)."""

    name: str
    family: str
    digest: str = ""
    trained_on: str = ""
    """Digest of the corpus that it was trained on."""
    start: str = ""
    """Digest of the model that it was trained from."""


def cautions(
    found: Mapping[str, Any],
    judge: JudgeFacts,
    *,
    trained: JudgeFacts | None = None,
    reference: str = "",
    reference_split: str = "",
    unknown: Sequence[str] = (),
) -> list[str]:
    """Sentences on what `judge_rows` found (with its `diversity`).

    `trained` is the recogniser that the synthetic speech is for; `reference` the digest of the corpus of real speech;
    `unknown` its languages that the judge does not claim to know.
    """
    said = [
        *_kin(judge, trained),
        *_known_before(judge, reference, reference_split),
        *_language(found, unknown),
        *_room(found),
        *_size(found),
        *_easier(found),
    ]
    if found["floor"]["used"]:
        said.append(
            f"The judge errs on {100 * found[found['metric'] + '_real']['value']:.2f} % of real speech, less than the "
            f"floor of {100 * found['floor']['value']:g} %: Norm_I divides by the floor."
        )
    return said


def _kin(judge: JudgeFacts, trained: JudgeFacts | None) -> list[str]:
    """A judge favours what it hears well itself, and so would the model that is trained (trap T9)."""
    if trained is None:
        return []
    if judge.digest and judge.digest == trained.digest:
        return ["The judge is the recogniser that is trained: this favours what it already hears. Take another family."]
    related = {judge.digest, judge.start} & {trained.digest, trained.start} - {""}
    if related:
        return ["The judge and the recogniser that is trained come from one model: take a judge of another family."]
    if judge.family and judge.family == trained.family:
        return [
            f"The judge and the recogniser that is trained are both {judge.family} models: what one hears well the "
            "other hears too. A judge of another family tells more."
        ]
    return []


def _known_before(judge: JudgeFacts, reference: str, split: str) -> list[str]:
    if judge.trained_on and judge.trained_on == reference and split == "train":
        return ["The judge was trained on these real recordings: it errs too little on them, and Norm_I is too low."]
    return []


def _language(found: Mapping[str, Any], unknown: Sequence[str]) -> list[str]:
    if unknown and found["wer_real"]["value"] > HIGH_ERROR:
        return [
            f"The judge does not claim to know {', '.join(unknown)}, and it shows on real speech (WER "
            f"{100 * found['wer_real']['value']:.0f} %): fine-tune a judge on real recordings, or listen."
        ]
    return []


def _room(found: Mapping[str, Any]) -> list[str]:
    """With many errors on real speech there is little that synthetic speech could do worse."""
    metric, other = found["metric"], "cer" if found["metric"] == "wer" else "wer"
    real = found[f"{metric}_real"]["value"]
    lowest = lowest_possible(real, found["floor"]["value"])
    if lowest <= LITTLE_ROOM:
        return []
    advice = "judge by characters (--metric cer)" if other == "cer" else "take a judge that knows the language"
    return [
        f"The judge misses {100 * real:.0f} % of real speech ({metric.upper()}): even noise would get a Norm_I of "
        f"{lowest:.2f}, so this one says little; {advice}."
    ]


def _size(found: Mapping[str, Any]) -> list[str]:
    said = []
    for side, name in (("real", "real"), ("syn", "synthetic")):
        size = found[f"size_{side}"]
        if size["utterances"] < FEW_UTTERANCES or size["words"] < FEW_WORDS:
            said.append(
                f"Only {size['utterances']:,} utterances ({size['words']:,} words) on the {name} side: the interval "
                "says how little that is."
            )
        if size["refused"] > MANY_REFUSED * size["utterances"]:
            said.append(
                f"The judge refused {size['refused']:,} of {size['utterances']:,} {name} recordings; their words count "
                "as missed."
            )
    probe = found["probe"]
    few = min(probe["sentences_real"], probe["sentences_syn"])
    if not probe["paired"] and probe["shared"] < SHARED * few:
        said.append(
            f"Not paired: the sides share {probe['shared']:,} of {few:,} sentences, and harder sentences on one side "
            "move Norm_I too. Let the voice read the transcripts of the real recordings for a closer answer."
        )
    left_out = probe["left_out_real"], probe["left_out_syn"]
    if any(left_out):
        said.append(
            f"Left out, since the other side lacks their sentence: {left_out[0]:,} real and {left_out[1]:,} synthetic "
            "recordings."
        )
    return said


def _easier(found: Mapping[str, Any]) -> list[str]:
    """Easier than real speech and less varied: the judge repairs, or the voice is monotonous (trap T10)."""
    measures = found.get("diversity") or {}
    if found["norm_i"]["value"] <= 1 or not measures.get("synthetic") or not measures.get("real"):
        return []
    poorer = narrower(measures["synthetic"], measures["real"])
    if not poorer:
        return []
    return [
        f"Easier than real speech (Norm_I {found['norm_i']['value']:.2f}) but less varied ({'; '.join(poorer)}): "
        "intelligible is not yet useful. More voices, rates and rooms help."
    ]
