"""Whisper (Radford et al. 2022): load, fine-tune, add a language or characters, save in the layout of transformers.

Recordings are padded to the window of the checkpoint (30 s; less where `max_source_positions` is smaller) and what is
longer is cut off, as in its own training: `max_seconds` tells the caller where. A model fine-tuned with the override
`short_windows` pads to little more than each recording (windows.py); config.json says so, and other programs, which do
not read that, give it whole windows. The prompt is start of transcript, language, transcribe, no timestamps.
CTranslate2's TransformersConverter converts such a folder when it has its tokenizer's files; added tokens come after
the timestamp tokens, so ask it for texts without timestamps.

Shapes: B recordings, S samples, T encoder steps (20 ms), M mel bins, F frames (10 ms).

Example::

    network, vocabulary = begin(Path("whisper-small"), texts, Start(language="que-EC"))
    best = network.generate(samples_BS, lengths_B, vocabulary.prompt("que-EC"))[0][0]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.families import Kind, Start
from orature.engines.hf_folder import config_of, extractor_of, load_model, quiet
from orature.engines.language_codes import codes_of
from orature.engines.network import Spans, Written
from orature.engines.seq2seq_extend import add_characters, add_special, grow
from orature.engines.seq2seq_folder import model_files, need_files
from orature.engines.seq2seq_network import TransformersSeq2Seq, finish
from orature.engines.seq2seq_vocabulary import WhisperVocabulary
from orature.engines.vocabulary import Files
from orature.engines.windows import Windows

KIND: Kind = "seq2seq"
HOP, FFT = 160, 400


class WhisperLogMel(nn.Module):
    """Log-mel features of a window: 25 ms Hann frames every 10 ms, Slaney filters, 8 decades below the peak."""

    banks_KM: Tensor
    window_F: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        banks = mel_filter_bank(1 + FFT // 2, mels, 0.0, 8000.0, RATE_HZ, norm="slaney", mel_scale="slaney")
        self.register_buffer("banks_KM", torch.from_numpy(banks).float(), persistent=False)
        self.register_buffer("window_F", torch.hann_window(FFT), persistent=False)

    @torch.no_grad()
    def forward(self, samples_BS: Tensor, window: int) -> Tensor:
        """Features (B, M, F) of samples padded or cut to `window` of them."""
        with torch.autocast(samples_BS.device.type, enabled=False):
            samples_BS = samples_BS.float()[:, :window]
            samples_BS = nn.functional.pad(samples_BS, (0, window - samples_BS.shape[1]))
            spectrum = torch.stft(samples_BS, FFT, HOP, window=self.window_F, return_complex=True)
            power_BKF = spectrum[..., :-1].abs().square()
            log_BMF = (self.banks_KM.T @ power_BKF).clamp(min=1e-10).log10()
            peak_B11 = log_BMF.amax(dim=(1, 2), keepdim=True)
            return (torch.maximum(log_BMF, peak_B11 - 8.0) + 4.0) / 4.0


class WhisperNet(TransformersSeq2Seq):
    """`WhisperForConditionalGeneration` on raw samples; tokens of `silent` are no text and are never written."""

    def __init__(self, model: Any, silent: Sequence[int] = ()) -> None:
        config, generation = model.config, model.generation_config
        suppressed = {*(getattr(generation, "suppress_tokens", None) or ()), *silent} - {_one(config.eos_token_id)}
        super().__init__(
            model,
            max_tokens=config.max_target_positions - 1,
            end=_one(config.eos_token_id),
            never=tuple(sorted(suppressed)),
        )
        self.never_first = tuple(getattr(generation, "begin_suppress_tokens", None) or ())
        self.mask_bins = config.num_mel_bins
        self.max_seconds = 2 * config.max_source_positions * HOP / RATE_HZ
        self.windows = Windows(self.max_seconds, short=getattr(config, "short_windows", False))
        self.features = WhisperLogMel(config.num_mel_bins)
        positions = model.model.encoder.embed_positions
        fixed = positions.weight.detach()
        del positions.weight
        positions.register_buffer("weight", fixed)  # sinusoids: stored with the weights, never trained

    def padded_samples(self, samples: int) -> int:
        """The window of a recording."""
        return self.windows.of(samples)

    def encode(self, samples_BS: Tensor, lengths_B: Tensor, spans: Spans | None = None) -> tuple[Tensor, Tensor | None]:
        """Encoder output (B, T, D) of the longest recording's window; Whisper masks no padding."""
        kept_BS = torch.arange(samples_BS.shape[1], device=samples_BS.device) < lengths_B[:, None]
        features_BMF = self.features(samples_BS * kept_BS, self.windows.of(int(lengths_B.max())))
        if spans is not None:
            features_BMF = _masked(features_BMF, spans)
        return encoded(self.model.model.encoder, features_BMF), None

    def forward(self, samples_BS: Tensor, lengths_B: Tensor, labels_BL: Tensor, spans: Spans | None = None) -> Tensor:
        """Logits (B, L, V) for `labels_BL` by teacher forcing, each recording in its own window."""
        alone = super().forward
        lengths = lengths_B.tolist()
        if len(self.windows.grouped(lengths)) == 1:
            return alone(samples_BS, lengths_B, labels_BL, spans)

        def work(_: int, rows: list[int]) -> tuple[Tensor, ...]:
            own = spans and (spans[0][rows], spans[1][rows])
            return alone(samples_BS[rows], lengths_B[rows], labels_BL[rows], own).unbind()

        return torch.stack(self.windows.apart(lengths, work))

    def generate(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        prompt: list[int],
        *,
        beams: int = 1,
        n_best: int = 1,
        length_penalty: float = 1.0,
        max_tokens: int | None = None,
    ) -> list[list[Written]]:
        """The `n_best` best sequences after `prompt` for each recording, best first; each in its own window."""
        alone = super().generate
        how: dict[str, Any] = {"beams": beams, "n_best": n_best, "length_penalty": length_penalty}

        def work(_: int, rows: list[int]) -> list[list[Written]]:
            return alone(samples_BS[rows], lengths_B[rows], prompt, max_tokens=max_tokens, **how)

        return self.windows.apart(lengths_B.tolist(), work)

    @torch.no_grad()
    def detect(self, samples_BS: Tensor, lengths_B: Tensor, start: int, languages: Sequence[int]) -> list[int]:
        """The most probable of the tokens `languages` for each recording (Radford et al. 2022, section 2.3)."""
        labels_B1 = torch.full((len(samples_BS), 1), start, device=samples_BS.device)
        logits_BV = self(samples_BS, lengths_B, labels_B1)[:, 0]
        best_B = logits_BV[:, list(languages)].argmax(dim=-1)
        return [languages[index] for index in best_B.tolist()]


