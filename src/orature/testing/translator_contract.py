"""What every translator must hold; authors of a translator of their own run the same checks on it.

Each check raises `ContractBroken` with the law that is broken and the request that shows it. `check_translator` is for
every engine; `check_reference` and `check_alike` are for checkpoints in the layout of transformers: the first compares
with transformers' own tokenizer and `generate` on the same folder, the second two backends.

Example::

    def test_my_translator():
        requests = [TranslationRequest("la casa", "es", "qu"), TranslationRequest("el perro duerme", "es", "qu")]
        check_translator(lambda: open_translator("my-translator:model"), requests)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.hf_folder import quiet
from orature.engines.neural_translator import length_bound
from orature.engines.translator import SCORE_DIGITS, TextSearch, TranslationRequest, Translations, Translator

Opener = Callable[[], Translator]
SEARCHES = (
    TextSearch(beams=3, n_best=2, length_penalty=0.4),
    TextSearch(sample=True, n_best=3, temperature=0.8, top_k=20),
)
TOLERANCE = 1.5 * 10**-SCORE_DIGITS
"""Two numbers that are nearly equal can be rounded apart."""
_OVERLONG = 30_000
"""How many characters no translator takes at once."""
_NOWHERE = "x-no-such-language"


class ContractBroken(AssertionError):
    """A translator does not hold what every translator promises."""


def hold(law: bool, what: str) -> None:
    """ContractBroken with `what` unless `law` holds."""
    if not law:
        raise ContractBroken(what)


def check_translator(
    begin: Opener,
    requests: Sequence[TranslationRequest],
    *,
    searches: Sequence[TextSearch] = SEARCHES,
    endless: tuple[TranslationRequest, TextSearch] | None = None,
    any_language: bool = False,
) -> None:
    """All checks. `requests`: at least two that it can translate, of different lengths; `begin()` opens it.

    `endless` is a request with a search that it cannot end; `any_language`: it takes whatever language it is told.
    """
    hold(len({len(request.text) for request in requests}) > 1, "give the check texts of different lengths")
    with begin() as translator:
        check_facts(translator, requests[0])
        for search in searches:
            found = check_texts(translator, requests, search)
            check_repeats(translator, requests, search, found)
        check_seeds(translator, requests)
        check_refusals(translator, requests[0], endless)
        if not any_language:
            check_languages(translator, requests[0])
        card = translator.card
    with begin() as again:
        hold(again.card == card, f"opened again, its card is {again.card}, not {card}")
        search = searches[0]
        hold(again.translate(requests, search) == check_texts(again, requests, search), "opened again, texts change")
        again.close()


def check_facts(translator: Translator, request: TranslationRequest) -> None:
    """A card that names licence and revision, a batch, and no complaint about a direction that it has."""
    hold(isinstance(translator, Translator), f"{type(translator).__name__} lacks a part of engines/translator.py")
    card = translator.card
    whole = isinstance(card, Card) and bool(card.name and card.family and card.licence and card.revision)
    hold(whole, f"the card lacks a part: {card}")
    hold(translator.batch > 0, f"a batch of {translator.batch}")
    translator.check(request.source, request.target)


def check_texts(
    translator: Translator, requests: Sequence[TranslationRequest], search: TextSearch
) -> list[Translations | Refusal]:
    """Each request gives one to `n_best` different texts, the best first; no request, nothing."""
    hold(translator.translate([], search) == [], "no requests do not give an empty list")
    outcomes = translator.translate(requests, search)
    hold(len(outcomes) == len(requests), f"{len(requests)} requests gave {len(outcomes)} outcomes")
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(outcome, Refusal):
            hold(search.sample, f"{request.text!r} is refused ({outcome.reason}): {outcome.detail}")
            continue
        hold(0 < len(outcome) <= search.n_best, f"{request.text!r}: {len(outcome)} texts for {search.n_best} wanted")
        texts, scores = [one.text for one in outcome], [one.score for one in outcome]
        hold(len(set(texts)) == len(texts), f"{request.text!r}: a text stands twice in {texts}")
        hold(scores == sorted(scores, reverse=True), f"{request.text!r}: scores {scores} do not fall")
        hold(all(text and text == text.strip() for text in texts), f"{request.text!r}: an empty or unstripped text")
        hold(all(map(math.isfinite, scores)), f"{request.text!r}: a score is no number: {scores}")
        hold(all(0.0 <= one.known <= 1.0 for one in outcome), f"{request.text!r}: `known` is no share")
    return outcomes


def check_repeats(
    translator: Translator,
    requests: Sequence[TranslationRequest],
    search: TextSearch,
    found: Sequence[Translations | Refusal],
) -> None:
    """Law 7: again, in another order, alone and beside its like every request gives the same."""
    _same(translator.translate(requests, search), found, requests, "again")
    _same(translator.translate(list(requests)[::-1], search)[::-1], found, requests, "in another order")
    _same([translator.translate([request], search)[0] for request in requests], found, requests, "alone")
    doubled = translator.translate([request for request in requests for _ in range(2)], search)
    _same(doubled[::2], found, requests, "beside its like")
    _same(doubled[1::2], found, requests, "beside its like")


def check_seeds(translator: Translator, requests: Sequence[TranslationRequest]) -> None:
    """The seed changes what is drawn for one request at least, and nothing of what a beam search finds."""
    drawing = TextSearch(sample=True, n_best=2, temperature=1.5)
    others = [replace(request, seed=request.seed + 1) for request in requests]
    drawn, changed = translator.translate(requests, drawing), translator.translate(others, drawing)
    hold(drawn != changed, "another seed draws the same texts for every request")
    plain = TextSearch(beams=2)
    _same(translator.translate(others, plain), translator.translate(requests, plain), requests, "with another seed")


def check_refusals(
    translator: Translator, plain: TranslationRequest, endless: tuple[TranslationRequest, TextSearch] | None
) -> None:
    """What cannot be translated is a Refusal with a reason and a detail; its neighbours are translated."""
    wrong = {
        "empty-text": replace(plain, text=""),
        "empty-text of blanks": replace(plain, text=" \n\t"),
        "too-long": replace(plain, text=(plain.text + " ") * (_OVERLONG // len(plain.text))),
    }
    search = TextSearch(beams=2)
    outcomes = translator.translate([request for bad in wrong.values() for request in (bad, plain)], search)
    hold(len(outcomes) == 2 * len(wrong), "a refusal changes the number of outcomes")
    alone = translator.translate([plain], search)[0]
    for name, refused, neighbour in zip(wrong, outcomes[::2], outcomes[1::2], strict=True):
        hold(neighbour == alone, f"beside a request that is refused ({name}) its neighbour changes")
        _refused(refused, name.split(" ")[0])
    if endless is not None:
        _refused(translator.translate([endless[0]], endless[1])[0], "truncated")
    for name, value in {"beams": 0, "n_best": 0, "temperature": 0.0, "max_ratio": 0.0, "top_k": -1}.items():
        try:
            TextSearch(**{name: value})  # type: ignore[arg-type]
        except ConfigError:
            continue
        raise ContractBroken(f"a search with {name}={value} is taken")


def check_languages(translator: Translator, plain: TranslationRequest) -> None:
    """A language that it lacks is a ConfigError that names a near one, and a Refusal for a request."""
    for wrong in (replace(plain, source=_NOWHERE), replace(plain, target=_NOWHERE)):
        try:
            translator.check(wrong.source, wrong.target)
        except ConfigError as error:
            near = [tag for tag in translator.card.languages if tag in error.next_step]
            hold(bool(near) or not translator.card.languages, f"no language that it has is named: {error.next_step}")
            _refused(translator.translate([wrong], TextSearch())[0], "unknown-language")
            if wrong.source == _NOWHERE:
                continue
            return
        hold(wrong.target != _NOWHERE, f"it translates into {_NOWHERE!r}")


def check_reference(
    folder: Path, translator: Translator, requests: Sequence[TranslationRequest], how: TextSearch
) -> None:
    """All texts and scores are those of transformers' tokenizer and `generate` on the same folder."""
    model, tokenizer = _reference(folder)
    outcomes = translator.translate(requests, how)
    for request, outcome in zip(requests, outcomes, strict=True):
        inputs, forced = _inputs(tokenizer, request)
        room = getattr(model.config, "max_position_embeddings", None) or 2**30
        bound = min(length_bound(inputs["input_ids"].shape[1], how.max_ratio), room - 1 - (forced is not None))
        texts, scores, longest = _generated(model, tokenizer, inputs, forced, how, bound)
        if isinstance(outcome, Refusal):
            hold(outcome.reason in ("truncated", "no-text"), f"{request.text!r} is refused: {outcome.detail}")
            hold(longest >= bound or "" in texts, f"{request.text!r} is {outcome.reason}; the reference: {texts}")
            continue
        mine = [one.text for one in outcome]
        different = [text for text in dict.fromkeys(texts) if text]
        hold(mine == different[: len(mine)], f"{folder.name}: {mine}; the reference: {texts}")
        if how.beams > 1 and len(mine) == len(texts):
            away = max(abs(one.score - score) for one, score in zip(outcome, scores, strict=True))
            hold(away <= TOLERANCE, f"{folder.name}: scores {[one.score for one in outcome]}; the reference: {scores}")


