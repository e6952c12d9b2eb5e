"""Does synthesis survive? Kills of driver and workers on the way to many sentences: digest, work redone, memory, speed.

    python experiments/synthesis_kills.py --sentences 100000 --kills 10 --executor local --to OUT
    python experiments/synthesis_kills.py --sentences 100000 --kills 10 --executor ray --to OUT

One run, with local workers, goes undisturbed. Another one is killed (kill -9), driver and worker by turns, at moments
spread over the work, and started again with the same command after each death of the driver. Both must end with the
same digest. Redone is what was worked on more than once: `whole_redone` counts shards whose work had ended,
`begun_again` those that a killed process had at hand (a killed driver takes all its workers along).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orature.core.files import write_beside
from orature.flow import Ref, Resources, Run, open_store
from orature.flow.shards import SHARD_NAME
from orature.stages.inputs import corpus_ref, text_corpus_ref, voice_ref
from orature.stages.synthesis_shard import ShardWork
from orature.stages.synthesise import Synthesise
from orature.text.text_corpus import SENTENCES, SUMMARY, Sentence, write_sentences

SYLLABLES = "ka yu sha mi wa ri pa ni chu ku ti la ma na su pi".split()


class Counted(ShardWork):
    """Leaves one file when it begins and one when it ends a shard."""

    def __call__(self, lines: Sequence[str], folder: Path) -> dict[str, Any]:
        name = json.loads(lines[0])[0].replace("/", "_")
        _touch("begun", name)
        result = super().__call__(lines, folder)
        time.sleep(float(os.environ.get("KILLS_PAUSE", "0")))
        _touch("ended", name)
        return result


def _touch(what: str, name: str) -> None:
    Path(os.environ["KILLS_TALLY"], f"{what}-{name}-{os.getpid()}-{time.monotonic_ns()}").touch()


class CountedSynthesise(Synthesise):
    """The same stage, counted."""

    def work(self, locate: Callable[[Ref], Path], on: Resources, profile: Any) -> ShardWork:
        plain = super().work(locate, on, profile)
        return Counted(**{name: getattr(plain, name) for name in ShardWork.__dataclass_fields__})


def drive(options: argparse.Namespace) -> None:
    """One run of the stage, to its end or death."""
    target = None if options.like is None else corpus_ref(options.like)
    stage = CountedSynthesise(
        text=text_corpus_ref(options.to / "text"),
        voice=voice_ref(options.voice),
        language=options.language,
        target=target,
        per_shard=options.per_shard,
        seed=1,
    )
    began = time.monotonic()
    store = open_store(options.store)
    on = Resources(workers=options.workers, executor=options.executor, device="cpu", progress=False)
    ref = Run(store, "kills", "synthesis_kills").do(stage, on=on)
    peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    facts = {"digest": ref.digest, "seconds": time.monotonic() - began, "driver_mb": peak[0], "worker_mb": peak[1]}
    print(json.dumps(facts | {"hours": store.info(ref.key).notes["hours"]}))


def make_text(folder: Path, count: int) -> None:
    """So many different sentences of four to ten made-up words."""
    if (folder / SUMMARY).is_file():
        return
    draw = random.Random(1)
    folder.mkdir(parents=True)
    rows = (
        Sentence(f"t/{n:07d}", " ".join("".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(words)))
        for n in range(count)
        for words in (draw.randint(4, 10),)
    )
    tally = write_sentences(folder / SENTENCES, rows)
    with write_beside(folder / SUMMARY) as part:
        part.write_text(json.dumps(tally.summary("qu")), encoding="utf-8")


class Watched:
    """A driver in a process of its own, and what it and its workers left behind."""

    def __init__(self, options: argparse.Namespace, name: str, executor: str) -> None:
        store, tallies = options.to / f"store-{name}", options.to / f"tally-{name}"
        self.executor = executor
        tallies.mkdir(parents=True, exist_ok=True)
        self.tallies, self.options, self.store = tallies, options, store
        self.peaks: list[float] = []
        self.start()

    def start(self) -> None:
        command = [sys.executable, __file__, "--drive", *self.options.passed, "--store", str(self.store)]
        command += ["--executor", self.executor]
        env = {
            **os.environ,
            "KILLS_TALLY": str(self.tallies),
            "KILLS_PAUSE": str(self.options.pause),
            "ORATURE_QUIET": "1",
        }
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def count(self, what: str) -> Counter[str]:
        names = (path.name.split("-") for path in self.tallies.iterdir())
        return Counter(name[1] for name in names if name[0] == what)

    def in_place(self) -> int:
        """Whole shards."""
        return sum(1 for _ in self.store.glob(f"work/*/state/shards/*/{SHARD_NAME}"))

    def until(self, shards: int) -> bool:
        """Waits until so many shards are whole; False when the driver ended before."""
        while self.process.poll() is None:
            self.peaks.append(resident_mb(self.process.pid))
            if self.in_place() >= shards:
                return True
            time.sleep(0.05)
        return False

    def kill_worker(self) -> bool:
        """Kills a process that has begun a shard and not ended it."""
        ended = {path.name.split("-")[2] + path.name.split("-")[1] for path in self.tallies.glob("ended-*")}
        for path in sorted(self.tallies.glob("begun-*"), key=lambda path: -int(path.name.split("-")[3])):
            _, name, pid, _ = path.name.split("-")
            if pid + name not in ended and resident_mb(int(pid)) > 0 and int(pid) != self.process.pid:
                os.kill(int(pid), signal.SIGKILL)
                return True
        return False

    def kill_driver(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        time.sleep(1.0)  # its workers see it and leave

    def result(self) -> dict[str, Any]:
        out, err = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f"the driver ended with {self.process.returncode}:\n{err}")
        found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return found


def resident_mb(pid: int) -> float:
    """Memory of a process now; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def disturbed(options: argparse.Namespace, shards: int) -> dict[str, Any]:
    """The run with kills; what it cost."""
    draw = random.Random(options.seed)
    run = Watched(options, options.executor, options.executor)
    kills: Counter[str] = Counter()
    for number in range(options.kills):
        if not run.until(max(1, (number + 1) * shards // (options.kills + 2))):
            break
        time.sleep(draw.random() * options.pause)
        if number % 2 or not run.kill_worker():
            run.kill_driver()
            run.start()
            kills["driver"] += 1
        else:
            kills["worker"] += 1
    run.until(10**9)
    found = run.result()
    begun, ended = run.count("begun"), run.count("ended")
    tenths = [max(run.peaks[n * len(run.peaks) // 10 : (n + 1) * len(run.peaks) // 10 + 1]) for n in range(10)]
    return found | {
        "kills": dict(kills),
        "shards": len(begun),
        "begun_again": sum(begun.values()) - len(begun),
        "whole_redone": sum(ended.values()) - len(ended),
        "driver_mb_by_tenth": [round(value) for value in tenths],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--per-shard", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--executor", choices=["local", "ray"], default="local")
    parser.add_argument("--voice", default="espeak")
    parser.add_argument("--language", default="qu")
    parser.add_argument("--like", type=Path)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--drive", action="store_true")
    options = parser.parse_args()
    if options.drive:
        drive(options)
        return
    options.passed = sys.argv[1:]
    options.to = options.to.absolute()
    options.to.mkdir(parents=True, exist_ok=True)
    make_text(options.to / "text", options.sentences)
    plain = Watched(options, "undisturbed", "local").result()
    plain["sentences_per_second"] = round(options.sentences / plain["seconds"], 1)
    result = disturbed(options, -(-options.sentences // options.per_shard))
    same = plain["digest"] == result["digest"]
    print(json.dumps({"undisturbed": plain, "killed": result, "same_digest": same}, indent=2))
    allowed = result["kills"].get("worker", 0) + options.workers * result["kills"].get("driver", 0)
    if not same or result["whole_redone"] > sum(result["kills"].values()) or result["begun_again"] > allowed:
        raise SystemExit("the promise does not hold")


if __name__ == "__main__":
    main()