def encoded(encoder: Any, features_BMF: Tensor) -> Tensor:
    """The output (B, T, D) of a `WhisperEncoder`, which itself takes whole windows alone; here the first positions of
    shorter ones."""
    positions_TD = encoder.embed_positions.weight
    steps = features_BMF.shape[2] // 2
    if steps == len(positions_TD):
        return cast(Tensor, encoder(features_BMF).last_hidden_state)
    hidden_BDT = nn.functional.gelu(encoder.conv2(nn.functional.gelu(encoder.conv1(features_BMF))))
    hidden_BTD = hidden_BDT.transpose(1, 2) + positions_TD[:steps]
    hidden_BTD = nn.functional.dropout(hidden_BTD, p=encoder.dropout, training=encoder.training)
    for layer in encoder.layers:
        if not (encoder.training and encoder.layerdrop > 0.0 and torch.rand([]) < encoder.layerdrop):
            hidden_BTD = layer(hidden_BTD, None)
    return cast(Tensor, encoder.layer_norm(hidden_BTD))


def silent_tokens(tokenizer: Any) -> list[int]:
    """Special tokens and timestamps: a prompt without timestamps asks for none of them."""
    added = tokenizer.get_added_vocab()
    return sorted(number for name, number in added.items() if name.startswith("<|") and name.endswith("|>"))


def _one(token: int | list[int]) -> int:
    return token[0] if isinstance(token, list) else token


def _masked(features_BMF: Tensor, spans: Spans) -> Tensor:
    """SpecAugment: spans of frames and of bins become 0, as transformers does for Whisper."""
    time_BN2, bins_BN2 = spans
    frames_F = torch.arange(features_BMF.shape[2], device=features_BMF.device)
    bins_M = torch.arange(features_BMF.shape[1], device=features_BMF.device)
    in_time_BF = ((frames_F >= time_BN2[..., :1]) & (frames_F < time_BN2[..., 1:])).any(dim=1)
    in_bins_BM = ((bins_M >= bins_BN2[..., :1]) & (bins_M < bins_BN2[..., 1:])).any(dim=1)
    return features_BMF.masked_fill(in_time_BF[:, None, :] | in_bins_BM[:, :, None], 0.0)


