"""The table of fine-tuning recipes: every published row is there and equal, and every row makes a valid config."""

from __future__ import annotations

from typing import Any

import pytest

from orature.core.errors import ConfigError
from orature.train.augment_config import AugmentConfig
from orature.train.config import TrainConfig
from orature.train.presets import Preset, Scale, preset_for, preset_named, presets

# Labelled speech, updates, learning rate, share of time masks, share of channel masks (fairseq, wav2vec 2.0 / XLS-R).
FAIRSEQ = [
    (1 / 6, 13_000, 1e-4, 0.65, 0.25),
    (1.0, 13_000, 3e-4, 0.75, 0.25),
    (10.0, 20_000, 1e-4, 0.75, 0.25),
    (100.0, 80_000, 3e-5, 0.50, 0.50),
]
# Name, settings as published for a run (those that are this toolkit's fields too).
PRACTICE: list[tuple[str, dict[str, Any]]] = [
    ("xls-r-babel", {"updates": 26_000}),
    ("xls-r-common-voice", {"updates": 13_000}),
    ("xls-r-voxpopuli", {"updates": 50_000}),
    ("xls-r-mls-10h", {"updates": 20_000}),
    ("xlsr-53-turkish", {"epochs": 15, "peak_lr": 3e-4, "freeze": ("features",)}),
    ("xls-r-300m-turkish", {"updates": 5_000, "peak_lr": 5e-4, "warmup_share": 0.1}),
    ("mms-adapters", {"epochs": 4, "peak_lr": 1e-3, "train_only": "adapters", "least_updates": 400}),
    ("w2v-bert-14h", {"peak_lr": 5e-5, "freeze": ()}),
    ("whisper-10h", {"updates": 5_000, "peak_lr": 1e-5, "warmup_share": 0.1}),
    ("omnilingual-ctc", {"updates": 5_000, "peak_lr": 1e-5}),
    ("omnilingual-ssl", {"updates": 30_000, "peak_lr": 1e-5}),
    ("speech2text-from-nothing", {"updates": 60_000, "peak_lr": 2e-3, "label_smoothing": 0.1, "clip_norm": 10}),
    ("speech2text-translation", {"updates": 30_000, "freeze_encoder_updates": 1_000}),
    ("transformer-multilingual", {"updates": 500_000, "lid_weight": 1.0, "update_seconds": 3_200}),
    ("transformer-per-language", {"updates": 10_000}),
]
AUGMENTED: list[tuple[str, dict[str, Any]]] = [
    ("xls-r-2b-common-voice", {"time_mask_p": 0.3}),
    ("xls-r-300m-turkish", {"time_mask_p": 0.3, "time_mask_length": 20, "channel_mask_p": 0.1}),
    ("parakeet-10h", {"time_masks": 10, "time_mask_share": 0.05, "mel_masks": 2, "mel_mask_bins": 27}),
    ("transformer-10h", {"time_masks": 20, "time_mask_frames": 25, "time_mask_share": 0.1, "masks_from_update": 5000}),
    ("transformer-100h", {"time_masks": 10, "time_mask_frames": 50, "mel_masks": 2, "mel_mask_bins": 30}),
    ("transformer-multilingual", {"time_masks": 2}),
]
FAMILIES = (
    *("wav2vec2", "hubert", "wavlm", "wav2vec2-conformer", "mms", "wav2vec2-bert", "whisper", "parakeet-ctc"),
    *("conformer", "transformer", "speech2text", "moonshine"),
)


@pytest.mark.parametrize(("hours", "updates", "lr", "time_p", "channel_p"), FAIRSEQ)
@pytest.mark.parametrize("family", ["wav2vec2", "xls-r", "hubert", "wavlm"])
def test_the_table_of_fairseq(
    family: str, hours: float, updates: int, lr: float, time_p: float, channel_p: float
) -> None:
    preset = preset_for(family, hours)
    assert preset.published["updates"] == preset.updates == updates
    assert preset.published["peak_lr"] == preset.peak_lr == lr
    assert (preset.augment["time_mask_p"], preset.augment["channel_mask_p"]) == (time_p, channel_p)
    assert preset.augment["channel_mask_length"] == 64
    assert preset.augment["time_mask_length"] == 20, "ten steps of 20 ms are twenty frames"
    assert preset.betas == (0.9, 0.98) and preset.update_seconds == 1600
    assert preset.schedule == "tri-stage" and (preset.warmup_share, preset.hold_share) == (0.1, 0.4)
    assert preset.final_lr_share == 0.05
    assert preset.model_overrides["layerdrop"] == preset.model_overrides["activation_dropout"] == 0.1
    assert preset.freeze == ("features",) and preset.freeze_encoder_updates == 10_000


@pytest.mark.parametrize(("name", "fields"), PRACTICE)
def test_published_practice(name: str, fields: dict[str, Any]) -> None:
    preset = preset_named(name)
    assert {field: getattr(preset, field) for field in fields} == fields


@pytest.mark.parametrize(("name", "fields"), AUGMENTED)
def test_published_masks(name: str, fields: dict[str, Any]) -> None:
    augment = AugmentConfig(**preset_named(name).augment)
    assert {field: getattr(augment, field) for field in fields} == fields


