"""What every encoder-decoder family must hold; authors of a family of their own run the same checks on it.

Each check takes a checkpoint folder (`testing/checkpoints_seq2seq.py` makes small ones) and raises `ContractBroken`.
The reference is transformers: its feature extractor, model and `generate` on the same folder.

Example::

    check_logits(whisper_folder(tmp_path / "a"), samples, "shuk wasi", language="yo")
    check_search(folder, [samples, samples[:9000]], beams=5)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orature.engines.families import Start, family_of
from orature.engines.hf_folder import quiet
from orature.engines.network import Written
from orature.engines.protocol import Samples
from orature.testing.recogniser_contract import (
    RATE_HZ,
    TOLERANCE,
    digests,
    distance,
    hold,
    padded,
    without_dropout,
    write,
)
from orature.train.batches import Item
from orature.train.loader import Batch
from orature.train.seq2seq import Seq2SeqLearner


def batch_of(vocabulary: Any, recordings: Sequence[Samples], texts: Sequence[str], languages: Sequence[str]) -> Batch:
    """A training batch without augmentation."""
    samples_BS, lengths_B = padded(recordings)
    tokens = [vocabulary.encode(text) for text in texts]
    return Batch(
        items=[Item(number, 1.0, None, len(samples) / RATE_HZ) for number, samples in enumerate(recordings)],
        samples_BS=samples_BS,
        lengths_B=lengths_B,
        targets=torch.tensor([token for row in tokens for token in row], dtype=torch.long),
        target_lengths_B=torch.tensor([len(row) for row in tokens]),
        languages=list(languages),
    )


def reference_of(folder: Path) -> tuple[Any, Any]:
    """The model and the feature extractor of transformers."""
    import transformers

    with quiet():
        model: Any = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    if model.config.pad_token_id is None:  # Moonshine names none
        model.config.pad_token_id = model.generation_config.pad_token_id = model.config.eos_token_id
    return model, extractor


def inputs_of(extractor: Any, samples: Samples) -> Any:
    """What the reference takes for one recording."""
    with quiet():
        return extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")


def labels_of(vocabulary: Any, text: str, language: str | None) -> Tensor:
    """Labels (1, L) for teacher forcing."""
    return torch.tensor([[*vocabulary.prompt(language)[1:], *vocabulary.encode(text), vocabulary.end]])


@torch.no_grad()
def check_logits(folder: Path, samples: Samples, text: str, *, language: str | None = None) -> None:
    """Logits under teacher forcing equal the reference's with the checkpoint's own feature extractor."""
    network, vocabulary = family_of(folder).module().load(folder)
    model, extractor = reference_of(folder)
    labels_1L = labels_of(vocabulary, text, language)
    reference_1LV = model(**inputs_of(extractor, samples), labels=labels_1L).logits
    away = distance(network(*padded([samples]), labels_1L), reference_1LV)
    hold(away < TOLERANCE, f"{folder.name}: logits differ from the reference by {away:.1e}")


@torch.no_grad()
def check_batch(folder: Path, recordings: Sequence[Samples], text: str, *, language: str | None = None) -> None:
    """Every recording of a padded batch gives the logits that it gives alone, whatever lies in the padding."""
    network, vocabulary = family_of(folder).module().load(folder)
    labels_1L = labels_of(vocabulary, text, language)
    samples_BS, lengths_B = padded(recordings, 777)
    for row, length in zip(samples_BS, lengths_B.tolist(), strict=True):
        row[length:] = 0.5
    labels_BL = labels_1L.repeat(len(recordings), 1)
    together_BLV = network(samples_BS, lengths_B, torch.nn.functional.pad(labels_BL, (0, 3), value=-100))
    for number, samples in enumerate(recordings):
        alone_LV = network(*padded([samples]), labels_1L)[0]
        away = distance(alone_LV, together_BLV[number, : len(alone_LV)])
        hold(away < TOLERANCE, f"{folder.name}: recording {number} differs by {away:.1e} in a batch")


def check_search(
    folder: Path, recordings: Sequence[Samples], *, beams: int, language: str | None = None, tokens: int = 24
) -> None:
    """All hypotheses equal those of the reference's `generate`, alone and in a batch; scores fall by rank."""
    network, vocabulary = family_of(folder).module().load(folder)
    model, extractor = reference_of(folder)
    prompt = vocabulary.prompt(language)
    options: dict[str, Any] = {"beams": beams, "n_best": beams, "max_tokens": tokens}
    together = network.generate(*padded(recordings), prompt, **options)
    for number, samples in enumerate(recordings):
        ours = network.generate(*padded([samples]), prompt, **options)[0]
        hold(_same(ours, together[number]), f"{folder.name}: recording {number} is written otherwise in a batch")
        ranks = [one.score for one in ours]
        hold(ranks == sorted(ranks, reverse=True), f"{folder.name}: scores {ranks} do not fall")
        lengths = all(len(one.tokens) == len(one.log_probabilities) for one in ours)
        hold(lengths, f"{folder.name}: not one log-probability a token")
        theirs = _generated(model, inputs_of(extractor, samples), network, prompt, beams, tokens)
        mine = [list(one.tokens) for one in ours]
        hold(mine == [row for row, _ in theirs], f"{folder.name}: {mine} is not the reference's {theirs}")
        for one, (_, score) in zip(ours, theirs, strict=True):
            away = abs(score - one.score) if score is not None else 0.0
            hold(away < TOLERANCE, f"{folder.name}: score {one.score}, reference {score}")