def load(folder: Path, *, language: str | None = None) -> tuple[WhisperNet, WhisperVocabulary]:
    """The network and its vocabulary; `language` chooses the language token of its prompt."""
    tokenizer, model = _read(folder, Start())
    return WhisperNet(model, silent_tokens(tokenizer)), WhisperVocabulary(tokenizer, model.generation_config, language)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[WhisperNet, WhisperVocabulary]:
    """As `load`, with a token for each language of `start.language` (joined by commas) that the checkpoint lacks.

    head "extend" (and "auto") also adds the characters of `texts` that cost several byte tokens; "keep" does not. A
    byte-level vocabulary can write every text, so there is no "new".
    """
    if start.head == "new":
        raise ModelError(
            "Whisper's vocabulary writes every text in bytes, so it is kept",
            where=str(folder),
            next_step="choose head extend (a token for each character that costs several bytes) or keep",
        )
    tokenizer, model = _read(folder, start)
    generation = model.generation_config
    sources: dict[int, list[int]] = {}
    languages = [tag for tag in (start.language or "").split(",") if tag and tag != "und"]
    vocabulary = WhisperVocabulary(tokenizer, generation)
    if vocabulary.multilingual:
        for tag in languages:
            old = vocabulary.language_tokens()
            if not any(code in old for code in codes_of(tag)):
                name = f"<|{tag.lower().replace('_', '-').split('-')[0]}|>"
                token = add_special(tokenizer, name)
                generation.lang_to_id = {**generation.lang_to_id, name: token}
                sources[token] = list(old.values())
    if start.head != "keep":
        sources |= add_characters(tokenizer, texts)
    grow(model, len(tokenizer), sources)
    network = WhisperNet(model, silent_tokens(tokenizer))
    finish(folder, network, start)
    return network, WhisperVocabulary(tokenizer, generation, languages[0] if languages else None)


def files(network: WhisperNet, vocabulary: WhisperVocabulary) -> Files:
    """The model folder."""
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": network.mask_bins,
        "sampling_rate": RATE_HZ,
        "hop_length": HOP,
        "n_fft": FFT,
        "chunk_length": int(network.max_seconds or 0),
        "padding_value": 0.0,
    }
    return {**model_files(network.model, extractor), **vocabulary.files()}


def _read(folder: Path, start: Start) -> tuple[Any, Any]:
    from transformers import WhisperTokenizer

    need_files(folder, ("tokenizer.json",), ("vocab.json", "merges.txt"))
    config = config_of(folder, start.overrides, more={"short_windows": False})
    model: Any = load_model(folder, config, auto="WhisperForConditionalGeneration", may_have=("proj_out.",))
    try:
        with quiet():
            tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the tokenizer cannot be read: {error}", where=str(folder), next_step="copy the whole folder again"
        ) from error
    if len(tokenizer) > model.config.vocab_size:
        raise ModelError(
            f"the tokenizer holds {len(tokenizer)} tokens, config.json says {model.config.vocab_size}",
            where=str(folder),
            next_step="copy the tokenizer and config.json of one checkpoint",
        )
    bins = extractor_of(folder).get("feature_size", 80)
    if bins != model.config.num_mel_bins:
        raise ModelError(
            f"preprocessor_config.json gives {bins} mel bins, config.json takes {model.config.num_mel_bins}",
            where=str(folder),
            next_step="copy both files of one checkpoint",
        )
    _complete(model.generation_config, tokenizer)
    return tokenizer, model


def _complete(generation: Any, tokenizer: Any) -> None:
    """Folders of older versions have no table of languages in generation_config.json: it is read off the tokens."""
    if getattr(generation, "is_multilingual", None) is None:
        generation.is_multilingual = "<|transcribe|>" in tokenizer.get_vocab()
    if not generation.is_multilingual or getattr(generation, "lang_to_id", None):
        return
    numbers = tokenizer.get_vocab()
    first, last = numbers["<|startoftranscript|>"], numbers["<|translate|>"]
    generation.lang_to_id = {name: token for name, token in sorted(numbers.items()) if first < token < last}
