"""What the first bytes of a sound file say: its container, and whether its headers promise more than is there.

libsndfile reads a cut-off wav, Ogg, AIFF or AU file without a word, so the promise is checked here. FLAC and MP3
promise a number of samples as well, which the decoder compares (`data/audio.py`).

Example::

    with open("a.wav", "rb") as stream:
        print(container(stream.read(16)), missing_bytes(stream))
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

FFMPEG_ONLY = ("mp4", "matroska", "aac", "amr", "asf")
"""Containers that libsndfile cannot read; they go through the ffmpeg program where there is one."""
_STREAMED = 0x7FFF0000
_V1_LAYER3_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_LAYER3_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_V1_RATES_HZ = (44_100, 48_000, 32_000)
_MAX_CHUNKS = 10_000


def container(head: bytes) -> str:
    """wav, flac, ogg, mp3, aiff, au, mp4, matroska, aac, amr, asf, or "" when unknown, from the first 16 bytes."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    for magic, name in (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b".snd", "au"),
        (b"FORM", "aiff"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"#!AMR", "amr"),
        (b"\x30\x26\xb2\x75", "asf"),
    ):
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "mp4"
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "mp3"
    return ""


def missing_bytes(stream: BinaryIO) -> int:
    """How many bytes the headers promise beyond the end of the file (0: none, or a container that promises none)."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    kind = container(head)
    if kind == "wav" and head[:4] == b"RIFF":
        return _missing_in_wav(stream, size)
    if kind == "ogg":
        return _missing_in_ogg(stream, size)
    if kind == "mp3":
        return _missing_in_mp3(stream, size)
    if kind == "aiff" and len(head) >= 8:
        return max(0, int.from_bytes(head[4:8], "big") + 8 - size)
    if kind == "au" and len(head) >= 12:
        offset, length = struct.unpack(">II", head[4:12])
        return int(max(0, offset + (0 if length >= _STREAMED else length) - size))
    return 0


def _after_id3(head: bytes) -> int:
    """Where the sound begins behind an ID3v2 tag."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _missing_in_mp3(stream: BinaryIO, size: int) -> int:
    """The byte count in the Xing/Info header (LAME tag specification); short by a hundredth is let pass."""
    stream.seek(0)
    start = _after_id3(stream.read(10))
    stream.seek(start)
    frame = stream.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return 0
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if not flags & 2:
        return 0
    field = at + 8 + (4 if flags & 1 else 0)
    missing = int.from_bytes(frame[field : field + 4], "big") - (size - start)
    return missing if missing * 100 > size else 0


def mp3_with_length(data: bytes) -> bytes:
    """An MP3 that states its length: where no Xing, Info or VBRI header does, one that counts the frames is put before.

    libsndfile otherwise guesses the length from the bit rate of the first frame and drops the rest of the recording.
    Frame sizes are those of ISO/IEC 11172-3 and 13818-3, layer III.
    """
    at = _after_id3(data[:10])
    head = data[at : at + 64]
    if any(mark in head for mark in (b"Xing", b"Info", b"VBRI")):
        return data
    first, count, sure = b"", 0, False
    while 0 <= at < len(data) - 4:
        length = _mp3_frame_bytes(data[at : at + 4])
        # out of step, two headers in a row are asked for: one alone may be sound that looks like it
        if length and (sure or _mp3_frame_bytes(data[at + length : at + length + 4])):
            first = first or data[at : at + 4]
            count += 1
            at += length
            sure = True
        else:
            at = data.find(b"\xff", at + 1)
            sure = False
    if not count:
        return data
    # the same kind of frame at the highest bit rate (so that there is room) and without checksum or padding
    header = bytes((0xFF, first[1] | 1, 0xE0 | (first[2] & 0x0C), first[3]))
    mono, old = first[3] >> 6 == 3, first[1] & 8 == 0
    side = (9 if mono else 17) if old else (17 if mono else 32)
    body = header + bytes(side) + b"Xing" + struct.pack(">II", 1, count)
    return body.ljust(_mp3_frame_bytes(header), b"\0") + data


def _mp3_frame_bytes(header: bytes) -> int:
    """Size of the layer III frame with this 4-byte header, 0 where it is none."""
    if len(header) < 4 or header[0] != 0xFF:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate, kbps = header[2] >> 2 & 3, header[2] >> 4
    if header[1] < 0xE0 or version == 1 or layer != 1 or rate == 3 or kbps in (0, 15):
        return 0
    rate_hz = _V1_RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits = (144 * _V1_LAYER3_KBPS[kbps] if version == 3 else 72 * _V2_LAYER3_KBPS[kbps]) * 1000
    return bits // rate_hz + (header[2] >> 1 & 1)


def _missing_in_wav(stream: BinaryIO, size: int) -> int:
    """Walks the chunks to `data` (RIFF, 1991); a length of 0, or of 2^31 and near it, means: written to a pipe."""
    at = 12
    for _ in range(_MAX_CHUNKS):
        stream.seek(at)
        header = stream.read(8)
        if len(header) < 8:
            return 8 - len(header) if header else 0
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            promised = 0 if length >= _STREAMED else length
            return int(max(0, at + 8 + promised - size))
        at += 8 + length + (length & 1)
        if at > size:
            return int(at - size)
    return 0


def _missing_in_ogg(stream: BinaryIO, size: int) -> int:
    """Walks the pages (RFC 3533, section 6): a page's segment table says how long its body is."""
    at = 0
    while at < size:
        stream.seek(at)
        header = stream.read(27)
        if len(header) < 27:
            return 27 - len(header)
        if header[:4] != b"OggS":
            return 0
        table = stream.read(header[26])
        at += 27 + header[26] + sum(table)
        if len(table) < header[26] or at > size:
            return max(1, at - size)
    return 0
