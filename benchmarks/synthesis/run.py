"""Text to speech for training, against what a user would do instead: sentences a second, and what comes out.

Example::

    python benchmarks/synthesis/run.py --sentences 2000 --rounds 5
    python benchmarks/synthesis/run.py --smoke --json

Two comparisons, the same sentences each time, the sides taking turns:

* espeak  one process of espeak-ng a sentence writing wav files (the program where it is installed; and a smaller one
          compiled here over the library that Orature uses): in a plain loop (one at a time), in a loop with what
          training needs after it (16 kHz FLAC, in one process), and spread over as many processes as Orature has
          workers; against `Synthesise` with the espeak voice, which also brings all to 16 kHz, checks it, and writes
          digested FLAC in Shar with rows
* vits    a loop in the manner of Speech Back-Translation (peers.py) against `Synthesise`, with one VITS of the size
          that `orature train-voice` makes and with random weights: as many processes with a thread each against one
          process with as many threads

A ratio above 1 means that Orature is faster. Seconds are wall time; ours include starting the workers, the loop's do
not include loading the model. For vits there is a second ratio, "running", without our start: the stage is run on a
sentence a worker as well, and both sentences and seconds of that are taken off. Realism is off, and lengths and ends go
unchecked: the peers have neither.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import time
from pathlib import Path
from typing import Any

from peers import (
    Peer,
    brought_to_16_khz,
    espeak_peers,
    one_process_a_sentence,
    order_facts,
    scratch,
    speech_bt_loop,
)

SYLLABLES = "ka yu sha mi wa ri pa ni chu ku ti la ma na su pi".split()


def sentences(count: int) -> list[str]:
    """Made-up sentences of three to twelve words."""
    draw = random.Random(1)

    def word() -> str:
        return "".join(draw.choices(SYLLABLES, k=draw.randint(1, 4)))

    return [" ".join(word() for _ in range(draw.randint(3, 12))) for _ in range(count)]


def text_folder(folder: Path, texts: list[str]) -> Path:
    from orature.text.text_corpus import SENTENCES, SUMMARY, Sentence, write_sentences

    folder.mkdir()
    tally = write_sentences(folder / SENTENCES, (Sentence(f"s{n}", text) for n, text in enumerate(texts)))
    (folder / SUMMARY).write_text(json.dumps(tally.summary("sw")), encoding="utf-8")
    return folder


def orature(text: Path, voice: str, folder: Path, workers: int, per_shard: int) -> dict[str, Any]:
    """Seconds of the stage from a fresh store, its digest, and what lies where in its output."""
    from orature.data.corpus import Corpus
    from orature.flow import Resources, Run, Store
    from orature.stages.inputs import text_corpus_ref, voice_ref
    from orature.stages.synthesise import Synthesise

    stage = Synthesise(
        text=text_corpus_ref(text),
        voice=voice_ref(voice),
        language="sw",
        realism="none",
        per_shard=per_shard,
        seed=1,
        reject_limit=1.0,
        unchecked=("too-fast", "too-slow", "cut-off"),
    )
    run = Run(Store(folder), "benchmark", "benchmark")
    began = time.perf_counter()
    ref = run.do(stage, on=Resources(workers=workers, device="cpu", progress=False))
    seconds = time.perf_counter() - began
    corpus = Corpus.open(run.path_of(ref))
    rows = [{"length": len(row.text or ""), "speaker": row.speaker} for row in corpus]
    return {"seconds": seconds, "digest": ref.digest, "rows": rows, "kept": len(corpus)}


def against_processes(texts: list[str], peers: dict[str, Peer], workers: int, per_shard: int) -> dict[str, Any]:
    """Seconds of each side; loops and what follows them by peer."""
    found: dict[str, Any] = {}
    for name, peer in peers.items():
        with scratch() as one, scratch() as many:
            serial = one_process_a_sentence(texts, Path(one), peer, 1)
            found[f"{name}, loop"] = serial
            found[f"{name}, loop and 16 kHz FLAC"] = serial + brought_to_16_khz(Path(one))
            found[f"{name}, {workers} at a time"] = one_process_a_sentence(texts, Path(many), peer, workers)
    with scratch() as ours:
        made = orature(text_folder(Path(ours, "t"), texts), "espeak", Path(ours, "s"), workers, per_shard)
    return found | {"orature": made["seconds"], "digest": made["digest"]}


def against_speech_bt(texts: list[str], model: Path, workers: int, per_shard: int) -> dict[str, Any]:
    voice = f"vits:{model}"
    with scratch() as peer, scratch() as ours, scratch() as few:
        theirs = speech_bt_loop(model, texts, Path(peer), workers)
        made = orature(text_folder(Path(ours, "t"), texts), voice, Path(ours, "s"), workers, per_shard)
        start = orature(text_folder(Path(few, "t"), texts[:workers]), voice, Path(few, "s"), workers, 1)
    return {
        "loop": theirs["seconds"],
        "orature": made["seconds"],
        "running": (made["seconds"] - start["seconds"]) * len(texts) / (len(texts) - workers),
        "digest": made["digest"],
        "peer_digest": hashlib.sha256(theirs["bytes"]).hexdigest(),
        "peer_order": order_facts(theirs["rows"]),
        "order": order_facts(made["rows"]),
        "kept": made["kept"],
    }


def ratio(rounds: list[dict[str, Any]], peer: str, ours: str = "orature") -> dict[str, float]:
    """Median and range of the peer's seconds over ours."""
    found = [one[peer] / one[ours] for one in rounds]
    return {"median": round(statistics.median(found), 2), "low": round(min(found), 2), "high": round(max(found), 2)}


