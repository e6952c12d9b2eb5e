"""Small checkpoint folders of the encoder-decoder, transducer and LLM families, in the layout of published ones.

Weights are drawn from a seed, tokenizers are trained on a few sentences: nothing is downloaded. They recognise nothing,
but every command takes them, and a few seconds of training teach them two utterances.

Example::

    folder = whisper_folder(Path("whisper-micro"), languages=("en", "yo"))
    orature train --from whisper-micro ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from orature.engines.seq2seq_folder import model_files, saved_files
from orature.engines.vocabulary import Files

TEXTS = (
    "the quick brown fox jumps over the lazy dog",
    "ñuka wasi hatun kan, shuk ishkay kimsa chusku",
    "báwo ni, ẹ káàárọ̀, ẹ ṣé púpọ̀",
    "one two three four five six seven eight nine ten",
)
LANGUAGES = ("en", "es", "yo", "sw")
CARD = "---\nlicense: {licence}\nlanguage:\n{languages}---\n# A small checkpoint with random weights, for tests\n"


def whisper_folder(
    folder: Path,
    *,
    texts: Sequence[str] = TEXTS,
    languages: Sequence[str] = LANGUAGES,
    seconds: float = 4.0,
    width: int = 32,
    layers: int = 2,
    seed: int = 0,
) -> Path:
    """A Whisper checkpoint whose window is `seconds` long; `languages` () makes an English-only one."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    tokenizer = _whisper_tokenizer(texts, languages)
    number = tokenizer.convert_tokens_to_ids
    start, end = number("<|startoftranscript|>"), number("<|endoftext|>")
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=80,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_source_positions=round(seconds * 50),
        max_target_positions=96,
        decoder_start_token_id=start,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        init_std=0.1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    _used(model)
    model.generation_config = _whisper_generation(tokenizer, languages)
    extractor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": 80,
        "chunk_length": int(seconds),
        "hop_length": 160,
        "n_fft": 400,
        "sampling_rate": 16_000,
        "padding_value": 0.0,
    }
    return write_folder(
        folder, {**model_files(model, extractor), **saved_files(tokenizer.save_pretrained)}, "mit", languages
    )


def _whisper_generation(tokenizer: Any, languages: Sequence[str]) -> Any:
    from transformers import GenerationConfig

    number = tokenizer.convert_tokens_to_ids
    start, end = number("<|startoftranscript|>"), number("<|endoftext|>")
    tables: dict[str, Any] = {"is_multilingual": bool(languages)}
    if languages:
        tables["lang_to_id"] = {f"<|{code}|>": number(f"<|{code}|>") for code in languages}
        tables["task_to_id"] = {task: number(f"<|{task}|>") for task in ("transcribe", "translate")}
    return GenerationConfig(
        decoder_start_token_id=start,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        max_length=96,
        no_timestamps_token_id=number("<|notimestamps|>"),
        prev_sot_token_id=number("<|startofprev|>"),
        suppress_tokens=[number("#"), number("@"), start],
        begin_suppress_tokens=[number("Ġ"), end],
        return_timestamps=False,
        **tables,
    )


def _whisper_tokenizer(texts: Sequence[str], languages: Sequence[str]) -> Any:
    from transformers import WhisperTokenizer

    vocabulary, merges = byte_pairs(texts, 320)
    vocabulary = {token: number for token, number in vocabulary.items()}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=merges)
    named = ["<|startoftranscript|>", *(f"<|{code}|>" for code in languages)]
    named += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_tokens(named, special_tokens=True)
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    return tokenizer


@torch.no_grad()
def _used(model: Any) -> None:
    """Biases as a trained model has them: fresh ones are 0, which hides what leaks out of padding."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(std=0.1)


def byte_pairs(texts: Sequence[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-level BPE trained on `texts`: its vocabulary and merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(list(texts), trainer)
    table = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in table["merges"]]
    return dict(sorted(table["vocab"].items(), key=lambda item: item[1])), merges


def write_folder(folder: Path, files: Files, licence: str, languages: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in files.items():
        write(folder / name)
    listed = "".join(f"- '{code}'\n" for code in languages or ("en",))
    (folder / "README.md").write_text(CARD.format(licence=licence, languages=listed), encoding="utf-8")
    return folder


def moonshine_folder(folder: Path, *, texts: Sequence[str] = TEXTS, width: int = 32, seed: int = 0) -> Path:
    """A Moonshine checkpoint with a byte-fallback tokenizer."""
    from transformers import MoonshineConfig, MoonshineForConditionalGeneration, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_fallback_pairs(texts), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.add_tokens([f"<<ST_{number}>>" for number in range(4)], special_tokens=True)
    torch.manual_seed(seed)
    config = MoonshineConfig(
        vocab_size=len(tokenizer) + 3,  # published checkpoints have more rows than tokens too
        hidden_size=width,
        intermediate_size=2 * width,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=194,
        initializer_range=0.2,
    )
    model = MoonshineForConditionalGeneration(config).eval()
    _used(model)
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "processor_class": "Wav2Vec2Processor",
        "feature_size": 1,
        "sampling_rate": 16_000,
        "do_normalize": False,
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    return write_folder(
        folder, {**model_files(model, extractor), **saved_files(tokenizer.save_pretrained)}, "mit", ["en"]
    )


def _fallback_pairs(texts: Sequence[str]) -> Any:
    """A BPE over characters that writes what it lacks in bytes, as Llama's and Moonshine's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([text for text in texts if text.isascii()], trainer)
    table = json.loads(tokenizer.to_str())
    table["added_tokens"] = table["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(table))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


def speech2text_folder(
    folder: Path, *, texts: Sequence[str] = TEXTS, width: int = 32, seed: int = 0, **overrides: Any
) -> Path:
    """A Speech2Text checkpoint over characters: vocab.json and a sentencepiece model."""
    from orature.engines.speech2text import files, fresh

    small = {"d_model": width, "encoder_ffn_dim": 2 * width, "decoder_ffn_dim": 2 * width, "encoder_layers": 2}
    small |= {
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "conv_channels": 2 * width,
    }
    network, vocabulary = fresh(texts, "tiny", seed=seed, **{**small, **overrides})
    _used(network.model)
    return write_folder(folder, files(network, vocabulary), "mit", ["en"])


def encoder_decoder_folder(
    folder: Path, *, texts: Sequence[str] = TEXTS, languages: Sequence[str] = (), seed: int = 0
) -> Path:
    """Our own encoder-decoder (size micro); several `languages` get a token each."""
    from orature.engines.encoder_decoder_family import files, fresh

    torch.manual_seed(seed)
    network, tokens = fresh(texts, "micro", languages=languages)
    return write_folder(folder, files(network, tokens), "mit", list(languages) or ["en"])
