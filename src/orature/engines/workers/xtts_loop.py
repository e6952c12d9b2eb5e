"""The training run of XTTS's transformer: updates, dev, checkpoints; resumed exactly where it was cut.

It needs torch and safetensors alone and imports nothing of Orature, for it runs in the environment of coqui-tts too.

Example::

    run = Run(gpt, rows, dev, tuning, prompts, state=Path("state"))
    outcome = run.fit()                      # afterwards `gpt` holds the weights that dev chose

All that is drawn follows from (seed, update) or (seed, epoch, row): a checkpoint holds weights, the optimiser and
counters, and no generator's state.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from orature.engines.workers.training import Stopped, Trouble, beside, restore, save, stopping, tell
    from orature.engines.workers.xtts_learning import (
        RATE_HZ,
        Losses,
        Prompt,
        Row,
        Tuning,
        dev_prompt,
        next_token_loss,
        parameter_groups,
        prompt_of,
        total_updates,
        trained_names,
        updates_of_epoch,
    )
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from training import Stopped, Trouble, beside, restore, save, stopping, tell
    from xtts_learning import (
        RATE_HZ,
        Losses,
        Prompt,
        Row,
        Tuning,
        dev_prompt,
        next_token_loss,
        parameter_groups,
        prompt_of,
        total_updates,
        trained_names,
        updates_of_epoch,
    )

Latents = Callable[[Sequence[Row], Prompt], Tensor]
"""Latents (1, n, C) of a stretch of a recording."""
SAVE_EVERY_S = float(os.environ.get("ORATURE_SAVE_EVERY_S", "600"))
"""Seconds of wall time between checkpoints, apart from those at each evaluation; results do not depend on it."""
_BAD_UPDATES = 10
_DRAWS = 1_000_003
_WORST = 1e6
_SLOTS = ("exp_avg", "exp_avg_sq", "step")


class Run:
    """One run; `fit` is the way in. `latents` reads prompts with frozen weights."""

    def __init__(
        self, gpt: Any, train: Sequence[Row], dev: Sequence[Row], tuning: Tuning, latents: Latents, *, state: Path
    ) -> None:
        self.gpt, self.train, self.dev, self.tuning = gpt, list(train), list(dev), tuning
        self.latents, self.state = latents, state
        self.names = trained_names(gpt)
        groups = parameter_groups(gpt, self.names, tuning.weight_decay)
        self._order = [name for group in groups for name in group.pop("names")]
        for name, parameter in gpt.named_parameters():
            parameter.requires_grad_(name in set(self.names))
        self.optimiser = torch.optim.AdamW(groups, lr=tuning.lr, betas=tuning.betas)
        self.total = total_updates(len(self.train), tuning)
        self.progress: dict[str, Any] = {
            "update": 0, "epoch": 0, "in_epoch": 0, "audio_s": 0.0, "sums": {}, "bad": 0,
            "log": [], "best": None, "without_gain": 0, "finished": False,
        }  # fmt: skip
        self._saved_at = time.monotonic()
        self._restore()

    def fit(self) -> dict[str, Any]:
        """Trains to the last update or an early stop, then takes up the best weights; counters and the log."""
        progress, tuning = self.progress, self.tuning
        tell("begin", update=progress["update"], updates=self.total)
        if not progress["log"]:
            self._evaluate()
        while not progress["finished"] and progress["update"] < self.total:
            plan = updates_of_epoch([row.samples for row in self.train], progress["epoch"], tuning)
            for parts in plan[progress["in_epoch"] :]:
                self._update(parts)
                if progress["update"] % tuning.evaluate_every == 0 or progress["update"] == self.total:
                    self._evaluate()
                elif time.monotonic() - self._saved_at > SAVE_EVERY_S:
                    self._save()
                if stopping():
                    self._save()
                    raise Stopped
                if progress["finished"] or progress["update"] >= self.total:
                    break
            else:
                progress["epoch"] += 1
                progress["in_epoch"] = 0
        best = progress["best"]
        self._load(load_file(self._best_path(best["update"])))
        self.gpt.eval()
        audio_h = progress["audio_s"] / 3600
        return {"updates": progress["update"], "chosen": best["update"], "audio_h": audio_h, "log": progress["log"]}

    def _update(self, parts: Sequence[Sequence[int]]) -> None:
        """One step of AdamW on the micro-batches of an update."""
        progress, tuning = self.progress, self.tuning
        torch.manual_seed(tuning.seed * _DRAWS + progress["update"])
        self._to_training()
        self.optimiser.zero_grad(set_to_none=True)
        weight = sum(self._weight(self.train[place]) for part in parts for place in part)
        sums = dict.fromkeys(("text", "text_of", "audio", "audio_of"), 0.0)
        for part in parts:
            prompts = [prompt_of(self.train, place, progress["epoch"], tuning) for place in part]
            found = self._losses(self.train, part, prompts)
            (found.weighted(tuning.text_weight) / weight).backward()  # type: ignore[no-untyped-call]
            _add(sums, found)
        trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(trained, tuning.clip_norm))
        if math.isfinite(norm) and math.isfinite(sums["audio"] + sums["text"]):
            self.optimiser.step()
            progress["bad"] = 0
            sums |= {"norm": norm, "norm_of": 1.0}
            progress["sums"] = {name: progress["sums"].get(name, 0.0) + value for name, value in sums.items()}
        else:
            self._bad_update()
        seconds = sum(self.train[place].samples for part in parts for place in part) / RATE_HZ
        progress["audio_s"] += seconds
        progress["update"] += 1
        progress["in_epoch"] += 1
        tell("step", update=progress["update"], loss=sums["audio"] / max(1.0, sums["audio_of"]), seconds=seconds)

    def _weight(self, row: Row) -> float:
        return len(row.codes) + 1 + self.tuning.text_weight * (len(row.text) + 1)

    def _losses(self, rows: Sequence[Row], part: Sequence[int], prompts: Sequence[Prompt]) -> Losses:
        with torch.no_grad():
            conditions = [self.latents(rows, prompt).detach() for prompt in prompts]
        return next_token_loss(self.gpt, conditions, [rows[n].text for n in part], [rows[n].codes for n in part])

    def _to_training(self) -> None:
        """Dropout for the transformer, none for what reads the prompt."""
        self.gpt.train()
        for name in ("conditioning_encoder", "conditioning_perceiver"):
            if hasattr(self.gpt, name):
                getattr(self.gpt, name).eval()

    def _bad_update(self) -> None:
        self.progress["bad"] += 1
        if self.progress["bad"] >= _BAD_UPDATES:
            raise Trouble(
                "failed",
                f"the gradient was not a number {_BAD_UPDATES} times in a row at update {self.progress['update']}",
                next_step=f"lower the learning rate (now {self.tuning.lr:g}) with --set lr=...",
            )

    @torch.no_grad()
    def assess(self) -> dict[str, float]:
        """Losses on dev a token, one row at a time, each with the same prompt every time.

        `dev_audio`, that of what is heard, chooses; text, which is given when the voice speaks, is only told.
        """
        self.gpt.eval()
        sums = dict.fromkeys(("text", "text_of", "audio", "audio_of"), 0.0)
        for place in range(len(self.dev)):
            _add(sums, self._losses(self.dev, [place], [dev_prompt(self.dev, place, self.tuning)]))
        figures = {"dev_audio": sums["audio"] / sums["audio_of"], "dev_text": sums["text"] / sums["text_of"]}
        return {name: value if math.isfinite(value) else _WORST for name, value in figures.items()}

    def _evaluate(self) -> None:
        """Dev, a row of the log, whether these weights are the best, a checkpoint."""
        progress = self.progress
        figures, sums = self.assess(), progress["sums"]
        row: dict[str, Any] = {"update": progress["update"], "epoch": progress["epoch"]}
        for name, shown in (("audio", "audio"), ("text", "text"), ("norm", "grad_norm")):
            if sums.get(f"{name}_of"):
                row[shown] = round(sums[name] / sums[f"{name}_of"], 6)
        row |= {name: round(value, 6) for name, value in figures.items()}
        if progress["update"]:
            row["audio_h"] = round(progress["audio_s"] / 3600, 6)
        progress["log"].append(row)
        progress["sums"] = {}
        before = progress["best"]
        if before is None or figures["dev_audio"] < before["figure"]:
            with beside(self._best_path(progress["update"])) as part:
                save_file(self._weights(), part)
            progress["best"] = {"update": progress["update"], "figure": figures["dev_audio"]}
            progress["without_gain"] = 0
        else:
            progress["without_gain"] += 1
        progress["finished"] = progress["without_gain"] >= self.tuning.patience
        self._save()
        for path in self.state.glob("best-*.safetensors"):
            if path != self._best_path(progress["best"]["update"]):
                path.unlink()
        tell("evaluated", **row)

    def _best_path(self, update: int) -> Path:
        return self.state / f"best-{update:08d}.safetensors"

    def _weights(self) -> dict[str, Tensor]:
        table = self.gpt.state_dict()
        return {name: table[name].detach().cpu().contiguous().clone() for name in self.names}

    def _load(self, weights: dict[str, Tensor]) -> None:
        if set(weights) != set(self.names):
            raise Trouble("failed", "the checkpoint holds other weights than the model", where=str(self.state))
        self.gpt.load_state_dict(weights, strict=False)

    def _save(self) -> None:
        tensors = {f"weights.{name}": value for name, value in self._weights().items()}
        slots = self.optimiser.state_dict()["state"]
        for number, name in enumerate(self._order):
            for slot in _SLOTS if number in slots else ():
                tensors[f"{slot}.{name}"] = torch.as_tensor(slots[number][slot]).detach().cpu().contiguous().clone()
        save(self.state, tensors, self.progress)
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        found = restore(self.state)
        if found is None:
            return
        tensors, self.progress = found
        self._load(_below(tensors, "weights."))
        slots = {slot: _below(tensors, f"{slot}.") for slot in _SLOTS}
        table = {
            number: {slot: slots[slot][name] for slot in _SLOTS}
            for number, name in enumerate(self._order)
            if name in slots["step"]
        }
        self.optimiser.load_state_dict({"state": table, "param_groups": self.optimiser.state_dict()["param_groups"]})


def _add(sums: dict[str, float], found: Losses) -> None:
    sums["text"] += float(found.text_sum.detach())
    sums["text_of"] += found.text_count
    sums["audio"] += float(found.audio_sum.detach())
    sums["audio_of"] += found.audio_count


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