def check_alike(one: Translator, other: Translator, requests: Sequence[TranslationRequest], how: TextSearch) -> None:
    """Two backends find the same texts with the same scores."""
    for request, mine, theirs in zip(
        requests, one.translate(requests, how), other.translate(requests, how), strict=True
    ):
        if isinstance(mine, Refusal) or isinstance(theirs, Refusal):
            hold(mine == theirs, f"{request.text!r}: {mine} and {theirs}")
            continue
        texts = [each.text for each in mine], [each.text for each in theirs]
        hold(texts[0] == texts[1], f"{request.text!r} ({how}): {texts[0]} and {texts[1]}")
        away = max(abs(a.score - b.score) for a, b in zip(mine, theirs, strict=True))
        hold(away <= TOLERANCE, f"{request.text!r} ({how}): scores differ by {away}")


def _refused(outcome: Translations | Refusal, reason: str) -> None:
    if not isinstance(outcome, Refusal):
        raise ContractBroken(f"it does not refuse what is {reason}")
    hold(outcome.reason == reason, f"the reason for {reason} is {outcome.reason!r}")
    hold(bool(outcome.detail), f"the refusal of {reason} says nothing")


def _same(
    outcomes: Sequence[Translations | Refusal],
    found: Sequence[Translations | Refusal],
    requests: Sequence[TranslationRequest],
    how: str,
) -> None:
    hold(len(outcomes) == len(found), f"{how}, {len(found)} requests gave {len(outcomes)} outcomes")
    for request, outcome, first in zip(requests, outcomes, found, strict=True):
        hold(outcome == first, f"{how}, {request.text!r} gives {outcome}, first {first}")


