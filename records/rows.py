"""Row numbers in a short text: a bit for each row, deflated. A million rows are some 170 kilobytes at the most."""

import base64
import zlib
from collections.abc import Iterable


def packed(rows: Iterable[int]) -> str:
    """Rows of a batch, each once, as text."""
    wanted = set(rows)
    bits = bytearray(max(wanted, default=0) // 8 + 1)
    for row in wanted:
        bits[row // 8] |= 1 << row % 8
    return base64.b64encode(zlib.compress(bits, 9)).decode("ascii")


def unpacked(text: str) -> tuple[int, ...]:
    """The rows that `packed` was given, sorted. Raises `ValueError` for what it did not write."""
    try:
        bits = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return tuple(8 * place + bit for place, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1)
