"""Sound in and out: any format, rate and number of channels to 16 kHz mono float32, or a reason why not.

The only user of soundfile (libsndfile) and soxr. What libsndfile cannot read (m4a, aac, webm, amr) goes through the
ffmpeg program where there is one.

Example::

    samples = decode(Path("clip.mp3"))        # checked: AudioError(reason="audio-silent") and the like
    save_flac(Path("clip.flac"), samples)
    again = load("clip.flac", start_s=0.5, duration_s=1.0)
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from orature.core.errors import AudioError
from orature.core.types import RATE_HZ
from orature.data.containers import FFMPEG_ONLY, container, missing_bytes, mp3_with_length
from orature.data.ogg import with_serial
from orature.data.tarspan import tar_span

Samples = npt.NDArray[np.float32]

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au"),
    *(".m4a", ".mp4", ".aac", ".webm", ".mka", ".amr", ".wma", ".3gp"),
)
"""File names that a reader takes for sound; the decoder itself looks at the bytes, not at the name."""
_BLOCK_FRAMES = 1 << 20
_MAX_CHANNELS = 64
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 768_000
_OVERSCALED = 4.0
_HUSH = threading.Lock()
_MP3_SLACK = 3 * 1152
"""Frames of encoder delay and padding by which an MP3 may fall short of what its header counts."""
_MP3_DELAY = 576 + 529
"""Frames by which LAME and every MP3 decoder together are late."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording must keep to: seconds, and a peak above `silence_dbfs` (decibels below full scale)."""

    min_seconds: float = 0.05
    max_seconds: float = 3600.0
    silence_dbfs: float = -60.0


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a file that is wanted: seconds, and one channel (None: the mean of all)."""

    start_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None


_WHOLE = Segment()
_LIMITS = Limits()


def load(path: str | Path, start_s: float = 0.0, duration_s: float | None = None) -> Samples:
    """Samples of a corpus file, or of a file inside a tar (see `TarSpan`), float32 mono 16 kHz, shape (samples,).

    AudioError where it cannot be read.
    """
    span = tar_span(path)
    data = None if span is None else span.read()
    try:
        with soundfile.SoundFile(path if data is None else io.BytesIO(data)) as stream:
            if stream.samplerate == RATE_HZ and stream.channels == 1:
                first = round(start_s * RATE_HZ)
                if first:
                    stream.seek(min(first, stream.frames))
                wanted = -1 if duration_s is None else round(duration_s * RATE_HZ)
                samples: Samples = stream.read(wanted, dtype="float32")
                return samples
    except (soundfile.SoundFileError, OSError, ValueError):
        pass  # `decode` finds out what is wrong and says so
    permissive = Limits(min_seconds=0.0, max_seconds=float("inf"), silence_dbfs=-1000.0)
    return decode(
        Path(path) if data is None else data, str(path), segment=Segment(start_s, duration_s), limits=permissive
    )


def decode(data: bytes | Path, name: str = "", *, segment: Segment = _WHOLE, limits: Limits = _LIMITS) -> Samples:
    """Any recording to 16 kHz mono float32 in [-1, 1], shape (samples,).

    AudioError with one of these reasons: audio-missing, audio-empty, audio-truncated, audio-unreadable, audio-nan,
    audio-overscaled (float samples far outside -1..1), audio-silent, audio-too-short, audio-too-long.
    """
    name = name or (str(data) if isinstance(data, Path) else "recording")
    span = tar_span(data) if isinstance(data, Path) else None
    data = data if span is None else span.read()
    head = _head(data, name)
    kind = container(head)
    if kind in FFMPEG_ONLY:
        samples = _by_ffmpeg(data, name, kind, segment, limits)
    else:
        samples = _by_libsndfile(data, name, kind, segment, limits)
    seconds = len(samples) / RATE_HZ
    if not len(samples):
        raise _trouble("audio-empty", "the recording holds no samples", name)
    if seconds < limits.min_seconds:
        raise _trouble("audio-too-short", f"{seconds:.3f} s is less than {limits.min_seconds:g} s", name)
    peak = float(np.abs(samples).max())
    if peak <= 10 ** (limits.silence_dbfs / 20):
        raise _trouble("audio-silent", f"nothing in it is louder than {limits.silence_dbfs:g} dBFS", name)
    return np.clip(samples, -1.0, 1.0, out=samples)


def _trouble(reason: str, what: str, name: str, next_step: str = "") -> AudioError:
    return AudioError(what, where=name, next_step=next_step or "record it again, or leave it out", reason=reason)


def _head(data: bytes | Path, name: str) -> bytes:
    if isinstance(data, bytes):
        head = data[:16]
    else:
        try:
            with data.open("rb") as stream:
                head = stream.read(16)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _trouble("audio-missing", "there is no such file", name, "check its name and folder") from error
        except (OSError, ValueError) as error:
            raise _trouble("audio-unreadable", f"the file cannot be opened ({error})", name) from error
    if not head:
        raise _trouble("audio-empty", "the file has no bytes", name)
    return head


def _by_libsndfile(data: bytes | Path, name: str, kind: str, segment: Segment, limits: Limits) -> Samples:
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as stream:
        lost = missing_bytes(stream)
        if lost:
            raise _trouble("audio-truncated", f"its header promises {lost} bytes more than the file has", name)
        stream.seek(0)
        is_mp3 = kind == "mp3"
        sounding = io.BytesIO(mp3_with_length(stream.read())) if is_mp3 else stream
        try:
            with _hushed() if is_mp3 else nullcontext(), soundfile.SoundFile(sounding) as sound:
                return _read_blocks(sound, name, segment, limits)
        except soundfile.SoundFileError as error:
            why = str(error).split(": ", 1)[-1]
            why = "no format that it knows, or damaged at the beginning" if "does not exist" in why else why
            raise _trouble("audio-unreadable", f"the decoder gives up: {why}", name) from error
        except (ValueError, RuntimeError) as error:
            raise _trouble("audio-unreadable", f"the decoder gives up: {error}", name) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Keeps libmpg123 from writing its remarks on damaged frames to standard error; the reason is told by us."""
    with _HUSH:
        try:
            kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        except OSError:  # no standard error at all, or no handle left
            yield
            return
        try:
            sys.stderr.flush()
            os.dup2(sink, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)


