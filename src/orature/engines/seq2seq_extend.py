"""More tokens for an encoder-decoder: characters that its tokenizer breaks into bytes, and languages it lacks.

A character that costs several byte tokens makes texts long and mistakes cheap to make (half a character), so training
texts may add it as a token of its own. A new row of the embedding (and of the tied output layer) starts as the mean of
the rows of the bytes that it replaces: its logit is then the mean of theirs, never above all of them, so that before
training no text of an old language changes. Old rows are kept bit for bit.

Example::

    added = add_characters(tokenizer, texts)          # {token: the tokens it replaces}
    grow(model, len(tokenizer), added)
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

SEEN_OFTEN = 3
"""How often a character must occur in training texts to get a token: a rarer one would stay untrained."""
COSTS = 2
"""From how many byte tokens on a character gets one of its own."""


def byte_letters() -> frozenset[str]:
    """The 256 characters that stand for bytes in a byte-level BPE (Radford et al. 2019, section 2.2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return frozenset(map(chr, plain)) | frozenset(chr(256 + n) for n in range(256 - len(plain)))


def costly_characters(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """Characters of `texts`, in code point order, that the tokenizer writes with `COSTS` or more tokens."""
    counts = Counter(letter for text in texts for letter in unicodedata.normalize("NFC", text))
    known, stand_ins = tokenizer.get_vocab(), byte_letters()
    found = []
    for letter, count in sorted(counts.items()):
        if count < SEEN_OFTEN or letter.isspace() or letter in known or letter in stand_ins:
            continue
        if len(pieces_of(tokenizer, letter)) >= COSTS:
            found.append(letter)
    return found


def pieces_of(tokenizer: Any, letter: str) -> list[int]:
    """The tokens that `letter` is written with inside a word."""
    before = len(tokenizer.encode("a", add_special_tokens=False))
    return list(tokenizer.encode("a" + letter, add_special_tokens=False))[before:]


def add_characters(tokenizer: Any, texts: Iterable[str]) -> dict[int, list[int]]:
    """Adds the costly characters of `texts` to `tokenizer`; each new token with the tokens that it replaces.

    A BPE over characters with bytes to fall back on (Llama's, Moonshine's) takes them into its vocabulary, where they
    are found before the bytes are. A byte-level BPE (GPT-2's, Whisper's) splits the text at them first.
    """
    from tokenizers import AddedToken

    pieces = {letter: pieces_of(tokenizer, letter) for letter in costly_characters(tokenizer, texts)}
    if not pieces:
        return {}
    table = json.loads(tokenizer.backend_tokenizer.to_str())
    if table["model"].get("byte_fallback"):
        _into_vocabulary(tokenizer, table, list(pieces))
    else:
        tokenizer.add_tokens([AddedToken(letter, normalized=False, special=False) for letter in pieces])
    return {int(tokenizer.convert_tokens_to_ids(letter)): rows for letter, rows in pieces.items()}


def _into_vocabulary(tokenizer: Any, table: dict[str, Any], letters: Sequence[str]) -> None:
    """Special tokens go into the BPE's vocabulary too, or they would be numbered anew behind the longer vocabulary."""
    from tokenizers import Tokenizer

    numbers = table["model"]["vocab"]
    for token in table["added_tokens"]:
        numbers[token["content"]] = token["id"]
    first = max(numbers.values()) + 1
    for number, letter in enumerate(letters, first):
        numbers[letter] = number
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(table))


def add_special(tokenizer: Any, token: str) -> int:
    """Adds a special token and returns its number."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(token))


@torch.no_grad()
def grow(model: Any, tokens: int, sources: Mapping[int, Sequence[int]]) -> None:
    """Gives `model` at least `tokens` embedding rows; row `new` of `sources` becomes the mean of its source rows."""
    if tokens > model.config.vocab_size:
        model.resize_token_embeddings(tokens, mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings().weight
    if output.data_ptr() != tables[0].data_ptr():
        tables.append(output)
    for table in tables:
        for token, rows in sources.items():
            table[token] = table[list(rows)].mean(dim=0)
