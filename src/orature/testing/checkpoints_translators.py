"""Small checkpoint folders of translators, in the layout of the published ones: Marian, M2M-100, NLLB, MADLAD (T5).

Weights are drawn from a seed and tokenizers made from a few sentences: nothing is downloaded. A few updates teach the
models to write one of the sentences for another, so that their texts end; they know no more, and every command takes
them. Equal arguments give equal bytes.

Example::

    folder = nllb_folder(Path("nllb-micro"), languages=("spa_Latn", "quy_Latn"))
    orature translate CORPUS --with nllb:nllb-micro --into quy --to TRANSLATED
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from orature.engines.hf_folder import plain_config
from orature.engines.native_folder import write_json
from orature.engines.seq2seq_folder import model_files, saved_files
from orature.engines.vocabulary import Files
from orature.testing.checkpoints_seq2seq import write_folder

SENTENCES = (
    "la casa es grande y el perro duerme",
    "ñuka wasi hatun kan, shuk allku puñun",
    "the house is big and the dog sleeps",
    "mañana iremos al río con los niños",
    "kaya mayuman rishun wawakunawan",
    "tomorrow we go to the river with the children",
    "nyumba ni kubwa na mbwa analala",
    "kesho tutaenda mtoni pamoja na watoto",
)
PIECES = 110
UPDATES = 40
LEARNING_RATE = 1e-2


def marian_folder(
    folder: Path,
    *,
    texts: Sequence[str] = SENTENCES,
    targets: Sequence[str] = (),
    direction: tuple[str, str] = ("es", "qu"),
    width: int = 32,
    layers: int = 1,
    positions: int = 64,
    pieces: int = PIECES,
    updates: int = UPDATES,
    seed: int = 0,
    **config: Any,
) -> Path:
    """A MarianMT checkpoint; with `targets` (OPUS codes) one into several languages, else one for `direction`."""
    from sentencepiece import SentencePieceProcessor
    from transformers import MarianConfig, MarianMTModel

    model = _pieces(texts, "unigram", pieces)
    numbers: dict[str, int] = {"</s>": 0, "<unk>": 1}
    for piece in (*_listed(model), *(f">>{code}<<" for code in targets)):
        numbers.setdefault(piece, len(numbers))
    pad = numbers["<pad>"] = len(numbers)
    small = _shape(width, layers, positions) | {"vocab_size": len(numbers), "eos_token_id": 0}
    fields = {"pad_token_id": pad, "decoder_start_token_id": pad, "bos_token_id": 0, "activation_function": "swish"}
    made = _drawn(lambda: MarianMTModel(MarianConfig(**{**small, **fields, "scale_embedding": True, **config})), seed)
    with torch.no_grad():
        made.final_logits_bias.copy_(torch.linspace(-0.3, 0.3, len(numbers)))
    read = SentencePieceProcessor(model_proto=model)
    rows = [[numbers[piece] for piece in read.encode(text, out_type=str)] for text in texts]
    first = [[numbers[f">>{targets[place % len(targets)]}<<"]] if targets else [] for place in range(len(rows))]
    sources = [[*token, *row, 0] for token, row in zip(first, rows, strict=True)]
    _taught(made, sources, [[*row, 0] for row in [*rows[1:], rows[0]]], updates)
    made.generation_config.bad_words_ids = [[pad]]
    settings = {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": direction[0],
        "target_lang": "mul" if targets else direction[1],
        "model_max_length": 512,
    }
    files: Files = {
        **_model_files(made),
        "source.spm": _bytes(model),
        "target.spm": _bytes(model),
        "vocab.json": write_json(numbers),
        "tokenizer_config.json": write_json(settings),
    }
    return write_folder(folder, files, "cc-by-4.0", (direction[0], *(targets or direction[1:])))


def m2m_folder(
    folder: Path,
    *,
    texts: Sequence[str] = SENTENCES,
    width: int = 32,
    layers: int = 1,
    positions: int = 64,
    updates: int = UPDATES,
    seed: int = 0,
    **config: Any,
) -> Path:
    """An M2M-100 checkpoint with its hundred languages: vocab.json and a SentencePiece model."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model = _pieces(texts, "bpe")
    numbers: dict[str, int] = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    for piece in _listed(model):
        numbers.setdefault(piece, len(numbers))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    small = _shape(width, layers, positions) | {"vocab_size": len(numbers) + len(tokenizer.lang_token_to_id) + 8}
    made = _drawn(lambda: M2M100ForConditionalGeneration(M2M100Config(**{**small, **config})), seed)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    spanish, swahili = (tokenizer.lang_token_to_id[token] for token in ("__es__", "__sw__"))
    _taught(made, [[spanish, *row, 2] for row in rows], [[swahili, *row, 2] for row in [*rows[1:], rows[0]]], updates)
    files = {**_model_files(made), **saved_files(tokenizer.save_pretrained)}
    return write_folder(folder, files, "mit", ("en", "es", "sw"))