def voice_folder(folder: Path, size: str) -> Path:
    """A checkpoint of the very shape that `orature train-voice --size` gives four speakers, with drawn weights."""
    from transformers import VitsConfig

    from orature.testing.checkpoints_voices import LETTERS, vits_folder
    from orature.train.voice.architecture import SHAPES

    of_shape = ("hidden_size", "num_hidden", "num_attention", "ffn_dim", "flow_size", "upsample", "resblock")
    of_shape += ("duration", "prior", "posterior")
    shape = {name: value for name, value in VitsConfig(**SHAPES[size]).to_dict().items() if name.startswith(of_shape)}
    shape |= {"speaker_embedding_size": 64, "use_stochastic_duration_prediction": size != "tiny"}
    return vits_folder(folder, LETTERS, speakers=4, language="swh", speaking_rate=1.5, **shape)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    texts = sentences(given.sentences)
    neural = texts[: given.neural or max(2, given.sentences // 4)]
    with scratch() as place:
        model = voice_folder(Path(place, "voice"), given.size)
        peers = espeak_peers(Path(place))
        espeak, vits = [], []
        for _ in range(given.rounds):
            espeak.append(against_processes(texts, peers, given.workers, given.per_shard))
            vits.append(against_speech_bt(neural, model, given.workers, given.per_shard))
    sides = [name for name in espeak[0] if name != "digest"]
    speed = {name: round(len(texts) / statistics.median(one[name] for one in espeak), 1) for name in sides}
    fast = {
        name: round(len(neural) / statistics.median(one[name] for one in vits), 1)
        for name in ("loop", "orature", "running")
    }
    last = vits[-1]
    return {
        "espeak": {
            "sentences": len(texts),
            "sentences_per_second": speed,
            "ratios": {name: ratio(espeak, name) for name in sides if name != "orature"},
            "same_digest_each_round": len({one["digest"] for one in espeak}) == 1,
        },
        "vits": {
            "sentences": len(neural),
            "kept": last["kept"],
            "sentences_per_second": fast,
            "size": given.size,
            "ratio_to_loop": ratio(vits, "loop"),
            "ratio_to_loop_running": ratio(vits, "loop", "running"),
            "same_digest_each_round": len({one["digest"] for one in vits}) == 1,
            "peer_same_bytes_each_round": len({one["peer_digest"] for one in vits}) == 1,
            "order": last["order"],
            "peer_order": last["peer_order"],
        },
        "workers": given.workers,
        "rounds": given.rounds,
        "machine": platform.platform(),
    }


def lines(found: dict[str, Any]) -> str:
    espeak, vits = found["espeak"], found["vits"]

    def said(ratio: dict[str, float]) -> str:
        return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"

    return "\n".join(
        [
            f"espeak, {espeak['sentences']} sentences, {found['workers']} workers, {found['rounds']} rounds",
            f"  sentences a second: {espeak['sentences_per_second']}",
            *(f"  times faster than {name}: {said(one)}" for name, one in espeak["ratios"].items()),
            f"  same digest each round: {espeak['same_digest_each_round']}",
            f"vits of size {vits['size']}, {vits['sentences']} sentences",
            f"  sentences a second: {vits['sentences_per_second']}",
            f"  times faster than the Speech-BT-like loop: {said(vits['ratio_to_loop'])}; "
            f"running, without our start: {said(vits['ratio_to_loop_running'])}",
            f"  same each round: ours {vits['same_digest_each_round']}, "
            f"the loop's {vits['peer_same_bytes_each_round']}",
            f"  order and speakers: ours {vits['order']}, the loop's {vits['peer_order']}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Synthesis against one process a sentence and a Speech-BT-like loop.")
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--neural", type=int, default=0, help="sentences for vits (default: a quarter)")
    parser.add_argument("--size", default="small", help="of the neural voice, as `orature train-voice --size`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--per-shard", type=int, default=100)
    parser.add_argument("--smoke", action="store_true", help="some seconds: that it runs, no measurement")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.sentences, given.neural, given.rounds, given.per_shard = 24, 24, 2, 8
    os.environ.setdefault("ORATURE_QUIET", "1")
    found = measure(given)
    print(json.dumps(found, indent=1) if given.json else lines(found))


if __name__ == "__main__":
    main()
