"""Pseudo-labelling: audio-hours an hour against what a user would write instead, and memory from 1 h to 100 h.

Example::

    python benchmarks/label_throughput/run.py --minutes 20 --rounds 3
    python benchmarks/label_throughput/run.py --models whisper-tiny --arms loop,orature --minutes 5
    python benchmarks/label_throughput/run.py --memory --workers 2
    python benchmarks/label_throughput/run.py --smoke --json

Ours is what `orature label` does, from files on disk to a labelled corpus: decoding in shards by the local executor,
then the filters (those bounds off that a model with drawn weights cannot meet). The peers write texts alone:
transformers' ASR pipeline with batches, and a loop in the manner of distil-whisper's `run_pseudo_labelling.py` (see
arms.py), also in bfloat16. Same model folder, same recordings (train clips of two corpora in turn, 0.4 to 20 s; where
there are none, synthetic speech), greedy, as many threads. Each arm runs in a fresh process, and the arms take
turns, in every second round in the opposite order. Importing and loading a model are left out on both sides, and so is
the choice of a backend, which is made once for a model and machine; with `--workers` above 1 ours includes their start.

Ratios are of seconds, and of CPU seconds (which other work on the machine disturbs less); above 1 Orature is faster.
Texts are compared with those of the first peer. `--memory` labels 1 h and 100 h with a micro model: its figures are the
peaks of resident memory of the driver and of its largest worker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "decode_throughput"))

ARMS = ("pipeline-8", "loop", "loop-bf16", "orature", "orature-fast")
FLAT = 1.15
"""How many times the memory of 1 h 100 h may take."""


def measured(model: Path, given: argparse.Namespace, heard: Any, scratch: Path) -> dict[str, Any]:
    """All arms in turn: seconds of each round, ratios, peak memory, and how equal the texts are."""
    job = {
        "model": str(model),
        "corpus": str(heard.folder),
        "paths": heard.paths,
        "threads": given.threads,
        "workers": given.workers,
        "batch": given.batch,
        "language": given.lang or ("en" if model.name.startswith("whisper-tiny") else ""),
        "choices": str(scratch / "choices"),
        "scratch": str(scratch),
        "exports": given.exports,
    }
    (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in given.arms}
    for number in range(given.rounds):
        for name in given.arms if number % 2 == 0 else given.arms[::-1]:
            rounds[name].append(in_process("arms.py", name, str(scratch / "job.json")))
    return summed(model.name, heard, rounds)


def in_process(script: str, *arguments: str) -> dict[str, Any]:
    """What a script of this folder prints, as JSON; its trouble goes to our standard error."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def summed(name: str, heard: Any, rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    from speech import equality, ratio

    seconds = {arm: [one["seconds"] for one in found] for arm, found in rounds.items()}
    cpu = {arm: [one["cpu_seconds"] for one in found] for arm, found in rounds.items()}
    ours = [arm for arm in rounds if arm.startswith("orature")]
    peers = [arm for arm in rounds if arm not in ours]
    pairs = [(peer, arm) for arm in ours for peer in peers]
    last = {arm: found[-1] for arm, found in rounds.items()}
    first = last[(peers or ours)[0]]["texts"]
    return {
        "model": name,
        "audio_minutes": round(heard.seconds / 60, 2),
        "recordings": len(heard.paths),
        "hours_an_hour": {arm: round(heard.seconds / statistics.median(one), 1) for arm, one in seconds.items()},
        "seconds": {arm: [round(s, 2) for s in one] for arm, one in seconds.items()},
        "cpu_seconds": {arm: [round(s, 2) for s in one] for arm, one in cpu.items()},
        "ratio": {f"{arm} / {peer}": ratio(seconds[peer], seconds[arm]) for peer, arm in pairs},
        "cpu_ratio": {f"{arm} / {peer}": ratio(cpu[peer], cpu[arm]) for peer, arm in pairs},
        "peak_mb": {arm: found["peak_mb"] for arm, found in last.items()},
        "texts": {arm: equality(first, found["texts"]) for arm, found in last.items()},
        "distinct_texts": len(set(first)),
        "backend": {arm: last[arm]["told"] for arm in ours},
    }


