"""Translating speed, sentences to sentences: Orature's translator against a loop around transformers' `generate`.

Example::

    python benchmarks/translate_throughput/run.py --model-size small --sentences 2000 --rounds 5
    python benchmarks/translate_throughput/run.py --model opus-mt-es-qu --from es --to qu --text sentences.txt
    python benchmarks/translate_throughput/run.py --smoke --json

Same model, same sentences, same machine, the arms taking turns. The peer is what a user writes: batches of
`--peer-batch` sentences in the order given, padded, `model.generate(**batch, num_beams=5, early_stopping=True)`, with
as many threads. Ours: `orature` (the backend that "auto" takes: CTranslate2 in float32 where it is installed),
`orature-torch` and `orature-int8`. Loading is left out on both sides; converting for CTranslate2 is done once for a
model and shown apart.

Without `--model` a MarianMT model of the size is made here: word pieces learned from made-up sentences of 3 to 25
words, and some updates that teach it to write for each of a few sentences another one, so that translations end and
lengths are like those of real ones; it is given these sentences with a word of each changed. How many of the texts are
those of the peer is told for each arm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from orature.core.types import Refusal
from orature.engines.hf_folder import quiet
from orature.engines.neural_translator import length_bound
from orature.engines.translator import TextSearch, TranslationRequest
from orature.engines.translators import open_translator

SIZES = {  # width, layers a side, heads, feed-forward width; `base` is the shape of OPUS-MT
    "tiny": (128, 2, 4, 512),
    "small": (256, 4, 4, 1024),
    "base": (512, 6, 8, 2048),
}
PIECES, TAUGHT, UPDATES, LEARNING_RATE = 2000, 24, 80, 1e-3
ARMS = {"orature": "auto", "orature-torch": "torch", "orature-int8": "ctranslate2-int8"}
SYLLABLES = "ka yu sha mi wa ri pa ni chu ku ti la ma na su pi ta ru si lla".split()
Texts = list[str]


def sentences(count: int, seed: int = 1) -> Texts:
    """Made-up sentences of 3 to 25 words, short ones more often, over some thousand words."""
    draw = random.Random(seed)
    words = sorted({"".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(4000)})
    lengths = [min(25, 3 + int(draw.expovariate(1 / 7))) for _ in range(count)]
    return [" ".join(words[min(len(words) - 1, int(draw.expovariate(1 / 500)))] for _ in range(n)) for n in lengths]


def changed(taught: Texts, count: int) -> Texts:
    """`count` sentences, each one of `taught` with a word of another in place of one of its own."""
    draw = random.Random(4)
    found = []
    for _ in range(count):
        words = draw.choice(taught).split()
        words[draw.randrange(len(words))] = draw.choice(draw.choice(taught).split())
        found.append(" ".join(words))
    return found


def made_model(folder: Path, size: str, updates: int) -> Path:
    """A MarianMT checkpoint that has learned `TAUGHT` sentences by heart."""
    from orature.testing.checkpoints_translators import marian_folder

    width, layers, heads, inner = SIZES[size]
    shape = {f"{side}_attention_heads": heads for side in ("encoder", "decoder")}
    shape |= {f"{side}_ffn_dim": inner for side in ("encoder", "decoder")}
    small = {"width": width, "layers": layers, "positions": 512, "pieces": PIECES, "updates": 0}
    marian_folder(folder, texts=sentences(3000), init_std=0.02, **small, **shape)
    learn(folder, sentences(TAUGHT), updates)
    return folder


def learn(folder: Path, texts: Texts, updates: int) -> None:
    """`updates` updates on all of `texts`, each with the next one as its translation."""
    from transformers import MarianMTModel, MarianTokenizer

    with quiet():
        model, tokenizer = MarianMTModel.from_pretrained(folder), MarianTokenizer.from_pretrained(folder)
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    labels = batch["input_ids"].roll(-1, dims=0)
    labels = labels.masked_fill(labels == tokenizer.pad_token_id, -100)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(updates):
        loss = model(**batch, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with quiet():
        model.save_pretrained(folder)


class Peer:
    """The loop around `generate`."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        with quiet():
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
        self.options = options

    def __call__(self, texts: Texts) -> Texts:
        found: Texts = []
        size = self.options.peer_batch
        for start in range(0, len(texts), size):
            batch = self.tokenizer(texts[start : start + size], return_tensors="pt", padding=True)
            bound = length_bound(batch["input_ids"].shape[1], TextSearch().max_ratio)
            with torch.inference_mode(), quiet():
                out = self.model.generate(
                    **batch, num_beams=self.options.beams, early_stopping=True, max_new_tokens=min(bound, 510)
                )
            found += self.tokenizer.batch_decode(out, skip_special_tokens=True)
        return [" ".join(text.split()) for text in found]


