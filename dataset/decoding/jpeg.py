"""The segments of a JPEG file, looked at before a decoder does.

Pillow reads what stands before the picture a segment at a time, or a byte at a time where there is none, keeps all of
it, and its decoder passes over every pixel once for each scan. So a few bytes can keep it busy for minutes and fill
gigabytes. Markers as in ITU-T T.81, annex B.1.1.
"""

SEGMENTS = 10_000
"""Before the picture; ten are usual, and some hundred where an editor keeps a history (XMP, 64 KB each)."""
IDLE_BYTES = 100_000
"""Before the picture and in no segment: fill bytes, or what makes no sense."""
SCAN, END = 0xDA, 0xD9
ALONE = (0x00, 0x01, *range(0xD0, 0xD9))
"""Markers of which no segment follows."""


def excess(encoded: bytes) -> str:
    """What of a file there is too much of before its picture begins, with its number; empty if nothing is."""
    place, segments, idle = 2, 0, 0
    while (start := encoded.find(b"\xff", place)) >= 0 and start + 4 <= len(encoded):
        marker = encoded[start + 1]
        idle += start - place
        if idle > IDLE_BYTES:
            return f"more than {IDLE_BYTES} bytes in no segment"
        if marker in (SCAN, END):
            return ""
        if marker == 0xFF:
            place, idle = start + 1, idle + 1
        elif marker in ALONE:
            place, idle = start + 2, idle + 2
        else:
            place = start + 2 + max(2, int.from_bytes(encoded[start + 2 : start + 4], "big"))
            segments += 1
            if segments > SEGMENTS:
                return f"more than {SEGMENTS} segments"
    rest = len(encoded) - place
    return f"more than {IDLE_BYTES} bytes in no segment" if idle + rest > IDLE_BYTES and rest > 0 else ""