def _reference(folder: Path) -> tuple[Any, Any]:
    import transformers

    with quiet():
        model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        model.generation_config.forced_eos_token_id = None  # at the bound it would end what did not end (Marian)
        kinds = {"t5": "PreTrainedTokenizerFast"}
        kind: Any = getattr(transformers, kinds.get(model.config.model_type, "AutoTokenizer"))
        return model, kind.from_pretrained(folder)


def _inputs(tokenizer: Any, request: TranslationRequest) -> tuple[Any, int | None]:
    """What `generate` takes for a request, and the token that it is forced to begin with."""
    from orature.engines.translation_languages import code_for

    name = type(tokenizer).__name__
    if "M2M100" in name or "Nllb" in name:
        codes = tokenizer.lang_code_to_id if "M2M100" in name else dict(tokenizer.get_added_vocab())
        codes = {code: number for code, number in codes.items() if not code.startswith("<")}
        tokenizer.src_lang = code_for(request.source, list(codes))
        return tokenizer(request.text, return_tensors="pt"), codes[code_for(request.target, list(codes))]
    if "Marian" in name:
        codes = {code[2:-2]: code for code in tokenizer.supported_language_codes}
        first = codes[code_for(request.target, list(codes))] + " " if codes else ""
        return tokenizer(first + request.text, return_tensors="pt"), None
    ids = tokenizer(f"<2{request.target}> {request.text}", add_special_tokens=False)["input_ids"]
    rows = torch.tensor([[*ids, tokenizer.eos_token_id]])
    return {"input_ids": rows, "attention_mask": torch.ones_like(rows)}, None


def _generated(
    model: Any, tokenizer: Any, inputs: Any, forced: int | None, how: TextSearch, bound: int
) -> tuple[list[str], list[float], int]:
    """Texts, scores, and the most tokens of one, by `generate`."""
    beams = max(how.beams, how.n_best)
    options: dict[str, Any] = {"forced_bos_token_id": forced} if forced is not None else {}
    if beams > 1:
        options |= {"early_stopping": True, "length_penalty": how.length_penalty}
    with quiet(), torch.no_grad():
        out = model.generate(
            **inputs,
            num_beams=beams,
            num_return_sequences=how.n_best,
            do_sample=False,
            max_new_tokens=bound + (forced is not None),
            suppress_tokens=[model.config.pad_token_id],
            renormalize_logits=True,
            output_scores=True,
            return_dict_in_generate=True,
            **options,
        )
    texts = [text.strip() for text in tokenizer.batch_decode(out.sequences, skip_special_tokens=True)]
    if hasattr(tokenizer, "get_vocab"):
        texts = [_without_codes(text) for text in texts]
    scores = out.sequences_scores.tolist() if beams > 1 else [0.0]
    return texts, scores, int(out.sequences.shape[1]) - 1 - (forced is not None)


def _without_codes(text: str) -> str:
    """Without M2M-100's language tokens, which its tokenizer does not count as special."""
    import re

    return re.sub(r"__[a-z]{2,3}__", "", text).strip()
