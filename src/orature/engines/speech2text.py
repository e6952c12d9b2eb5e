"""Speech2Text, the fairseq S2T Transformer (Wang et al. 2020, "fairseq S2T"): Kaldi features, two convolutions,
a Transformer encoder and decoder over characters or sentencepiece units.

What comes after a recording in a padded batch is set to zero after each convolution, as in a batch of one; in
transformers the bias of the first convolution leaks into the last steps of shorter recordings.

Shapes: B recordings, S samples, F frames (10 ms), M mel bins, C channels, T encoder steps (40 ms).

Example::

    network, vocabulary = fresh(texts, "small")        # from nothing: s2t_transformer_s, 31M parameters
    network, vocabulary = begin(Path("s2t-small-librispeech-asr"), texts, Start(head="new"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.families import Kind, Start
from orature.engines.features import FFT, FRAME, HOP, filterbank, mask_spans
from orature.engines.hf_folder import config_of, extractor_of, load_model
from orature.engines.network import Spans
from orature.engines.seq2seq_extend import grow
from orature.engines.seq2seq_folder import model_files, need_files
from orature.engines.seq2seq_network import TransformersSeq2Seq, finish
from orature.engines.seq2seq_vocabulary import CharacterVocabulary
from orature.engines.speech2text_tokens import character_tokenizer, extend_tokenizer, read_tokenizer
from orature.engines.vocabulary import Files

KIND: Kind = "seq2seq"
Size = Literal["tiny", "small"]
SIZES: dict[Size, dict[str, Any]] = {
    # s2t_transformer_s of fairseq with the dropout of its Common Voice / CoVoST recipe (label smoothing 0.1 there too)
    "small": {"d_model": 256, "encoder_layers": 12, "decoder_layers": 6, "encoder_ffn_dim": 2048,
              "decoder_ffn_dim": 2048, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
              "conv_channels": 1024, "dropout": 0.15},
    "tiny": {"d_model": 96, "encoder_layers": 4, "decoder_layers": 2, "encoder_ffn_dim": 384,
             "decoder_ffn_dim": 384, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
             "conv_channels": 192, "dropout": 0.15},
}  # fmt: skip
FLOOR = 1.192092955078125e-07
SHORTEST = 4 * HOP + FRAME
"""Recordings are padded with silence to this many samples, so that their variance exists."""


class KaldiFbank(nn.Module):
    """Log-mel bins up to 8 kHz, each brought to mean 0 and variance 1 over the recording (utterance CMVN)."""

    bank_KM: Tensor
    window_S: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        povey = torch.hann_window(FRAME, periodic=False, dtype=torch.float64).pow(0.85)
        self.means = self.variances = True
        self.register_buffer("window_S", povey.float(), persistent=False)
        self.register_buffer("bank_KM", filterbank(mels, high_hz=RATE_HZ / 2), persistent=False)

    @torch.no_grad()
    def forward(self, samples_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F, M), 0 past a recording's end, and the frames of each recording (B,)."""
        lengths_B = lengths_B.clamp(min=SHORTEST)
        with torch.autocast(samples_BS.device.type, enabled=False):
            samples_BS = F.pad(samples_BS.float(), (0, max(0, SHORTEST - samples_BS.shape[1])))
            frames_BFS = samples_BS.unfold(1, FRAME, HOP) * 32768.0
            frames_BFS = frames_BFS - frames_BFS.mean(dim=-1, keepdim=True)
            before_BFS = torch.cat([frames_BFS[..., :1], frames_BFS[..., :-1]], dim=-1)
            frames_BFS = (frames_BFS - 0.97 * before_BFS) * self.window_S
            power_BFK = torch.view_as_real(torch.fft.rfft(frames_BFS, n=FFT)).square().sum(dim=-1)
            log_BFM = (power_BFK @ self.bank_KM).clamp(min=FLOOR).log()
            counts_B = torch.div(lengths_B - FRAME, HOP, rounding_mode="floor") + 1
            own_BF1 = _own(counts_B, log_BFM.shape[1])[..., None]
            mean_B1M = (log_BFM * own_BF1).sum(dim=1, keepdim=True) / counts_B[:, None, None]
            centred_BFM = (log_BFM - mean_B1M) * own_BF1
            deviation_B1M = (centred_BFM.square().sum(dim=1, keepdim=True) / counts_B[:, None, None]).sqrt()
            result_BFM = centred_BFM if self.means else log_BFM * own_BF1
            return result_BFM / deviation_B1M.clamp(min=1e-5) if self.variances else result_BFM, counts_B


def _own(counts_B: Tensor, steps: int) -> Tensor:
    return torch.arange(steps, device=counts_B.device) < counts_B[:, None]