def table(found: dict[str, Any]) -> str:
    """One model's figures for a person."""
    lines = [f"{found['model']}: {found['recordings']} recordings, {found['audio_minutes']:g} min of speech"]
    for arm, speed in found["hours_an_hour"].items():
        same, peak = found["texts"][arm], found["peak_mb"][arm]
        lines.append(
            f"  {arm:<13} {speed:8.1f} audio-h/h   equal texts {same['equal']} of {same['of']} (CER between "
            f"{100 * same['cer_between']:.2f} %)   {peak['process']:.0f} MB + {peak['worker']:.0f} MB   "
            f"{found['seconds'][arm]} s"
        )
    for pair, one in found["ratio"].items():
        cpu = found["cpu_ratio"][pair]
        lines.append(
            f"  {pair:<26} {one['median']:.2f}x ({one['low']:.2f} to {one['high']:.2f}); by CPU seconds "
            f"{cpu['median']:.2f}x ({cpu['low']:.2f} to {cpu['high']:.2f})"
        )
    lines += [f"  {arm}: {told}" for arm, told in found["backend"].items()]
    return "\n".join([*lines, f"  distinct texts: {found['distinct_texts']}"])


def memory(given: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Peaks of labelling `--hours`, each in a process of its own; exit code 1 where they grow."""
    rows = [
        in_process("memory.py", str(hours), str(given.workers), str(given.corpora), str(scratch))
        for hours in given.hours
    ]
    peaks = [row["peak_mb"]["process"] + given.workers * row["peak_mb"]["worker"] for row in rows]
    return {"memory": rows, "times": round(peaks[-1] / peaks[0], 3), "most": FLAT, "flat": peaks[-1] <= FLAT * peaks[0]}


def memory_table(found: dict[str, Any]) -> str:
    lines = []
    for row in found["memory"]:
        speed, peak = row["hours"] * 3600 / row["seconds"], row["peak_mb"]
        lines.append(
            f"{row['hours']:>7g} h  {row['rows']:>7,} recordings  driver {peak['process']:.1f} MB, largest worker "
            f"{peak['worker']:.1f} MB  {row['seconds']:.1f} s ({speed:.0f} audio-h/h)"
        )
    verdict = "flat" if found["flat"] else f"NOT flat (at most {found['most']} is allowed)"
    return "\n".join([*lines, f"  last / first: {found['times']:.3f}: {verdict}"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpora", type=Path, default=Path(os.environ.get("ORATURE_CORPORA", "../shared/corpora")))
    parser.add_argument("--models", default="xls-r-24m,whisper-tiny", help="shapes of decode_throughput/models.py")
    parser.add_argument("--model", type=Path, help="a model folder in the layout of transformers, instead")
    parser.add_argument("--lang", default="", help="language, where the model asks for one")
    parser.add_argument("--arms", default=",".join(ARMS), help="those, or pipeline-16 and the like")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="recordings a batch of the loop")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--workers", type=int, default=1, help="our processes (1: this one, with as many threads)")
    parser.add_argument("--exports", action="store_true", help="choose among exported models, too")
    parser.add_argument("--memory", action="store_true", help="peak memory of labelling --hours, no peers")
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 100.0])
    parser.add_argument("--smoke", action="store_true", help="1 minute, one round, the smallest model")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.models, given.minutes, given.rounds, given.hours = "xls-r-24m", 1.0, 1, [0.01, 0.05]
    given.arms = given.arms.split(",")
    return given


def main() -> None:
    given = arguments()
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {given.threads} threads"
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        if given.memory:
            found = memory(given, scratch)
            print(json.dumps(found | {"machine": machine}, indent=1) if given.json else memory_table(found))
            raise SystemExit(0 if found["flat"] else 1)
        results = throughput(given, scratch)
    if given.json:
        print(
            json.dumps({"machine": machine, "rounds": given.rounds, "results": results}, indent=1, ensure_ascii=False)
        )


def throughput(given: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    from models import make
    from speech import speech

    from orature.core.types import RATE_HZ
    from orature.data.audio import decode

    heard = speech(given.corpora, given.minutes, scratch / "speech", split="unlabelled")
    sample = np.concatenate([decode(Path(path), path) for path in heard.paths[:12]])[: 30 * RATE_HZ]
    names = given.models.split(",")
    results = []
    for model in [given.model] if given.model else [make(name, scratch / "models", sample) for name in names]:
        results.append(measured(model, given, heard, scratch))
        if not given.json:
            print(table(results[-1]), flush=True)
    return results


if __name__ == "__main__":
    main()
