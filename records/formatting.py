"""How numbers, names and the one sentence about a batch are written, in reports, messages and on pages."""

from collections.abc import Mapping, Sequence


def plain(text: str, most: int = 400) -> str:
    """Text on one line in printable characters, others escaped as in Python (`\\n`, `\\u202e`); cut after `most`."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def listed(names: Sequence[str], most: int) -> str:
    """`a, b, c and 4 more`: the first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def count_of(number: int) -> str:
    """`1 image`, `2 images`."""
    return f"{number} image" if number == 1 else f"{number} images"


def percent(share: float, limit: float = 0) -> str:
    """A share, 0..1, in words: `26%`, `1.7%`. If it is above the limit, with as many digits as it takes to see that."""
    digits = 0 if share >= 0.1 else 1
    while round(100 * share, digits) <= 100 * limit < 100 * share and digits < 9:
        digits += 1
    return f"{round(100 * share, digits):.10g}%"


def in_percent(share: float | None) -> str:
    """A share, 0..1, with one decimal, for figures that stand together: `26.0%`, never `-0.0%`; `–` for None."""
    return "–" if share is None else f"{round(100 * share, 1) + 0:.1f}%"


def duration(seconds: float) -> str:
    """In words, as exactly as it matters: `45 s`, `4 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    minutes = round(minutes, -1)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def summary(
    images: int,
    refused: Mapping[str, int],
    dropped: Mapping[str, int],
    limit: float | None = None,
    lacks: Sequence[str] = (),
) -> str:
    """One sentence about a batch of `images` images.

    `refused` and `dropped` say for what reason how many were left out: `{"12 truncated": 12}`. It is quarantined if a
    `limit` is given (the share 0..1 that the refused ones exceed), or if `lacks` says what there is too little of.
    """
    bad = sum(refused.values())
    if limit is not None:
        refused_share = (
            f"{bad} of {count_of(images)} ({percent(bad / images, limit)}) {'was' if bad == 1 else 'were'} refused"
        )
        return f"Quarantined: {refused_share}, more than the {100 * limit:.4g}% allowed: {', '.join(refused)}."
    away = [f"{bad} ({percent(bad / images)}) refused: {', '.join(refused)}"] if refused else []
    away += [f"{sum(dropped.values())} left out: {', '.join(dropped)}"] if dropped else []
    if lacks:
        return f"Quarantined: {'; '.join([*lacks, *away])}."
    left = images - bad - sum(dropped.values())
    total = count_of(images)
    return f"Admitted: {'; '.join([f'all {total}' if left == images else f'{left} of {total}', *away])}."
