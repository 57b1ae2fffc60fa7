"""Frames on a byte stream: a big-endian u32 length, then as many bytes.

An empty frame is a heartbeat and carries nothing.
"""

from collections.abc import Iterable
from typing import Final

LENGTH_BYTES: Final = 4
HEARTBEAT: Final = bytes(LENGTH_BYTES)


class FrameTooLong(ValueError):
    """The peer announced a frame longer than any message of the committee."""


def pack(frames: Iterable[bytes]) -> bytes:
    """Return the wire form of the frames, one after the other."""
    parts: list[bytes] = []
    for frame in frames:
        parts.append(len(frame).to_bytes(LENGTH_BYTES, "big"))
        parts.append(frame)
    return b"".join(parts)


class FrameReader:
    """Cuts a byte stream into frames; never holds more than one frame and one chunk."""

    __slots__ = ("_buffer", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int) -> None:
        self._buffer = bytearray()
        self._frame_bytes_max = frame_bytes_max

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the frames that the chunk completes; raise `FrameTooLong` at the first long one.

        The length is checked as soon as it is there, before a byte of the frame is kept for it.
        """
        buffer = self._buffer
        buffer += chunk
        frames: list[bytes] = []
        start = 0
        available = len(buffer)
        while available - start >= LENGTH_BYTES:
            body = start + LENGTH_BYTES
            length = int.from_bytes(buffer[start:body], "big")
            if length > self._frame_bytes_max:
                raise FrameTooLong(
                    f"announces a frame of {length} bytes; it may have {self._frame_bytes_max}"
                )
            if available - body < length:
                break
            frames.append(bytes(buffer[body : body + length]))
            start = body + length
        if start:
            del buffer[:start]
        return frames
