"""Ogg streams that are the same each time: libsndfile draws the serial number of a stream from the clock.

Example::

    data = with_serial(data, 1)         # the same sound; now equal for equal samples
"""

from __future__ import annotations

import struct
import zlib

from orature.core.errors import AudioError

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL = 0xFFFFFFFF
_SERIAL, _CHECK, _COUNT, _TABLE = 14, 22, 26, 27


def checksum(page: bytes) -> int:
    """The CRC of an Ogg page (RFC 3533, section 6: polynomial 0x04c11db7, nothing reflected, starting at 0).

    zlib's CRC is the same one with every byte and the result mirrored.
    """
    mirrored = zlib.crc32(page.translate(_REVERSED), _ALL) ^ _ALL
    return int(f"{mirrored:032b}"[::-1], 2)


def with_serial(data: bytes, serial: int) -> bytes:
    """The stream with another serial number in every page, checksums made anew; AudioError where it is no Ogg."""
    pages, at = [], 0
    while at < len(data):
        if data[at : at + 4] != b"OggS" or at + _TABLE > len(data):
            raise AudioError("this is no Ogg stream", where=f"byte {at}")
        lengths = data[at + _TABLE : at + _TABLE + data[at + _COUNT]]
        end = at + _TABLE + len(lengths) + sum(lengths)
        page = bytearray(data[at:end])
        page[_SERIAL : _SERIAL + 4] = struct.pack("<I", serial)
        page[_CHECK : _CHECK + 4] = bytes(4)
        page[_CHECK : _CHECK + 4] = struct.pack("<I", checksum(bytes(page)))
        pages.append(bytes(page))
        at = end
    return b"".join(pages)
