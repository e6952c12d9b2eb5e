"""Text and sampling of the XTTS worker: what can be said, which positions are hidden, which code comes next.

It imports nothing of Orature, for it runs in the environment of coqui-tts too.

Example::

    codes = sample_codes(model.gpt, [latents], [tokens], [chooser], most_codes=602)[0]      # None: it did not end
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import normalize

import numpy as np
import torch

LIMITS = {
    "en": 250, "de": 253, "fr": 273, "es": 239, "it": 213, "pt": 203, "pl": 224, "zh": 82, "ar": 166, "cs": 186,
    "ru": 182, "nl": 251, "tr": 226, "ja": 71, "hu": 224, "ko": 95, "hi": 150,
}  # fmt: skip
"""Characters that the released model reads without cutting off, by language (its own figures)."""
OTHER_LIMIT = 200
"""For languages that were added to the model; the ceiling of audio holds for them too."""
_SPACES = re.compile(r"\s+")


class Refused(Exception):
    """A request that cannot be spoken: reason and detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = {"reason": reason, "detail": detail}


def base_language(language: str) -> str:
    """Code of the language without its region: zh-cn -> zh."""
    return language.replace("_", "-").split("-")[0].lower()


def prepared(
    text: str, language: str, clean: Callable[[str, str], str], limits: Mapping[str, int] | None = LIMITS
) -> str:
    """`text` as the tokenizer is given it: lower case, and cleaned by `clean(text, language)` where that knows it.

    For other languages lower case, NFC and plain spaces alone: this is the cleaner of every language that was added to
    the model (coqui's own knows 17). Square brackets, which name control tokens, become spaces. `limits` are characters
    by language, None where length is no matter.
    Refused: `too-long` over the limit of the language, `unreadable-characters` for digits of an unknown language.
    """
    language = base_language(language)
    text = _SPACES.sub(" ", text.replace("[", " ").replace("]", " ")).strip()
    limit = len(text) if limits is None else limits.get(language, OTHER_LIMIT)
    if len(text) > limit:
        raise Refused(
            "too-long", f"{len(text)} characters; XTTS reads at most {limit} of {language} without cutting off"
        )
    if language in LIMITS:
        try:
            return clean(text.lower(), language)
        except (ImportError, KeyError, IndexError, ValueError, OverflowError, RuntimeError) as error:
            raise Refused("voice-failed", f"the text cannot be prepared: {type(error).__name__}: {error}") from error
    digits = sorted({one for one in text if one.isdigit()})
    if digits:
        raise Refused("unreadable-characters", f"numbers are not written out: {', '.join(digits[:10])}")
    return normalize("NFC", text.lower().replace('"', ""))


def placed(texts: list[list[int]], start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, T) as [start, text, stop, pads] and the mask (B, T) that hides exactly the pads."""
    width = max(map(len, texts)) + 2
    tokens_BT = torch.full((len(texts), width), stop, dtype=torch.long)
    mask_BT = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        whole = [start, *text, stop]
        tokens_BT[row, : len(whole)] = torch.tensor(whole)
        mask_BT[row, : len(whole)] = 1
    return tokens_BT, mask_BT


class Chooser:
    """Draws the next code of one row from its own seed; greedy at temperature 0."""

    def __init__(self, seed: int, *, temperature: float, top_k: int, top_p: float, repetition_penalty: float) -> None:
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._penalty = repetition_penalty
        digest = hashlib.sha256(f"xtts|{seed}".encode()).digest()
        self._generator = np.random.default_rng(int.from_bytes(digest[:16], "little"))
        self._seen: list[int] = []

    def next(self, logits_V: np.ndarray) -> int:
        """The next code, given its logits (V,): penalty for what was said, temperature, the k best, the mass of p."""
        logits_V = logits_V.astype(np.float64)
        if self._seen and self._penalty != 1.0:
            seen = np.unique(self._seen)
            chosen = logits_V[seen]
            logits_V[seen] = np.where(chosen > 0, chosen / self._penalty, chosen * self._penalty)
        code = int(logits_V.argmax()) if self._temperature <= 0 else self._drawn(logits_V / self._temperature)
        self._seen.append(code)
        return code

    def _drawn(self, logits_V: np.ndarray) -> int:
        order = np.argsort(-logits_V, kind="stable")
        if self._top_k > 0:
            order = order[: self._top_k]
        odds = np.exp(logits_V[order] - logits_V[order[0]])
        odds /= odds.sum()
        if self._top_p < 1.0:
            keep = int(np.searchsorted(np.cumsum(odds), self._top_p)) + 1
            order, odds = order[:keep], odds[:keep] / odds[:keep].sum()
        place = int(np.searchsorted(np.cumsum(odds), self._generator.random(), side="right"))
        return int(order[min(place, len(order) - 1)])


@torch.inference_mode()
def sample_codes(
    gpt: Any, conditions: list[torch.Tensor], texts: list[list[int]], choosers: list[Chooser], most_codes: int
) -> list[list[int] | None]:
    """Audio codes of each row with one stop code at the end; None for a row that did not stop within `most_codes`.

    `conditions`: latents of the prompt, shape (1, n, C) each; `gpt` is coqui's XTTS transformer. The positions of text
    and of audio are counted apart from 0, so a pad that is masked changes nothing for its row.
    """
    device = gpt.mel_head.weight.device
    tokens_BT, text_mask_BT = placed(texts, gpt.start_text_token, gpt.stop_text_token)
    tokens_BT, text_mask_BT = tokens_BT.to(device), text_mask_BT.to(device)
    condition_BNC = torch.cat(conditions).to(device)
    rows = len(texts)
    text_BTC = gpt.text_embedding(tokens_BT) + gpt.text_pos_embedding(tokens_BT)
    first = torch.full((rows, 1), gpt.start_audio_token, dtype=torch.long, device=device)
    audio_B1C = gpt.mel_embedding(first) + gpt.mel_pos_embedding.emb.weight[:1]
    inputs = torch.cat([condition_BNC, text_BTC, audio_B1C], dim=1)
    ones = text_mask_BT.new_ones
    mask = torch.cat([ones((rows, condition_BNC.shape[1])), text_mask_BT, ones((rows, 1))], dim=1)
    cache: Any = None
    codes: list[list[int]] = [[] for _ in texts]
    going = [True] * rows
    for step in range(1, most_codes + 1):
        out = gpt.gpt(inputs_embeds=inputs, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits_BV = gpt.mel_head(gpt.final_norm(out.last_hidden_state[:, -1])).float().cpu().numpy()
        latest = []
        for row in range(rows):
            code = choosers[row].next(logits_BV[row]) if going[row] else gpt.stop_audio_token
            if going[row]:
                codes[row].append(code)
                going[row] = code != gpt.stop_audio_token
            latest.append(code)
        if not any(going):
            break
        step_B1 = torch.tensor(latest, device=device)[:, None]
        inputs = gpt.mel_embedding(step_B1) + gpt.mel_pos_embedding.emb.weight[step : step + 1]
        mask = torch.cat([mask, ones((rows, 1))], dim=1)
    return [None if unfinished else row for row, unfinished in zip(codes, going, strict=True)]


def int16(samples: np.ndarray) -> bytes:
    """Samples in [-1, 1] as little-endian int16; Refused where they are no numbers or silence."""
    if not np.isfinite(samples).all():
        raise Refused("voice-failed", "the decoder gave samples that are no numbers")
    data = (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2")
    if not data.any():
        raise Refused("no-audio", "the voice gave no sound for this text")
    return bytes(data.tobytes())
