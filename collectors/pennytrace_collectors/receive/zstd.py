"""Unpacks Zstandard without letting a small body become a large one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Final

from pennytrace_collectors.errors import Malformed

if sys.version_info < (3, 14):
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

_STEP: Final = 256 * 1024
# 8 MiB, the largest window that RFC 9659 lets a sender of HTTP bodies use: what one body may hold in memory meanwhile.
_OPTIONS: Final[Mapping[int, int]] = {DecompressionParameter.window_log_max: 23}
# Exporters send one. Beginning a frame takes 30 µs, and an empty one has 9 bytes: a body of them would take minutes.
_FRAMES: Final = 64


class Unzstd:
    """Unpacks a Zstandard stream, of one or several frames, piece by piece."""

    def __init__(self) -> None:
        """Start at the beginning of a stream."""
        self._frame = ZstdDecompressor(options=_OPTIONS)
        self._frames = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in pieces of at most 256 KiB, so that the caller can stop at a limit.

        Raises:
            Malformed: It is not Zstandard, needs more memory than HTTP allows it, or has too many frames.
        """
        while data or not (self._frame.eof or self._frame.needs_input):
            if self._frame.eof or not self._frames:
                self._begin_frame()
            try:
                piece = self._frame.decompress(data, _STEP)
            except ZstdError as error:
                raise Malformed(f"the body is not zstd, as its Content-Encoding says ({error})") from None
            if piece:
                yield piece
            data = self._frame.unused_data if self._frame.eof else b""

    def finish(self) -> None:
        """Say that the stream ends here.

        Raises:
            Malformed: The stream is cut off.
        """
        if self._frames and not self._frame.eof:
            raise Malformed("the zstd body is cut off")

    def _begin_frame(self) -> None:
        if self._frames == _FRAMES:
            raise Malformed(f"the zstd body has more than {_FRAMES} frames")
        self._frames += 1
        self._frame = ZstdDecompressor(options=_OPTIONS)
