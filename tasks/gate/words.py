"""How the data gate writes numbers and names."""


def plain(text: str, most: int = 400) -> str:
    """Text on one line in printable characters, others escaped as in Python (`\\n`, `\\u202e`); cut after `most`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def count_of(number: int) -> str:
    """`1 image`, `2 images`."""
    return f"{number} image" if number == 1 else f"{number} images"


def percent(share: float, limit: float = 0) -> str:
    """A share, 0..1, in words: `26%`, `1.7%`. If it is above the limit, with as many digits as it takes to see that."""
    digits = 0 if share >= 0.1 else 1
    while round(100 * share, digits) <= 100 * limit < 100 * share and digits < 9:
        digits += 1
    return f"{round(100 * share, digits):.10g}%"
