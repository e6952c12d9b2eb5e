"""What `orature train-voice --start XTTS_FOLDER` does: settings by scale, the training stage, and its cost.

Example::

    options = VoiceOptions(scale="dev", start="XTTS-v2", language="sw", settings={"epochs": 3})
    voice = run.do(xtts_stage(corpus_ref(Path("corpus")), options, name="swahili"), on=resources)
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from orature.core.errors import ConfigError
from orature.core.files import write_json
from orature.core.progress import clock
from orature.data.corpus import Corpus
from orature.engines.families import read_config
from orature.engines.training_worker import PROTOCOL, train_in_worker
from orature.engines.worker_environments import recipe_of
from orature.flow import Ref, Resources
from orature.recipes.settings import nearest, override
from orature.recipes.train_voice import VoiceOptions
from orature.recipes.training import SCALES
from orature.stages.tune_xtts import TuneXtts, tags_of_folder, worker_command, worker_environment, xtts_start
from orature.stages.xtts_material import XttsMaterial, gather_xtts
from orature.train.config import Scale
from orature.train.devices import usable_cores
from orature.train.voice.xtts_config import RATE_HZ, XttsTuning

__all__ = ["XttsCost", "is_xtts", "xtts_config", "xtts_cost", "xtts_stage"]

_BYTES = 4
_HELD, _CHECKPOINT = 2, 3
"""Of a trained weight on disk: two checkpoints while one is written, each with AdamW's two moments; and the best."""


@dataclass(frozen=True, slots=True)
class XttsCost:
    """What a run takes: updates, seconds of one and of all, weights, bytes of disk while it runs."""

    updates: int
    rows: int
    hours: float
    update_s: float
    seconds: float
    parameters: int
    trained: int
    disk_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        return (
            f"train-voice: about {clock(self.seconds)} on this machine for {self.updates} updates over {self.rows} "
            f"utterances ({self.hours:.2f} h; {self.update_s:.1f} s an update, evaluations not counted, early stop may "
            f"come before); {self.trained / 1e6:.1f} M of {self.parameters / 1e6:.1f} M parameters are trained; "
            f"{self.disk_bytes / 1e9:.1f} GB of disk while it runs"
        )


def is_xtts(start: str | None) -> bool:
    """Whether what `--start` names is a folder of XTTS."""
    return (
        start is not None
        and (Path(start) / "config.json").is_file()
        and read_config(Path(start)).get("model") == "xtts"
    )


def xtts_config(options: VoiceOptions) -> XttsTuning:
    """The settings by scale, then overridden; ConfigError for unknown names and values."""
    if options.scale not in SCALES:
        raise ConfigError(f"there is no scale {options.scale!r} of a voice", next_step=nearest(options.scale, SCALES))
    config = XttsTuning.for_scale(cast(Scale, options.scale)).model_copy(update={"seed": options.seed})
    config = override(config, options.settings, "")
    if config.prompt_least_s > config.prompt_most_s:
        raise ConfigError(
            f"prompt_least_s {config.prompt_least_s:g} is above prompt_most_s {config.prompt_most_s:g}",
            next_step="set both with --set",
        )
    return config


def xtts_stage(corpus: Ref, options: VoiceOptions, *, name: str = "", embargo: tuple[Ref, ...] = ()) -> TuneXtts:
    """The training stage on `corpus`; ModelError where the start lacks something, MissingExtra without environment."""
    config = xtts_config(options)
    if options.judge is not None:
        raise ConfigError(
            "a judge chooses no checkpoint of XTTS: its dev loss does",
            next_step="leave --judge out, and score the voice afterwards with `orature judge`",
        )
    start = xtts_start(Path(str(options.start)))
    worker_command()
    return TuneXtts(
        corpus=corpus,
        config=config,
        start=start,
        embargo=embargo,
        language=options.language,
        voice_name=f"{name}-xtts" if name else "",
        environment=recipe_of("xtts").digest,
    )


def xtts_cost(stage: TuneXtts, folder: Path, on: Resources) -> XttsCost:
    """What the stage takes on this machine, on the corpus in `folder`; the same errors as the stage for its rows."""
    config, start = stage.config, Path(stage.start.path)
    material = gather_xtts(Corpus.open(folder), [], config, language=stage.language, known=tags_of_folder(start))
    rows = len(material.train)
    threads = on.threads or usable_cores()
    with tempfile.TemporaryDirectory() as place:
        job = {
            "protocol": PROTOCOL,
            "op": "cost",
            "start": str(start),
            "state": place,
            "device": on.device,
            "threads": threads,
            "means": _means(material),
        }
        write_json(Path(place, "job.json"), job)
        found = train_in_worker(
            worker_command(), Path(place, "job.json"), hear=lambda line: None, environment=worker_environment(threads)
        )
    size = config.batch * config.accumulation
    whole = config.epochs * math.ceil(rows / size)
    updates = whole if config.updates is None else min(whole, config.updates)
    update_s = found["row_s"] * min(size, rows)
    trained = int(found["trained"])
    audio_bytes = int(material.hours * 3600 * RATE_HZ)
    return XttsCost(
        updates=updates,
        rows=rows,
        hours=round(material.hours, 4),
        update_s=round(update_s, 3),
        seconds=round(update_s * updates, 1),
        parameters=int(found["parameters"]),
        trained=trained,
        disk_bytes=_BYTES * (_HELD * (_CHECKPOINT + 1) * trained + int(found["parameters"])) + audio_bytes,
    )


def _means(material: XttsMaterial) -> dict[str, float]:
    count = len(material.train)
    return {
        "seconds": sum(row.audio.duration_s for row in material.train) / count,
        "letters": sum(len(row.text or "") for row in material.train) / count,
    }
