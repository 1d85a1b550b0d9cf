"""A compressed body as it comes in -> what it says, in pieces: a few bytes may stand for gigabytes.

However the body is cut, the same bytes come out, and the same error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

_PIECE = 1 << 16  # bytes
_ZSTD_STEP = 1 << 10  # bytes inflated at once: 32 MiB at the worst
_ZSTD_WINDOW = 1 << 23  # RFC 8878 §3.1.1.1.2; a block of 4 bytes inflates to 128 KiB at most (§3.1.1.2.3)


class Inflater(Protocol):
    """One stream."""

    size: int  # bytes inflated; above the limit nothing more is

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What it says, to be taken to the end. Raises ValueError for what is no such stream."""

    @property
    def is_whole(self) -> bool:
        """The stream has ended, and nothing followed it."""


def make_inflater(coding: str, limit: int) -> Inflater | None:
    """By its Content-Encoding: gzip, deflate or zstd; "zlib" takes no other header. None for an unknown one."""
    if coding in ("gzip", "x-gzip", "deflate"):
        return _Zlib(zlib.MAX_WBITS | 32, limit)  # either header
    if coding == "zlib":
        return _Zlib(zlib.MAX_WBITS, limit)
    return _Zstd(limit) if coding == "zstd" else None


class _Zlib:
    def __init__(self, window: int, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._stream = zlib.decompressobj(window)
        self._is_followed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._is_followed |= self._stream.eof and bool(data)
        while not self._stream.eof and self.size <= self._limit:
            room = min(_PIECE, self._limit + 1 - self.size)
            try:
                piece = self._stream.decompress(data, room)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            data = self._stream.unconsumed_tail
            self.size += len(piece)
            if piece:
                yield piece
            if len(piece) < room and not data:
                return

    @property
    def is_whole(self) -> bool:
        return self._stream.eof and not self._stream.unused_data and not self._is_followed


class _Zstd:
    def __init__(self, limit: int) -> None:
        import zstandard  # a megabyte, for those who use it

        self.size = 0
        self._limit = limit
        self._fault = zstandard.ZstdError
        self._stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._is_followed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        for place in range(0, len(data), _ZSTD_STEP):
            if self._stream.eof or self.size > self._limit:
                self._is_followed = True
                return
            try:
                piece = self._stream.decompress(data[place : place + _ZSTD_STEP])
            except self._fault as error:
                raise ValueError(str(error)) from None
            self.size += len(piece)
            if piece:
                yield piece

    @property
    def is_whole(self) -> bool:
        return self._stream.eof and not self._stream.unused_data and not self._is_followed