def nllb_folder(
    folder: Path,
    *,
    texts: Sequence[str] = SENTENCES,
    languages: Sequence[str] = ("eng_Latn", "quy_Latn", "spa_Latn", "swh_Latn", "zho_Hans", "zho_Hant"),
    width: int = 32,
    layers: int = 1,
    positions: int = 64,
    updates: int = UPDATES,
    seed: int = 0,
    **config: Any,
) -> Path:
    """An NLLB checkpoint with `languages` (FLORES codes) as its special tokens: tokenizer.json."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    vocabulary, merges = _merges(texts, ("<s>", "<pad>", "</s>", "<unk>"))
    source = languages[0]
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=merges, src_lang=source, extra_special_tokens=list(languages))
    small = _shape(width, layers, positions) | {"vocab_size": len(tokenizer)}
    made = _drawn(lambda: M2M100ForConditionalGeneration(M2M100Config(**{**small, **config})), seed)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    number = tokenizer.convert_tokens_to_ids
    sources = [[number(languages[place % len(languages)]), *row, 2] for place, row in enumerate(rows)]
    targets = [[number(languages[-1 - place % len(languages)]), *row, 2] for place, row in enumerate(rows)]
    _taught(made, sources, [*targets[1:], targets[0]], updates)
    files = {**_model_files(made), **saved_files(tokenizer.save_pretrained)}
    return write_folder(folder, files, "cc-by-nc-4.0", [code[:3] for code in languages])


def madlad_folder(
    folder: Path,
    *,
    texts: Sequence[str] = SENTENCES,
    languages: Sequence[str] = ("en", "es", "qu", "sw"),
    width: int = 32,
    layers: int = 1,
    updates: int = UPDATES,
    seed: int = 0,
    **config: Any,
) -> Path:
    """A T5 checkpoint as MADLAD-400: gated GELU, untied embeddings, `<2xx>` tokens in the vocabulary."""
    from transformers import T5Config, T5ForConditionalGeneration

    model = _pieces(texts, "unigram")
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((f"<2{code}>", 0.0) for code in languages)]
    pieces += [(piece, -2.0 - 0.01 * place) for place, piece in enumerate(_listed(model))]
    tokenizer = _unigrams(pieces, languages)
    fields = {
        "vocab_size": len(tokenizer),
        "d_model": width,
        "d_kv": width // 2,
        "d_ff": 2 * width,
        "num_heads": 2,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    made = _drawn(lambda: _untied(T5ForConditionalGeneration(T5Config(**{**fields, **config}))), seed)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    told = [tokenizer.convert_tokens_to_ids(f"<2{languages[place % len(languages)]}>") for place in range(len(rows))]
    sources = [[token, *row, 2] for token, row in zip(told, rows, strict=True)]
    _taught(made, sources, [[*row, 2] for row in [*rows[1:], rows[0]]], updates)
    settings = plain_config(made.config) | {"tie_word_embeddings": False, "architectures": [type(made).__name__]}
    settings.pop("scale_decoder_outputs")
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    weights = {name: value.contiguous() for name, value in sorted(made.state_dict().items()) if name not in copies}
    files = {
        **_model_files(made),
        "config.json": write_json(settings),
        "model.safetensors": lambda path: save_file(weights, path, metadata={"format": "pt"}),
        **saved_files(tokenizer.save_pretrained),
    }
    return write_folder(folder, files, "apache-2.0", languages)


def _untied(model: Any) -> Any:
    """An output layer of its own."""
    weight = model.lm_head.weight
    model.lm_head.weight = torch.nn.Parameter(torch.randn(weight.shape) * 0.2)
    return model


def _unigrams(pieces: list[tuple[str, float]], languages: Sequence[str]) -> Any:
    """A tokenizer of `pieces` whose first is the unknown one."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.add_tokens([AddedToken(f"<2{code}>", normalized=False) for code in languages])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<s>", bos_token="<s>", eos_token="</s>"
    )


def _shape(width: int, layers: int, positions: int) -> dict[str, Any]:
    sides: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sides |= {f"{side}_layers": layers, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 2 * width}
    return {"d_model": width, "max_position_embeddings": positions, "init_std": 0.1, **sides}


def _drawn(make: Callable[[], Any], seed: int) -> Any:
    """A model with weights from `seed`, biases as a trained one has them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make().eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.1)
    return model


def _taught(model: Any, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], updates: int) -> None:
    """`updates` updates of `model` on pairs of token rows, by Adam, without dropout."""
    sources_BS, targets_BT = (_padded(rows, model.config.pad_token_id) for rows in (sources, targets))
    mask_BS = (sources_BS != model.config.pad_token_id).long()
    labels_BT = targets_BT.masked_fill(targets_BT == model.config.pad_token_id, -100)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(updates):
        optimiser.zero_grad()
        loss = model(input_ids=sources_BS, attention_mask=mask_BS, labels=labels_BT).loss
        torch.autograd.backward(loss)
        optimiser.step()


def _padded(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])


def _model_files(model: Any) -> Files:
    files = model_files(model, {})
    del files["preprocessor_config.json"]
    return files


def _pieces(texts: Sequence[str], kind: str, size: int = PIECES) -> bytes:
    """A SentencePiece model of `size` pieces at most."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _listed(model: bytes) -> list[str]:
    """The pieces of a SentencePiece model without its special ones."""
    from sentencepiece import SentencePieceProcessor

    read = SentencePieceProcessor(model_proto=model)
    return [read.id_to_piece(number) for number in range(3, read.get_piece_size())]


def _merges(texts: Sequence[str], special: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A BPE over characters with ▁ for spaces: vocabulary and merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=PIECES, special_tokens=list(special), show_progress=False)
    tokenizer.train_from_iterator(list(texts), trainer)
    table = json.loads(tokenizer.to_str())["model"]
    merges = [(str(one), str(other)) for one, other in table["merges"]]
    return dict(sorted(table["vocab"].items(), key=lambda item: item[1])), merges


def _bytes(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write
