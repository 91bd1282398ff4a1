"""Compressed bodies, unpacked a piece at a time under a limit: what comes out is counted before more is unpacked."""

import zlib
from collections.abc import Iterable

ACCEPTED = "gzip, deflate"
PIECE_BYTES = 65_536
# What an honest server's text is packed to at most; zlib itself gets to about 1:1030.
RATIO = 200
RATIO_FROM_BYTES = 1 << 20
GZIP, ZLIB, RAW = 31, 15, -15


class TooLarge(Exception):
    """More than the limit, packed or unpacked, or so much out of so little that it is a bomb."""


class Undecodable(Exception):
    """The message is a sentence about the answer."""


def body(chunks: Iterable[bytes], encoding: str, limit_bytes: int) -> bytes:
    """Raises TooLarge or Undecodable."""
    match encoding.strip().lower():
        case "" | "identity":
            return _plain(chunks, limit_bytes)
        case "gzip" | "x-gzip":
            return _unpacked(chunks, GZIP, limit_bytes)
        case "deflate":
            return _unpacked(chunks, ZLIB, limit_bytes)
    raise Undecodable(f"The answer is packed as {encoding[:40]!r}, which it was not asked for.")


def _plain(chunks: Iterable[bytes], limit_bytes: int) -> bytes:
    read = bytearray()
    for chunk in chunks:
        read += chunk
        if len(read) > limit_bytes:
            raise TooLarge
    return bytes(read)


def _unpacked(chunks: Iterable[bytes], window: int, limit_bytes: int) -> bytes:
    """Packed bytes count too: a stream of empty blocks unpacks to nothing for ever."""
    packed, out = 0, bytearray()
    stream = None
    try:
        for chunk in chunks:
            if not chunk:
                continue
            packed += len(chunk)
            if packed > limit_bytes + PIECE_BYTES:
                raise TooLarge
            if stream is None:
                stream = zlib.decompressobj(_window(window, chunk))
            while chunk and not stream.eof:
                out += stream.decompress(chunk, PIECE_BYTES)
                chunk = stream.unconsumed_tail
                if len(out) > limit_bytes or (len(out) > RATIO_FROM_BYTES and len(out) > RATIO * packed):
                    raise TooLarge
            if stream.eof and (stream.unused_data or chunk):
                raise Undecodable("The answer goes on after its packed part has ended.")
    except zlib.error:
        raise Undecodable("The answer is not packed as it says.") from None
    if stream is not None and not stream.eof:
        raise Undecodable("The answer's packed part has no end.")
    return bytes(out)


def _window(window: int, chunk: bytes) -> int:
    """Some servers send deflate without the header that it should have."""
    return RAW if window == ZLIB and chunk[0] & 0x0F != 8 else window
