"""Small checkpoint folders of the families for inference only: Parakeet RNN-T and TDT, Qwen3-ASR.

Example::

    folder = parakeet_folder(Path("parakeet-micro"), "tdt")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from orature.engines.seq2seq_folder import model_files, saved_files
from orature.testing.checkpoints_seq2seq import TEXTS, byte_pairs, write_folder

_TEMPLATE = (
    "{%- for m in messages -%}<|im_start|>{{ m['role'] }}\n"
    "{%- if m['content'] is string -%}{{ m['content'] }}{%- else -%}{%- for c in m['content'] -%}"
    "{%- if c['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- elif c['type'] == 'text' -%}{{ c['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "<|im_end|>\n{%- endfor -%}"
)


def parakeet_folder(
    folder: Path, kind: Literal["rnnt", "tdt"] = "tdt", *, texts: Sequence[str] = TEXTS, seed: int = 0
) -> Path:
    """A Parakeet transducer checkpoint with a sentencepiece-like BPE; the blank is the last token and begins a text."""
    from transformers import (
        GenerationConfig,
        ParakeetForRNNT,
        ParakeetForTDT,
        ParakeetRNNTConfig,
        ParakeetTDTConfig,
        ParakeetTokenizer,
    )

    tokenizer = ParakeetTokenizer(tokenizer_object=_pieces(texts), unk_token="<unk>", pad_token="<pad>")
    tokenizer.add_tokens(["<blank>"], special_tokens=True)
    blank = len(tokenizer) - 1
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "subsampling_conv_channels": 8,
        "num_mel_bins": 80,
        "initializer_range": 0.2,
    }
    shared: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "decoder_hidden_size": 24,
        "num_decoder_layers": 2,
        "encoder_config": encoder,
        "pad_token_id": tokenizer.pad_token_id,
        "blank_token_id": blank,
    }
    torch.manual_seed(seed)
    model: Any
    if kind == "tdt":
        model = ParakeetForTDT(ParakeetTDTConfig(**shared))
    else:
        model = ParakeetForRNNT(ParakeetRNNTConfig(**shared))
    with torch.no_grad():
        model.joint.head.bias[blank] += 1.0  # some blanks, as speech has
    model.generation_config = GenerationConfig(
        decoder_start_token_id=blank, pad_token_id=tokenizer.pad_token_id, eos_token_id=None
    )
    extractor = {
        "feature_extractor_type": "ParakeetFeatureExtractor",
        "processor_class": "ParakeetProcessor",
        "feature_size": 80,
        "hop_length": 160,
        "n_fft": 512,
        "win_length": 400,
        "preemphasis": 0.97,
        "sampling_rate": 16_000,
        "padding_value": 0.0,
    }
    files = {**model_files(model.eval(), extractor), **saved_files(tokenizer.save_pretrained)}
    return write_folder(folder, files, "cc-by-4.0", ["en", "de"])


def _pieces(texts: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>", "<pad>"], show_progress=False)
    tokenizer.train_from_iterator(list(texts), trainer)
    return tokenizer


def qwen_asr_folder(folder: Path, *, texts: Sequence[str] = TEXTS, seed: int = 0) -> Path:
    """A Qwen3-ASR checkpoint: audio encoder, projector, language model, processor and chat template."""
    from transformers import (
        GenerationConfig,
        Qwen2Tokenizer,
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )

    vocabulary, merges = byte_pairs(texts, 300)
    extra = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, pad_token="<|endoftext|>", extra_special_tokens=extra)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>", "<asr_text>", "<timestamp>"], special_tokens=True)
    number = tokenizer.convert_tokens_to_ids
    ends = [number("<|endoftext|>"), number("<|im_end|>")]
    audio = {
        "num_mel_bins": 128,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "d_model": 32,
        "output_dim": 32,
        "downsample_hidden_size": 16,
        "initializer_range": 0.2,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
    }
    torch.manual_seed(seed)
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **audio},
        text_config={"model_type": "qwen3", **text},
        audio_token_id=number("<|audio_pad|>"),
        timestamp_token_id=number("<timestamp>"),
        pad_token_id=ends[0],
        eos_token_id=ends,
    )
    model = Qwen3ASRForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[0], do_sample=False)
    processor = Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, chat_template=_TEMPLATE)
    files = {**saved_files(processor.save_pretrained), **model_files(model, {})}
    files.pop("preprocessor_config.json")
    return write_folder(folder, files, "apache-2.0", ["en", "zh", "de"])