def _read_blocks(sound: Any, name: str, segment: Segment, limits: Limits) -> Samples:
    """Reads, mixes down and resamples block by block, so that an hour in stereo does not lie in memory twice."""
    rate_hz, channels = sound.samplerate, sound.channels
    if channels > _MAX_CHANNELS or not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise _trouble("audio-unreadable", f"{channels} channels at {rate_hz} Hz are no speech recording", name)
    if segment.channel is not None and segment.channel >= channels:
        raise _trouble("audio-unreadable", f"channel {segment.channel} is asked for, it has {channels}", name)
    wanted = _wanted_frames(sound, name, segment, limits)
    resampler = None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="HQ")
    parts: list[Samples] = []
    got, peak = 0, 0.0
    limit = limits.max_seconds * rate_hz
    while wanted is None or got < wanted:
        try:
            block = sound.read(_BLOCK_FRAMES if wanted is None else min(_BLOCK_FRAMES, wanted - got), dtype="float32")
        except soundfile.SoundFileError as error:
            promised = f" of {wanted} samples" if wanted is not None else ""
            what = f"the decoder stops before the end{promised}: the file is cut off or damaged"
            raise _trouble("audio-truncated", what, name) from error
        if not len(block):
            break
        got += len(block)
        if got > limit:
            raise _trouble("audio-too-long", f"it is longer than {limits.max_seconds:g} s", name)
        mono = block if block.ndim == 1 else _mix(block, segment.channel)
        if not np.isfinite(mono).all():
            raise _trouble("audio-nan", "samples are not numbers (NaN or infinite)", name)
        peak = max(peak, float(np.abs(mono).max()))
        parts.append(mono if resampler is None else resampler.resample_chunk(mono))
    if wanted is not None and got + (_MP3_SLACK if sound.format == "MP3" else 0) < wanted:
        raise _trouble("audio-truncated", f"{wanted} samples are promised, {got} are there", name)
    if peak > _OVERSCALED:
        raise _trouble("audio-overscaled", f"float samples reach {peak:.4g} instead of 1", name, "divide them by 32768")
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mix(block: Samples, channel: int | None) -> Samples:
    mixed: Samples = (
        block.mean(axis=1, dtype=np.float32) if channel is None else np.ascontiguousarray(block[:, channel])
    )
    return mixed


