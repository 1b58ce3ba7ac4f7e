"""Unpacks gzip without letting a small body become a large one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from pennytrace_collectors.errors import Malformed

_STEP: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


class Gunzip:
    """Unpacks a gzip stream, of one or several members, piece by piece."""

    def __init__(self) -> None:
        """Start at the beginning of a stream."""
        self._member = zlib.decompressobj(_GZIP)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in pieces of at most 256 KiB, so that the caller can stop at a limit.

        Raises:
            Malformed: It is not gzip.
        """
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._started = True
            try:
                piece = self._member.decompress(data, _STEP)
            except zlib.error as error:
                raise Malformed(f"the body is not gzip, as its Content-Encoding says ({error})") from None
            if piece:
                yield piece
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> None:
        """Say that the stream ends here.

        Raises:
            Malformed: The stream is cut off.
        """
        if self._started and not self._member.eof:
            raise Malformed("the gzip body is cut off")