def test_traps_of_single_families() -> None:
    assert preset_named("w2v-bert-14h").published["add_adapter"] is True
    assert "add_adapter" not in preset_for("w2v-bert", 5).model_overrides, "the family knows when: not with an old head"
    assert not any(preset_named("mms-adapters").model_overrides.values())
    assert preset_for("parakeet_ctc", 5).model_overrides["layerdrop"] == 0.0
    assert preset_named("xls-r-common-voice").published["lr_searched"] == [2e-5, 3e-4]
    assert preset_named("xls-r-2b-common-voice").published["lr_searched"] == [3e-6, 3e-5]
    for name in ("xls-r-common-voice", "xls-r-2b-common-voice"):
        low, high = preset_named(name).published["lr_searched"]
        assert low <= preset_named(name).peak_lr <= high


@pytest.mark.parametrize(
    "model_type",
    [
        "wav2vec2",
        "hubert",
        "wavlm",
        "wav2vec2-conformer",
        "unispeech",
        "unispeech-sat",
        "data2vec-audio",
        "wav2vec2-bert",
        "whisper",
        "moonshine",
        "speech_to_text",
        "parakeet_encoder",
    ],
)
def test_overrides_are_fields_of_the_family(model_type: str) -> None:
    from transformers import AutoConfig

    known = AutoConfig.for_model(model_type).to_dict()
    family = {"speech_to_text": "speech2text", "parakeet_encoder": "parakeet-ctc"}.get(model_type, model_type)
    rows = [row for row in presets() if family in row.families]
    assert rows and all(row.model_overrides.keys() <= known.keys() for row in rows)


@pytest.mark.parametrize("scale", ["smoke", "dev", "full"])
@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_row_makes_a_config(preset: Preset, scale: Scale) -> None:
    fields = preset.overrides(scale)
    config = TrainConfig.model_validate(TrainConfig().model_dump() | fields)
    assert config.model_overrides == preset.model_overrides and config.freeze == preset.freeze
    assert config.augment.time_mask_p == preset.augment.get("time_mask_p", 0.0)
    assert preset.source and preset.judgement.startswith("Ours")
    assert 0 < config.freeze_encoder_updates < config.updates or preset.freeze_encoder_updates == 0
    assert config.warmup_share + (config.hold_share if config.schedule == "tri-stage" else 0) < 1
    seconds = config.batch_seconds * config.accumulate
    if scale == "full":
        assert config.updates == preset.updates_for(preset.hours) and seconds == pytest.approx(preset.update_seconds)
    else:
        most_s = {"smoke": 8_000, "dev": 160_000}[scale]
        assert config.updates * seconds <= most_s and seconds <= 80 and config.precision == "fp32"
    assert config.peak_lr == preset.peak_lr
    assert config.updates / config.evaluate_every < config.patience, "a falling learning rate must reach its end"


def test_scaling_down_keeps_the_shape_of_the_run() -> None:
    full, dev = (preset_for("wav2vec2", 1).overrides(scale) for scale in ("full", "dev"))
    assert (full["updates"], full["freeze_encoder_updates"]) == (13_000, 10_000)
    assert (full["accumulate"], full["batch_seconds"]) == (20, 80.0)
    assert (dev["updates"], dev["freeze_encoder_updates"]) == (2_000, 1_538)
    assert preset_for("transformer", 10).overrides("dev")["augment"]["masks_from_update"] == 500
    assert preset_for("transformer", 10).augment["masks_from_update"] == 5000, "the row itself stays"


def test_epochs_become_updates_of_the_hours_at_hand() -> None:
    mms = preset_for("mms", 4)
    assert mms.overrides(hours=0.2)["updates"] == 400
    assert mms.overrides(hours=9)["updates"] == round(4 * 9 * 3600 / 160)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_rows_and_the_nearest_is_taken(family: str) -> None:
    rows = [row for row in presets() if row.default and family in row.families]
    for hours in (0.05, 1 / 6, 0.7, 1, 3, 10, 40, 100, 5000):
        chosen = preset_for(family, hours)
        ratio = max(chosen.hours / hours, hours / chosen.hours)
        assert all(ratio <= max(row.hours / hours, hours / row.hours) + 1e-9 for row in rows)


def test_hours_are_compared_on_a_log_scale() -> None:
    assert preset_for("wav2vec2", 3.0).name == "wav2vec2-1h"
    assert preset_for("wav2vec2", 3.5).name == "wav2vec2-10h"
    assert preset_for("mms", 9.0).train_only == "adapters"
    assert preset_for("mms", 12.0).train_only == "all"
    assert preset_for("wav2vec2", 0.0).name == "wav2vec2-10m"


def test_unknown_names_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="no fine-tuning recipe") as caught:
        preset_for("jasper", 1)
    assert "wav2vec2" in caught.value.next_step
    with pytest.raises(ConfigError, match="no fine-tuning recipe 'xlsr'"):
        preset_named("xlsr")
    assert "fairseq" in preset_for("wav2vec2", 1).about() and "wav2vec2-1h" in preset_for("wav2vec2", 1).about()
    assert len({row.name for row in presets()}) == len(presets())