def _wanted_frames(sound: Any, name: str, segment: Segment, limits: Limits) -> int | None:
    """Frames to read from here on, after the seek to the segment's start; None where the file does not say."""
    rate_hz: int = sound.samplerate
    total: int | None = sound.frames if 0 < sound.frames < 1 << 60 else None
    first = round(segment.start_s * rate_hz)
    wanted = None if total is None else total - first
    if segment.duration_s is not None:
        wanted = round(segment.duration_s * rate_hz)
        slack = rate_hz // 20
        if total is not None and first + wanted > total + slack:
            ends, has = segment.start_s + segment.duration_s, total / rate_hz
            raise _trouble("audio-truncated", f"the segment ends at {ends:.2f} s, the recording at {has:.2f} s", name)
        wanted = wanted if total is None else max(0, min(wanted, total - first))
    if wanted is not None and wanted > limits.max_seconds * rate_hz:
        seconds = wanted / rate_hz
        raise _trouble("audio-too-long", f"{seconds:.0f} s is more than {limits.max_seconds:g} s", name)
    if first:
        sound.seek(first)
    return wanted


def _by_ffmpeg(data: bytes | Path, name: str, kind: str, segment: Segment, limits: Limits) -> Samples:
    program = shutil.which("ffmpeg")
    if program is None:
        raise _trouble(
            "audio-unreadable",
            f"{kind} sound needs the ffmpeg program, which is not on the PATH",
            name,
            "install ffmpeg",
        )
    if isinstance(data, bytes):
        with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
            file.write(data)
            file.flush()
            return _by_ffmpeg(Path(file.name), name, kind, segment, limits)
    most = min(limits.max_seconds + 1, 7 * 24 * 3600) if segment.duration_s is None else segment.duration_s
    pan = [] if segment.channel is None else ["-af", f"pan=mono|c0=c{segment.channel}"]
    command = [
        program,
        "-v",
        "error",
        "-nostdin",
        "-protocol_whitelist",
        "file",
        "-xerror",
        "-ss",
        f"{segment.start_s:.6f}",
    ]
    command += ["-i", f"file:{data}", "-t", f"{most:.6f}", "-vn", *pan]
    command += ["-ac", "1", "-ar", str(RATE_HZ), "-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _trouble("audio-unreadable", f"ffmpeg did not finish ({error.__class__.__name__})", name) from error
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no word why"]
        raise _trouble("audio-unreadable", f"ffmpeg gives up: {why[-1][:200]}", name)
    samples = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], dtype="<f4").astype(np.float32)
    if len(samples) > limits.max_seconds * RATE_HZ:
        raise _trouble("audio-too-long", f"it is longer than {limits.max_seconds:g} s", name)
    if not np.isfinite(samples).all():
        raise _trouble("audio-nan", "samples are not numbers (NaN or infinite)", name)
    return samples