class Ours:
    """The translator with one backend, opened once."""

    def __init__(self, folder: Path, backend: str, options: argparse.Namespace) -> None:
        began = time.perf_counter()
        self.translator = open_translator(str(folder), threads=options.threads, backend=backend)
        self.opening_s = time.perf_counter() - began
        self.options = options

    def __call__(self, texts: Texts) -> Texts:
        asked = [TranslationRequest(text, self.options.source, self.options.target) for text in texts]
        outcomes = self.translator.translate(asked, TextSearch(beams=self.options.beams))
        return [f"({one.reason})" if isinstance(one, Refusal) else " ".join(one[0].text.split()) for one in outcomes]


def measure(folder: Path, texts: Texts, options: argparse.Namespace) -> dict[str, Any]:
    """All arms in alternation: seconds of each round, ratios, and how equal the texts are."""
    ours = {name: Ours(folder, backend, options) for name, backend in ARMS.items() if name not in options.without}
    arms: dict[str, Callable[[Texts], Texts]] = {"generate": Peer(folder, options), **ours}
    spent: dict[str, list[float]] = {name: [] for name in arms}
    found: dict[str, Texts] = {}
    for arm in arms.values():
        arm(texts[:4])
    for _ in range(options.rounds):
        for name, arm in arms.items():
            began = time.perf_counter()
            found[name] = arm(texts)
            spent[name].append(time.perf_counter() - began)
    words = sum(len(text.split()) for text in texts)
    return {
        "sentences": len(texts),
        "words": words,
        "sentences_per_s": {name: round(len(texts) / statistics.median(one), 1) for name, one in spent.items()},
        "seconds": {name: [round(s, 2) for s in one] for name, one in spent.items()},
        "ratio": {name: ratio(spent["generate"], spent[name]) for name in ours},
        "equal_texts": {
            name: sum(a == b for a, b in zip(found["generate"], found[name], strict=True)) for name in ours
        },
        "refused": {name: sum(text.startswith("(") for text in found[name]) for name in ours},
        "distinct_texts": len(set(found["generate"])),
        "opening_s": {name: round(arm.opening_s, 1) for name, arm in ours.items()},
    }


def ratio(slow: list[float], quick: list[float]) -> dict[str, float]:
    """How many times as fast, round by round: median and range."""
    each = [a / b for a, b in zip(slow, quick, strict=True)]
    return {"median": round(statistics.median(each), 2), "low": round(min(each), 2), "high": round(max(each), 2)}


def told(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['model']}: {found['sentences']} sentences, {found['words']} words, {found['beams']} beams"]
    lines.append(f"  {'generate':<15} {found['sentences_per_s']['generate']:8.1f} sentences/s")
    for name, one in found["ratio"].items():
        speed, times = found["sentences_per_s"][name], f"{one['median']:.2f}x ({one['low']:.2f} to {one['high']:.2f})"
        lines.append(
            f"  {name:<15} {speed:8.1f} sentences/s   {times}   texts as generate's: {found['equal_texts'][name]} of "
            f"{found['sentences']}, refused: {found['refused'][name]}   [opened in {found['opening_s'][name]:g} s]"
        )
    return "\n".join([*lines, f"  distinct texts: {found['distinct_texts']}"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="a MarianMT folder, instead of one made here")
    parser.add_argument("--model-size", choices=sorted(SIZES), default="small")
    parser.add_argument("--text", type=Path, help="a sentence a line, instead of made-up ones")
    parser.add_argument("--from", dest="source", default="es")
    parser.add_argument("--to", dest="target", default="qu")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--peer-batch", type=int, default=16)
    parser.add_argument("--updates", type=int, default=UPDATES, help="updates of the model made here")
    parser.add_argument("--without", default="", help="arms to leave out, by commas")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--smoke", action="store_true", help="40 sentences, one round, the smallest model")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.model_size, given.sentences, given.rounds = "tiny", 40, 1
    given.without = set(filter(None, given.without.split(",")))
    return given


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ORATURE_CACHE"] = str(Path(scratch) / "cache")
        folder = given.model or made_model(Path(scratch) / given.model_size, given.model_size, given.updates)
        lines = changed(sentences(TAUGHT), given.sentences)
        if given.text:
            lines = given.text.read_text(encoding="utf-8").splitlines()
        texts = [line.strip() for line in lines if line.strip()][: given.sentences]
        found = {"model": folder.name, "beams": given.beams, "peer_batch": given.peer_batch}
        found |= measure(folder, texts, given)
    found["machine"] = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {given.threads} threads"
    print(json.dumps(found, indent=1, ensure_ascii=False) if given.json else told(found))


if __name__ == "__main__":
    main()