def _same(one: Sequence[Written], other: Sequence[Written]) -> bool:
    close = all(abs(a.score - b.score) < TOLERANCE for a, b in zip(one, other, strict=True))
    return close and [written.tokens for written in one] == [written.tokens for written in other]


def _generated(
    model: Any, inputs: Any, network: Any, prompt: list[int], beams: int, tokens: int
) -> list[tuple[list[int], float | None]]:
    """Tokens of the reference after the prompt and scores; plain `generate`, without a family's own long form."""
    from transformers.generation.utils import GenerationMixin

    options: dict[str, Any] = {"suppress_tokens": list(network.never)} if network.never else {}
    if network.never_first:
        options["begin_suppress_tokens"] = list(network.never_first)
    with quiet():
        out = GenerationMixin.generate(
            model,
            **inputs,
            decoder_input_ids=torch.tensor([prompt]),
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=tokens,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
    scores = out.sequences_scores.tolist() if beams > 1 else [None]
    fillers = {network.end, model.generation_config.pad_token_id}
    rows = [[token for token in row[len(prompt) :] if token not in fillers] for row in out.sequences.tolist()]
    return list(zip(rows, scores, strict=True))


def check_overfits(
    folder: Path,
    recordings: Sequence[Samples],
    texts: Sequence[str],
    start: Start,
    *,
    languages: Sequence[str] | None = None,
    updates: int = 300,
) -> tuple[Any, Any]:
    """Learns `texts` by heart, to no error, within `updates`; returns network and vocabulary."""
    torch.manual_seed(1)
    start = replace(start, overrides={**without_dropout(folder), **start.overrides})
    network, vocabulary = family_of(folder).module().begin(folder, list(texts), start)
    learner = Seq2SeqLearner(network, vocabulary, label_smoothing=0.0)
    batch = batch_of(vocabulary, recordings, texts, languages or ["und"] * len(texts))
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    network.train()
    heard: list[str] = []
    for update in range(updates):
        losses = learner.loss(batch)
        optimiser.zero_grad()
        torch.autograd.backward(losses.total / losses.weight)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if update % 20 == 19:
            network.eval()
            heard = learner.heard(batch)
            network.train()
            if heard == list(texts):
                return network.eval(), vocabulary
    hold(False, f"{folder.name}: after {updates} updates it writes {heard}, not {list(texts)}")
    return network, vocabulary


def check_round_trip(
    source: Path, network: Any, vocabulary: Any, samples: Samples, text: str, folder: Path, language: str | None = None
) -> None:
    """Saved to `folder` and loaded, a model gives the same logits bit for bit; saved twice, the same bytes."""
    module = family_of(source).module()
    write(module.files(network, vocabulary), folder)
    again, words = module.load(folder)
    hold(len(words) == len(vocabulary), f"{source.name}: loaded, the vocabulary has another size")
    hold(words.prompt(language) == vocabulary.prompt(language), f"{source.name}: loaded, the prompt differs")
    hold(words.encode(text) == vocabulary.encode(text), f"{source.name}: loaded, {text!r} is other tokens")
    hold(words.decode(words.encode(text)) == text, f"{source.name}: {text!r} does not come back")
    labels_1L = labels_of(vocabulary, text, language)
    with torch.no_grad():
        away = distance(network(*padded([samples]), labels_1L), again(*padded([samples]), labels_1L))
    hold(away == 0, f"{source.name}: loaded, the logits differ by {away:.1e}")
    second = write(module.files(again, words), folder.with_name(folder.name + "-again"))
    hold(digests(second) == digests(folder), f"{source.name}: loaded and saved, the files differ")
