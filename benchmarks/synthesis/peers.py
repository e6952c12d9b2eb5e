"""What a user would do instead: one espeak-ng process a sentence, and a loop in the manner of Speech Back-Translation.

The second follows the published code's synthesis script as described in its repository: sentences sorted by length,
batches of 20 with one speaker each, one writer, wav files in one tar and a CSV; no seed. It uses transformers directly.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 20


Peer = tuple[list[str], dict[str, str]]
"""The command for one sentence (FILE TEXT to be added) and its environment."""
PROGRAM, COMPILED = "espeak-ng", "compiled"


def espeak_peers(folder: Path) -> dict[str, Peer]:
    """The program `espeak-ng` where it is installed, and a small one compiled over the library of the wheel.

    The second leaves out what the first loads for its loudspeakers, and its library is the very one that Orature uses.
    """
    found: dict[str, Peer] = {}
    if program := shutil.which("espeak-ng"):
        found[PROGRAM] = [program, "-v", "sw", "-w"], {}
    if compiler := shutil.which("cc"):
        import espeakng_loader

        library = Path(espeakng_loader.get_library_path())
        made = folder / "oneshot"
        source = Path(__file__).with_name("oneshot.c")
        subprocess.run(
            [compiler, "-O2", str(source), str(library), "-o", str(made), f"-Wl,-rpath,{library.parent}"], check=True
        )
        found[COMPILED] = (
            [str(made)],
            {"ONESHOT_DATA": espeakng_loader.get_data_path(), "ONESHOT_VOICE": "sw"},
        )
    if not found:
        raise SystemExit("neither espeak-ng nor a C compiler is here")
    return found


def one_process_a_sentence(texts: list[str], folder: Path, peer: Peer, at_a_time: int) -> float:
    """Seconds for wav files in `folder`; `at_a_time` processes side by side (xargs -P)."""
    command, place = peer
    lines = "\n".join(f"{folder / str(number)}.wav\n{text}" for number, text in enumerate(texts)) + "\n"
    began = time.perf_counter()
    subprocess.run(
        ["xargs", "-d", "\n", "-n", "2", "-P", str(at_a_time), *command],
        input=lines.encode(),
        env={**os.environ, **place},
        check=True,
    )
    seconds = time.perf_counter() - began
    made = sum(path.stat().st_size > 1000 for path in folder.glob("*.wav"))
    if made != len(texts):
        raise SystemExit(f"{made} of {len(texts)} files were written")
    return seconds


def brought_to_16_khz(folder: Path) -> float:
    """Seconds in which one process turns those wav files into what training takes: 16 kHz mono FLAC."""
    import soundfile
    import soxr

    began = time.perf_counter()
    for path in sorted(folder.glob("*.wav")):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        soundfile.write(path.with_suffix(".flac"), soxr.resample(samples, rate_hz, 16_000), 16_000)
    return time.perf_counter() - began


def speech_bt_loop(model: Path, texts: list[str], folder: Path, threads: int) -> dict[str, Any]:
    """Seconds of the loop (the model is loaded before the clock starts), and what lies where in its output."""
    import torch
    from transformers import AutoTokenizer, VitsModel

    torch.set_num_threads(threads)
    tokenizer, voice = AutoTokenizer.from_pretrained(model), VitsModel.from_pretrained(model).eval()
    speakers = max(1, int(voice.config.num_speakers))
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    rows: list[dict[str, Any]] = []
    began = time.perf_counter()
    with tarfile.open(folder / "speech.tar", "w") as tar, (folder / "speech.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            inputs = tokenizer([texts[number] for number in chosen], padding=True, return_tensors="pt")
            speaker = start // BATCH % speakers
            with torch.inference_mode():
                out = voice(**inputs, speaker_id=speaker if speakers > 1 else None)
            for number, samples, length in zip(chosen, out.waveform, out.sequence_lengths.tolist(), strict=True):
                _add(tar, f"{number}.wav", samples[: int(length)].numpy(), voice.config.sampling_rate)
                writer.writerow([f"{number}.wav", texts[number], "sw"])
                rows.append({"length": len(texts[number]), "speaker": speaker})
    return {"seconds": time.perf_counter() - began, "rows": rows, "bytes": (folder / "speech.tar").read_bytes()}


def _add(tar: tarfile.TarFile, name: str, samples: Any, rate_hz: int) -> None:
    memory = io.BytesIO()
    with wave.open(memory, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    info = tarfile.TarInfo(name)
    info.size = memory.tell()
    memory.seek(0)
    tar.addfile(info, memory)


def order_facts(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How far the place of a row tells its length, and how often a row has the speaker of the row before it."""
    lengths = np.array([row["length"] for row in rows], float)
    places = np.arange(len(rows))
    speakers = [row["speaker"] for row in rows]
    same = float(np.mean([one == other for one, other in pairwise(speakers)])) if len(rows) > 1 else 0.0
    return {
        "length_by_place": round(float(np.corrcoef(places, lengths)[0, 1]) if len(rows) > 2 else 0.0, 3),
        "same_speaker_as_before": round(same, 3),
        "if_drawn_by_chance": round(1 / max(1, len(set(speakers))), 3),
    }


def scratch() -> Any:
    """A folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="synthesis-")
