"""The Ray executor: the digests of the local one, a killed worker and a lost node cost what they were working on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from orature.core.errors import AudioError, ConfigError, MissingExtra, WorkFailed
from orature.flow import Resources, executor_ray
from orature.flow.executor_ray import load_ray, ray_session, refuse_missing, run_on_ray, sizes_of
from orature.flow.shards import ShardMap

from speech_samples import reading, sentences, text_corpus  # isort: skip
from orature.flow import Run, Store  # isort: skip


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A cluster that a test starts puts a handler of its own in place."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def slow_shard(batch: Sequence[int], folder: Path, *, tallies: Path, seconds: float = 0.3) -> dict[str, Any]:
    (tallies / f"{batch[0]}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    (folder / "sub").mkdir()
    (folder / "sub" / "squares.txt").write_text(" ".join(str(n * n) for n in batch))
    if batch[0] < 0:
        raise AudioError("below nothing", reason="audio-silent")
    return {"sum": sum(batch)}


def dying(number: int, *, folder: Path, times: int) -> int:
    tries = len(list(folder.iterdir()))
    if number == 2 and tries < times:
        (folder / str(tries)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One small cluster for the tests that need no more."""
    with ray_session(2, None) as module:
        yield module


def shards(folder: Path, **how: Any) -> tuple[list[dict[str, Any]], dict[str, bytes], ShardMap[int]]:
    tallies = folder / "tallies"
    tallies.mkdir(parents=True)
    seconds = how.pop("seconds", 0.0)
    shard_map = ShardMap(folder / "out", folder / "marks", partial(slow_shard, tallies=tallies, seconds=seconds), **how)
    results = shard_map.run([[n, n + 1] for n in range(6)])
    files = {str(path.relative_to(folder / "out")): path.read_bytes() for path in (folder / "out").rglob("*.*")}
    return results, files, shard_map


@pytest.mark.slow
def test_the_same_as_from_local_workers(ray: Any, tmp_path: Path) -> None:
    local = shards(tmp_path / "local")[:2]
    assert shards(tmp_path / "ray", executor="ray", workers=2)[:2] == local
    text = text_corpus(tmp_path / "t", sentences(20))
    digests = []
    for name in ("local", "ray"):
        on = Resources(workers=2, executor=name, progress=False)  # type: ignore[arg-type]
        digests.append(Run(Store(tmp_path / f"s-{name}"), "test", "test").do(reading(text), on=on))
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_killed_worker_costs_one_task(ray: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deaths: Counter[int] = Counter()
    told = {"on_death": lambda index: deaths.update([index])}
    done = run_on_ray(((n, n) for n in range(5)), partial(dying, folder=tmp_path, times=1), workers=2, **told)
    assert sorted(done) == [(n, n) for n in range(5)] and deaths == {2: 1}
    assert "Ray says" in capsys.readouterr().err
    with pytest.raises(WorkFailed, match="died 3 times"):
        list(run_on_ray(((n, n) for n in range(5)), partial(dying, folder=_new(tmp_path / "x"), times=9), workers=2))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_errors_and_missing_inputs_come_back_as_themselves(ray: Any, tmp_path: Path) -> None:
    tallies = _new(tmp_path / "tallies")
    work = partial(slow_shard, tallies=tallies, seconds=0.0)
    with pytest.raises(AudioError, match="below nothing") as error:
        ShardMap(tmp_path / "o", tmp_path / "m", work, executor="ray").run([[-1]])
    assert error.value.reason == "audio-silent"
    weights = tmp_path / "weights"
    weights.write_bytes(b"123")
    shard_map = ShardMap(tmp_path / "o2", tmp_path / "m2", work, executor="ray", needs=[weights])
    assert shard_map.run([[1]]) == [{"sum": 1}]
    sizes = sizes_of([weights, tmp_path])
    refuse_missing(sizes)
    weights.write_bytes(b"12345")
    with pytest.raises(ConfigError, match="is another one than on the driver"):
        refuse_missing(sizes)
    weights.unlink()
    with pytest.raises(ConfigError, match=r"is not there on the machine .* of the Ray cluster"):
        refuse_missing(sizes)


@pytest.mark.slow
def test_a_lost_node_and_a_killed_worker_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes beside the driver's: a worker is killed, then a node removed; all shards are there, few were redone."""
    module = load_ray()
    module.shutdown()
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    trouble = threading.Thread(target=_trouble, args=(tmp_path, cluster, nodes[1]), daemon=True)
    try:
        trouble.start()
        results, files, shard_map = shards(
            tmp_path / "run", executor="ray", workers=2, address=cluster.address, seconds=1.0
        )
        trouble.join()
    finally:
        cluster.shutdown()
    assert results == [{"sum": 2 * n + 1} for n in range(6)]
    assert files == shards(tmp_path / "local")[1]
    tries = Counter(path.name.split("-")[0] for path in (tmp_path / "run" / "tallies").iterdir())
    assert 1 <= sum(shard_map.lost.values()) <= 3 and sum(tries.values()) - 6 <= 2, (tries, shard_map.lost)


def _trouble(folder: Path, cluster: Any, node: Any) -> None:
    """Kills a worker at its first shard and takes a node away at a later one."""
    tallies = folder / "run" / "tallies"
    _wait(lambda: tallies.is_dir() and len(list(tallies.iterdir())) >= 1)
    os.kill(int(sorted(tallies.iterdir())[0].name.split("-")[1]), signal.SIGKILL)
    _wait(lambda: len(list(tallies.iterdir())) >= 4)
    cluster.remove_node(node, allow_graceful=False)


def _wait(holds: Any, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)


def test_no_cluster_answers_and_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    load_ray().shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError, match="no Ray cluster can be used at nonsense://x"), ray_session(1, "nonsense://x"):
        pass
    assert signal.getsignal(signal.SIGTERM) is handler

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(executor_ray.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="Ray is not installed"):
        load_ray()
