"""Makes the golden fixtures of the readers: small folders in each format, every one with a broken row.

They are committed; this file says how they came to be and makes them again:

    python tests/golden/make_golden.py
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

HERE = Path(__file__).resolve().parent
CV = HERE / "commonvoice" / "cv-corpus-25.0-2026-03-01" / "que"
CV_HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant"
    "\tlocale\tsegment"
)


def tone(hertz: float, seconds: float = 0.3, rate_hz: int = 16_000, channels: int = 1) -> npt.NDArray[np.float32]:
    """A quiet tone, shape (samples,) or (samples, channels)."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = (0.3 * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


def plain() -> None:
    folder = HERE / "plain"
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "audio" / "a.flac", tone(220), 16_000)
    soundfile.write(folder / "audio" / "b.wav", tone(330, rate_hz=8_000, channels=2), 8_000)
    soundfile.write(folder / "audio" / "c.ogg", tone(440, rate_hz=44_100), 44_100, format="OGG", subtype="VORBIS")
    soundfile.write(folder / "audio" / "d.flac", tone(550), 16_000)
    rows = [
        b"path\tsentence\tspeaker\tlang\tsplit\tseconds\tlicence",
        b'audio/a.flac\tShuk  "punlla\ts1\tque-EC\ttrain\t0.300\tCC BY 4.0',
        "audio/b.wav\tn\u0303awi\ts2\tque-EC\tvalidation\t\tCC BY 4.0".encode(),
        b"audio/c.ogg\tbroken \xff row\ts2\tque-EC\ttest\t\t",
        b"audio/d.flac\t\ts3\t\tunlabelled\t0.3\t",
        b"audio/missing.flac\tkanka\ts3\tque-EC\ttrain\t\t",
    ]
    (folder / "manifest.tsv").write_bytes(b"\n".join(rows) + b"\n")


def cv_row(clip: str, sentence: str, speaker: str) -> str:
    cells = {"client_id": speaker, "path": clip, "sentence": sentence, "locale": "que", "up_votes": "2"}
    return "\t".join(cells.get(name, "") for name in CV_HEADER.split("\t"))


def commonvoice() -> None:
    (CV / "clips").mkdir(parents=True, exist_ok=True)
    said = {n: (f"common_voice_que_{n}.mp3", f"rimay {n}", f"speaker{n % 3}") for n in range(1, 9)}
    said[2] = (said[2][0], '"Kayman shamuychik', said[2][2])
    rows = {n: cv_row(*cells) for n, cells in said.items()}
    tables = {
        "train": [1, 2],
        "dev": [3],
        "test": [4],
        "validated": [1, 2, 3, 4, 5],
        "invalidated": [6],
        "other": [7, 8],
    }
    for name, numbers in tables.items():
        lines = [CV_HEADER, *(rows[n] for n in numbers)]
        if name == "validated":
            lines.append("speaker0\tcommon_voice_que_99.mp3\t\twith\ta\ttab\t\t\t\t\t\t\t\ttoo\tmany")
        (CV / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for n in (1, 2, 3, 4, 5, 6, 7, 42):  # 8 has a row and no clip, 42 a clip and no row
        wave = tone(100 + 40 * n, rate_hz=32_000)
        soundfile.write(
            CV / "clips" / f"common_voice_que_{n}.mp3", wave, 32_000, format="MP3", subtype="MPEG_LAYER_III"
        )
    durations = ["clip\tduration[ms]", *(f"common_voice_que_{n}.mp3\t300" for n in range(1, 9))]
    (CV / "clip_durations.tsv").write_text("\n".join(durations) + "\n", encoding="utf-8")
    (CV / "reported.tsv").write_text("sentence\tsentence_id\tlocale\treason\n", encoding="utf-8")


def _json_lines(path: Path, values: list[Any]) -> None:
    lines = "".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def recording(name: str, seconds: float) -> dict[str, Any]:
    return {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": f"wavs/{name}.wav"}],
        "sampling_rate": 16_000,
        "num_samples": round(16_000 * seconds),
        "duration": seconds,
        "channel_ids": [0],
    }


def said(name: str, start: float, seconds: float, text: str, of: str) -> dict[str, Any]:
    base = {"id": name, "recording_id": of, "start": start, "duration": seconds, "channel": 0}
    return {**base, "text": text, "language": "Quechua", "speaker": "s1"}


def lhotse() -> None:
    for layout in ("cuts", "pair"):
        (HERE / "lhotse" / layout / "wavs").mkdir(parents=True, exist_ok=True)
        wave = np.concatenate([tone(200, 0.5), tone(400, 0.5)])
        soundfile.write(HERE / "lhotse" / layout / "wavs" / "r1.wav", wave, 16_000)
    whole, r1 = recording("r1", 1.0), "r1"
    cut = {"id": "c1", "start": 0.0, "duration": 1.0, "channel": 0, "recording": whole, "type": "MonoCut"}
    two = [said("s1", 0.0, 0.5, "shuk", r1), said("s2", 0.5, 0.5, "ishkay", r1)]
    cuts: list[Any] = [
        {**cut, "supervisions": two},
        {**cut, "id": "c2", "start": 0.25, "duration": 0.5, "supervisions": [said("s3", 0.0, 0.5, "kimsa", r1)]},
        {**cut, "id": "c3", "supervisions": []},
        '{"id": "c4", "start": ',
        {"id": "c5", "tracks": [], "type": "MixedCut"},
    ]
    _json_lines(HERE / "lhotse" / "cuts" / "golden_cuts_train.jsonl.gz", cuts)
    _json_lines(HERE / "lhotse" / "pair" / "golden_recordings_test.jsonl.gz", [whole])
    _json_lines(
        HERE / "lhotse" / "pair" / "golden_supervisions_test.jsonl.gz",
        [*two, said("s9", 0.0, 0.5, "nobody", "r9")],
    )


def bare() -> None:
    folder = HERE / "bare" / "radio"
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "morning.flac", tone(220, 0.5), 16_000)
    soundfile.write(folder / "noon.opus", tone(330, 0.5, 48_000), 48_000, format="OGG", subtype="OPUS")
    (folder / "broken.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVEnot a sound")
    (folder / "notes.txt").write_text("not a recording\n", encoding="utf-8")


if __name__ == "__main__":
    for make in (plain, commonvoice, lhotse, bare):
        make()