def to_int16(samples: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """16-bit samples as they are stored and digested: rounded, clipped, no dither (so the same each time).

    Samples that have 16 bits already come back as they are.
    """
    if samples.dtype == np.int16:
        return samples
    whole: npt.NDArray[np.int16] = np.clip(np.rint(np.asarray(samples, np.float32) * 32768.0), -32768, 32767).astype(
        np.int16
    )
    return whole


def save_flac(path: str | Path, samples: npt.NDArray[Any], *, rate_hz: int = RATE_HZ) -> None:
    """Writes float samples, shape (samples,), as mono 16-bit FLAC, at 16 kHz unless an engine wants another rate."""
    soundfile.write(str(path), to_int16(samples), rate_hz, format="FLAC", subtype="PCM_16")


def encode(samples: npt.NDArray[Any], kind: str) -> bytes:
    """Samples, shape (samples,), as a "flac" (16 bits, lossless) or "opus" file; equal samples give equal bytes."""
    memory = io.BytesIO()
    if kind == "flac":
        soundfile.write(memory, to_int16(samples), RATE_HZ, format="FLAC", subtype="PCM_16")
        return memory.getvalue()
    soundfile.write(memory, np.clip(samples, -1.0, 1.0), RATE_HZ, format="OGG", subtype="OPUS")
    return with_serial(memory.getvalue(), 1)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """Samples of any rate at 16 kHz, shape (samples,)."""
    if rate_hz == RATE_HZ:
        return samples
    return np.ascontiguousarray(soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ"), dtype=np.float32)


def at_rate(samples: Samples, rate_hz: int) -> Samples:
    """Samples at 16 kHz at another rate, shape (samples,): for voices that were trained at one."""
    if rate_hz == RATE_HZ:
        return samples
    return np.ascontiguousarray(soxr.resample(samples, RATE_HZ, rate_hz, quality="HQ"), dtype=np.float32)


def audio_digest(samples: npt.NDArray[Any]) -> str:
    """SHA-256 (hex) of the 16-bit samples: the same for the float samples and for what `load` reads back."""
    return hashlib.sha256(to_int16(samples).astype("<i2", copy=False).tobytes()).hexdigest()


def quality(samples: Samples) -> dict[str, float]:
    """Cheap facts for the doctor: loudness and peak in dBFS, and the share of samples at full scale."""
    magnitude = np.abs(samples)
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    peak = float(magnitude.max()) if len(samples) else 0.0
    return {
        "rms_dbfs": round(20 * float(np.log10(max(rms, 1e-6))), 1),
        "peak_dbfs": round(20 * float(np.log10(max(peak, 1e-6))), 1),
        "clipped_share": round(float(np.mean(magnitude >= 0.999)), 6) if len(samples) else 0.0,
    }


def change_speed(samples: Samples, factor: float) -> Samples:
    """Plays `samples` `factor` times as fast (pitch moves along), as in Ko et al. 2015, "Audio augmentation"."""
    resampled = soxr.resample(samples, RATE_HZ * factor, RATE_HZ, quality="LQ")
    return np.ascontiguousarray(resampled, dtype=np.float32)


def played(samples: Samples, rate_hz: int, factor: float) -> Samples:
    """Samples of any rate at 16 kHz, played `factor` times as fast, shape (samples,): one pass, for training audio."""
    done = soxr.resample(samples, rate_hz * factor, RATE_HZ, quality="LQ")
    return np.ascontiguousarray(done, dtype=np.float32)


def through_codec(
    samples: Samples, kind: str, coding: str, *, rate_hz: int = RATE_HZ, level: float | None = None
) -> Samples:
    """Samples coded and decoded again in memory, as many as came in and at the same place in time.

    `kind` and `coding` are container and coding of libsndfile ("OGG" with "VORBIS" or "OPUS", "MP3" with
    "MPEG_LAYER_III", "WAV" with "ULAW" or "GSM610"), `rate_hz` the rate at which the codec works, `level` its
    compression from 0 to 1 (most). The same samples always come back the same.
    """
    given = samples if rate_hz == RATE_HZ else _resampled(samples, RATE_HZ, rate_hz)
    memory = io.BytesIO()
    how: dict[str, Any] = {} if level is None else {"compression_level": level}
    if kind == "MP3":
        how["bitrate_mode"] = "CONSTANT"
    soundfile.write(memory, np.clip(given, -1.0, 1.0), rate_hz, format=kind, subtype=coding, **how)
    memory.seek(0)
    decoded = soundfile.read(memory, dtype="float32")[0]
    if kind == "MP3" and len(decoded) > len(given):  # frames too small for the tag that tells the decoder of its delay
        decoded = decoded[_MP3_DELAY:]
    again = decoded if rate_hz == RATE_HZ else _resampled(decoded, rate_hz, RATE_HZ)
    kept = np.zeros(len(samples), np.float32)
    kept[: len(again)] = again[: len(kept)]
    return kept


def _resampled(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    return np.ascontiguousarray(soxr.resample(samples, from_hz, to_hz, quality="MQ"), dtype=np.float32)
