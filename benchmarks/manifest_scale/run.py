"""A manifest of a million utterances: written, read, checked and digested in bounded memory, with cost linear in rows.

Example::

    python benchmarks/manifest_scale/run.py
    python benchmarks/manifest_scale/run.py --rows 25000 50000 100000 --json

Each task is a process of its own (so that its peak memory is its own) on the same generated files, without audio:

* write      generate rows and write them as a corpus folder (cuts.jsonl.gz, with digest and summary)
* check      read that folder back: every field checked, ids unique, digest and summary recomputed and compared
* iterate    read the folder as utterances, as a training run does
* plain      read the same rows from manifest.tsv as ingest does, fold the text, check the ids, digest
* lhotse     the peer: iterate the same cuts.jsonl.gz with lhotse's lazy CutSet (it neither checks nor digests)

Exit code 1 where the peak memory is above 1.5 GB or the cost grows faster than rows to the power of 1.1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "src"
PEAK_LIMIT_MB = 1500
EXPONENT_LIMIT = 1.1
WORDS = (
    "kayman shamuychik wawki pani ari yaku inti killa wasi runa shuk ishkay kimsa chusku pichka sukta kanchis".split()
)


def utterances(rows: int) -> Iterator[Any]:
    """Made-up rows with the sizes of real ones: 3 to 12 words, one of a thousand speakers, a digest."""
    from orature.core.types import AudioSpan, Utterance

    draw = random.Random(1)
    for n in range(rows):
        text = " ".join(draw.choices(WORDS, k=draw.randint(3, 12)))
        audio = AudioSpan(
            f"audio/{n // 128:05d}/{n % 128:05d}.flac", 0.0, draw.randint(8_000, 160_000) / 16_000, f"{n:064x}"
        )
        split = ("dev", "test")[n % 20] if n % 20 < 2 else "train"
        speaker = f"speaker{draw.randrange(1000)}"
        yield Utterance(f"clip/{n:08d}", audio, text, "que-EC", speaker, "real", "made up", "CC0-1.0", split)  # type: ignore[arg-type]


def write(folder: Path, rows: int) -> str:
    from orature.data.corpus import save_corpus

    @contextlib.contextmanager
    def writing(name: str) -> Iterator[Path]:
        yield folder / name

    with (folder / "manifest.tsv").open("w", encoding="utf-8") as table:
        table.write("path\tsentence\tspeaker\tlang\tsplit\tseconds\tlicence\n")

        def both() -> Iterator[Any]:
            for u in utterances(rows):
                cells = (f"{u.id}.flac", u.text, u.speaker, u.language, u.split, f"{u.audio.duration_s:.3f}", u.licence)
                table.write("\t".join(map(str, cells)) + "\n")
                yield u

        return str(save_corpus(writing, both(), [])["digest"])


def check(folder: Path, rows: int) -> str:
    from orature.data.corpus import Corpus

    corpus = Corpus.open(folder)
    problems = corpus.verify()
    if problems or len(corpus) != rows:
        raise SystemExit(f"the corpus of {rows} rows is wrong: {problems[:3]}")
    return corpus.digest


def iterate(folder: Path, rows: int) -> str:
    from orature.data.corpus import Corpus

    return str(sum(1 for _ in Corpus.open(folder)))


def plain(folder: Path, rows: int) -> str:
    from orature.core.identity import SetDigest
    from orature.core.types import AudioSpan, Reject, Utterance
    from orature.data.draft import Seen
    from orature.data.readers.plain import PlainFolder
    from orature.data.rows import canonical_row
    from orature.data.tree import FolderTree
    from orature.stages.ingest import read_source, settled

    seen, digest, kept = Seen(), SetDigest(), 0
    tree = FolderTree(folder, only=("manifest.tsv",))
    for item in settled(read_source(PlainFolder(), tree, seen), None):
        if isinstance(item, Reject):
            raise SystemExit(f"a good row was rejected: {item}")
        audio = AudioSpan("", 0.0, item.expected_s or 0.0)
        digest.add(canonical_row(Utterance(item.id, audio, item.text, item.language or "und", item.speaker)))
        kept += 1
    if kept != rows or seen.rows != rows:
        raise SystemExit(f"{kept} of {rows} rows came back")
    return digest.hexdigest()


def lhotse(folder: Path, rows: int) -> str:
    from lhotse import CutSet

    return str(sum(1 for _ in CutSet.from_jsonl_lazy(folder / "cuts.jsonl.gz")))


TASKS: dict[str, Callable[[Path, int], str]] = {task.__name__: task for task in (write, check, iterate, plain, lhotse)}


def run_task(name: str, folder: Path, rows: int) -> None:
    """In the child: one line of JSON with seconds and peak memory (imports count in memory, not in time).

    Speeds, ratios and exponents are of CPU seconds (all tasks are single-threaded), so that a busy machine blurs less;
    wall seconds are there as well.
    """
    import orature.stages.ingest  # noqa: F401

    if name == "lhotse":
        import lhotse  # noqa: F401
    began, began_cpu = time.perf_counter(), time.process_time()
    result = TASKS[name](folder, rows)
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    facts = {"task": name, "rows": rows, "seconds": round(cpu, 3), "wall_s": round(seconds, 3)}
    print(json.dumps({**facts, "peak_mb": round(peak), "result": result}))


def measure(sizes: list[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH", "")]))
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="manifest_scale_") as folder:
            for name in TASKS:
                command = [sys.executable, __file__, "--task", name, "--folder", folder, "--rows", str(rows)]
                done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
                if done.returncode:
                    reason = (done.stderr.strip().splitlines() or ["no word why"])[-1]
                    print(f"{name} with {rows} rows does not run here: {reason}", file=sys.stderr)
                    continue
                found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def exponent(points: list[tuple[int, float]]) -> float:
    """Slope of log(seconds) against log(rows) by least squares: 1 is linear."""
    xs, ys = [math.log(rows) for rows, _ in points], [math.log(seconds) for _, seconds in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 1.0


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    by_task = {name: [one for one in found if one["task"] == name] for name in TASKS}
    slopes = {
        name: round(exponent([(one["rows"], one["seconds"]) for one in ones]), 3)
        for name, ones in by_task.items()
        if ones
    }
    last = {name: ones[-1]["seconds"] for name, ones in by_task.items() if ones}
    ratios = {f"{name}/lhotse": round(last[name] / last["lhotse"], 2) for name in last if "lhotse" in last}
    ours = [one for one in found if one["task"] != "lhotse"]
    peak = max(one["peak_mb"] for one in ours)
    good = peak < PEAK_LIMIT_MB and all(slopes[name] < EXPONENT_LIMIT for name in slopes if name != "lhotse")
    return {"exponents": slopes, "time_ratios": ratios, "peak_mb": peak, "holds": good, "machine": platform.platform()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Manifests of up to a million rows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--task", choices=sorted(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        run_task(given.task, given.folder, given.rows[0])
        return 0
    found = measure(given.rows)
    said = summary(found)
    if given.json:
        print(json.dumps({"measured": found, **said}, indent=1))
        return 0 if said["holds"] else 1
    print(f"{'task':<10}{'rows':>10}{'CPU s':>10}{'wall s':>10}{'rows/s':>10}{'peak MB':>10}")
    for one in sorted(found, key=lambda one: (list(TASKS).index(one["task"]), one["rows"])):
        speed = one["rows"] / one["seconds"]
        print(
            f"{one['task']:<10}{one['rows']:>10}{one['seconds']:>10.1f}{one['wall_s']:>10.1f}{speed:>10.0f}{one['peak_mb']:>10}"
        )
    print(
        "cost grows as rows to the power of: "
        + ", ".join(f"{name} {value}" for name, value in said["exponents"].items())
    )
    print(
        "time against lhotse's lazy CutSet: "
        + ", ".join(f"{name} {value}" for name, value in said["time_ratios"].items())
    )
    print(f"peak memory of ours {said['peak_mb']} MB (limit {PEAK_LIMIT_MB}): {'holds' if said['holds'] else 'BROKEN'}")
    return 0 if said["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