class Speech2TextNet(TransformersSeq2Seq):
    """`Speech2TextForConditionalGeneration` on raw samples."""

    def __init__(self, model: Any) -> None:
        config = model.config
        end = config.eos_token_id
        super().__init__(
            model, max_tokens=config.max_target_positions - 1, end=end[0] if isinstance(end, list) else end
        )
        self.never = (config.pad_token_id, config.bos_token_id)
        self.mask_bins = config.input_feat_per_channel
        self.max_seconds = config.max_source_positions * HOP / RATE_HZ
        self.features = KaldiFbank(config.input_feat_per_channel)

    def encode(self, samples_BS: Tensor, lengths_B: Tensor, spans: Spans | None = None) -> tuple[Tensor, Tensor | None]:
        """Encoder output (B, T, D) and which of its steps are a recording's own."""
        from transformers.masking_utils import create_bidirectional_mask

        encoder = self.model.model.encoder
        hidden_BFM, counts_B = self.features(samples_BS, lengths_B)
        if spans is not None:
            hidden_BFM = mask_spans(hidden_BFM, *spans)
        hidden_BCF = hidden_BFM.transpose(1, 2)
        for conv in encoder.conv.conv_layers:
            hidden_BCF = F.glu(conv(hidden_BCF), dim=1)
            counts_B = torch.div(counts_B - 1, 2, rounding_mode="floor") + 1
            hidden_BCF = hidden_BCF * _own(counts_B, hidden_BCF.shape[2])[:, None]
        hidden_BTD = hidden_BCF.transpose(1, 2) * encoder.embed_scale
        own_BT = _own(counts_B, hidden_BTD.shape[1])
        hidden_BTD = hidden_BTD + encoder.embed_positions((~own_BT).long())
        hidden_BTD = F.dropout(hidden_BTD, p=encoder.dropout, training=self.training)
        mask_BT = own_BT.long()
        mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=hidden_BTD, attention_mask=mask_BT)
        for layer in encoder.layers:
            if not (self.training and encoder.layerdrop > 0 and float(torch.rand([])) < encoder.layerdrop):
                hidden_BTD = layer(hidden_BTD, mask)
        return cast(Tensor, encoder.layer_norm(hidden_BTD)), mask_BT


def load(folder: Path, *, language: str | None = None) -> tuple[Speech2TextNet, CharacterVocabulary]:
    """The network and its vocabulary; `language` chooses the first token of a multilingual checkpoint."""
    return begin(folder, [], Start(head="keep", language=language))


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Speech2TextNet, CharacterVocabulary]:
    """The network for training on `texts`.

    head "new": a character vocabulary of `texts`, its embeddings and the output layer drawn anew, all else kept.
    "extend" (and "auto"): old rows bit for bit, a row for each new character. "keep": nothing changes. Other parts than
    all bring a new vocabulary. Several languages in `start.language` (joined by commas) get a token each.
    """
    languages = [tag for tag in (start.language or "").split(",") if tag]
    need_files(folder, ("vocab.json", "sentencepiece.bpe.model"))
    model: Any = load_model(
        folder,
        config_of(folder, start.overrides),
        auto="Speech2TextForConditionalGeneration",
        may_have=("embed_positions", "lm_head."),
    )
    if start.head == "new" or start.parts != "all":
        tokenizer = character_tokenizer(texts, languages)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        _draw(model)
    else:
        tokenizer = read_tokenizer(folder)
        if len(tokenizer) > model.config.vocab_size:
            raise ModelError(
                f"the tokenizer holds {len(tokenizer)} tokens, config.json says {model.config.vocab_size}",
                where=str(folder),
                next_step="copy the tokenizer and config.json of one checkpoint",
            )
        if start.head != "keep":
            old = len(tokenizer)
            tokenizer = extend_tokenizer(tokenizer, texts, languages)
            grow(model, len(tokenizer), {token: range(4, old) for token in range(old, len(tokenizer))})
    network, vocabulary = _with(model, tokenizer, languages[0] if len(languages) == 1 else None)
    settings = extractor_of(folder)
    cepstral = bool(settings.get("do_ceptral_normalize", True))
    network.features.means = cepstral and bool(settings.get("normalize_means", True))
    network.features.variances = cepstral and bool(settings.get("normalize_vars", True))
    finish(folder, network, start)
    return network, vocabulary


def fresh(
    texts: Sequence[str], size: Size = "small", *, seed: int = 0, languages: Sequence[str] = (), **overrides: Any
) -> tuple[Speech2TextNet, CharacterVocabulary]:
    """A network from nothing with a character vocabulary of `texts`, and a token for each of several `languages`;
    `overrides` replaces fields of its config."""
    from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration

    tokenizer = character_tokenizer(texts, languages)
    config = Speech2TextConfig(vocab_size=len(tokenizer), **{**SIZES[size], **overrides})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Speech2TextForConditionalGeneration(config).eval()
        _draw(model)
    return _with(model, tokenizer, languages[0] if len(languages) == 1 else None)


def files(network: Speech2TextNet, vocabulary: CharacterVocabulary) -> Files:
    """The model folder."""
    extractor = {
        "feature_extractor_type": "Speech2TextFeatureExtractor",
        "processor_class": "Speech2TextProcessor",
        "feature_size": network.mask_bins,
        "num_mel_bins": network.mask_bins,
        "sampling_rate": RATE_HZ,
        "do_ceptral_normalize": True,
        "normalize_means": network.features.means,
        "normalize_vars": network.features.variances,
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    return {**model_files(network.model, extractor), **vocabulary.files()}


def _with(model: Any, tokenizer: Any, language: str | None) -> tuple[Speech2TextNet, CharacterVocabulary]:
    network = Speech2TextNet(model)
    start = int(model.config.decoder_start_token_id)
    return network, CharacterVocabulary(tokenizer, start=start, end=network.end, language=language)


@torch.no_grad()
def _draw(model: Any) -> None:
    """Embeddings as fairseq draws them: deviation width ** -0.5, padding 0; the decoder multiplies by its root."""
    table = model.get_input_embeddings().weight
    table.normal_(std=table.shape[1] ** -0.5)
    table[model.config.pad_token_id] = 0.0
