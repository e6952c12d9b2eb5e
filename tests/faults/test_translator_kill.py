"""`kill -9` while two translators are made and one is chosen: the same command again gives the same digests."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from orature.flow import Resources, Run, Store
from orature.recipes.train_translator import TranslatorOptions, train_translator
from orature.testing.faults import in_child
from orature.train.text import loop
from tests.toy_language import toy_pairs

pytest.importorskip("sacrebleu")
pytestmark = pytest.mark.usefixtures("no_fsync")
QUIET = Resources(threads=1, progress=False)
MICRO = {
    **{"layers": 1, "width": 32, "heads": 2, "inner": 64, "updates": 6, "evaluate_every": 3, "beams": 1},
    **{"batch_tokens": 300, "dev_rows": 6},
}
OPTIONS = TranslatorOptions(source="es", target="qu", pieces="characters", settings={"train": MICRO})
FAULTS = (
    "committed:2:kill",  # the dictionary is made, its score on dev is not
    "part-renamed:1:kill",  # amid that score
    "update",  # amid the training of the Transformer
    "artefact-synced:1:kill",  # the Transformer is made, but not in sight
    "committed:2:kill",  # the Transformer and its score are made, nothing is chosen
    "part-renamed:4:kill",  # amid the taking over of files
)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    draw = random.Random(5)
    lines = [f"{a}\t{b}\t{draw.choices(['train', 'dev', 'test'], [8, 1, 1])[0]}" for a, b in toy_pairs(120)]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(["es\tqu\tsplit", *lines]) + "\n", encoding="utf-8")
    return path


def made(pairs: Path, root: Path) -> dict[str, str]:
    """The digest of every artefact by its key."""
    store = Store(root)
    train_translator(Run(store, "test", "test"), [pairs], OPTIONS, on=QUIET, name="toy")
    return {f"{info.stage} {info.key}": info.digest for info in map(store.info, store.keys())}


def dies_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint after each update, death before the fifth."""
    real = loop.TextTrainer.update

    def cut(self: loop.TextTrainer, *batches: object) -> None:
        if self.progressed.update == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, *batches)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "_SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(loop.TextTrainer, "update", cut)


def test_killed_at_every_step_and_run_again_it_gives_the_same_digests(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(pairs, tmp_path / "whole")  # first, so that the children find all libraries loaded
    cut = tmp_path / "cut"
    for number, fault in enumerate(FAULTS):
        with monkeypatch.context() as patch:
            if fault == "update":
                dies_in_training(patch)
            spec = "" if fault == "update" else fault
            assert in_child(lambda: made(pairs, cut), fault=spec) == -signal.SIGKILL, f"{number}: {fault}"
    assert not Store(cut).check(), "nothing half-done is in sight"
    left = {info.stage for info in map(Store(cut).info, Store(cut).keys())}
    assert left == {"parallel_text", "train_dictionary", "evaluate-translator", "train_translator"}
    assert made(pairs, cut) == whole and len(whole) == 6
    assert {name.split()[0] for name in whole} == {*left, "choose-translator"}
