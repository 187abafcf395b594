"""Rows of a manifest: paths, labels and notes are data."""

import unicodedata

from tests.corpus.cases import MARKUP, Row

OUTSIDE = ("path-outside", "leads out of the manifest's folder")
MISSING = ("file-missing", "no such file")
CONTROL = ("label-unusable", "control character")
SLASH = ("label-unusable", "slash or backslash")

ROWS = (
    *(
        Row(f"path {path!r}", path, verdict=verdict, sentence=sentence)
        for path, (verdict, sentence) in {
            "../secret.png": OUTSIDE,
            "sub/../../secret.png": OUTSIDE,
            "/etc/passwd": OUTSIDE,
            "//etc/passwd": OUTSIDE,
            "..": OUTSIDE,
            ".": ("path-outside", "no ordinary file"),
            "sub": ("path-outside", "no ordinary file"),
            "": ("file-missing", "names no file"),
            "nul\0.png": ("file-missing", "names no file"),
            "missing.png": MISSING,
            "n" * 300: MISSING,
            "a/" * 3000: MISSING,
            "C:\\control.png": MISSING,
            "control.png/x": MISSING,
            "file:///etc/passwd": MISSING,
            "~/secret.png": MISSING,
            "$HOME/secret.png": MISSING,
            "control*.png": MISSING,
            "CONTROL.PNG": MISSING,
            MARKUP: MISSING,
            "\x1b[2J\u202e\n": MISSING,
            "=HYPERLINK(1)": MISSING,
            " control.png": MISSING,
            "linked/secret.png": ("path-outside", "symbolic link"),
            "link.png": ("path-outside", "symbolic link"),
            "manifest.csv": ("row-repeated", "the same image and label as ./manifest.csv"),
            "./manifest.csv": ("not-an-image", "no image format"),
        }.items()
    ),
    *(
        Row(f"label {label[:40]!r} of {len(label)}", label=label, verdict=verdict, sentence=sentence)
        for label, (verdict, sentence) in {
            "": ("label-unusable", "empty"),
            " ": ("label-unusable", "empty"),
            "\u3000": ("label-unusable", "empty"),
            "a/b": SLASH,
            "../..": SLASH,
            "a\\b": SLASH,
            "a\nb": CONTROL,
            "a\0b": CONTROL,
            "\x1b[31mred": CONTROL,
            "a\u2028b": CONTROL,
            "gnp\u202egpj": CONTROL,
            "\u2066isolated": CONTROL,
            "\ufeffcat": CONTROL,
            " cat ": ("class-respelled", "there is a class cat"),
            "x" * 256: ("label-unusable", "256 characters"),
        }.items()
    ),
    *(
        Row(f"label {label[:40]!r} of {len(label)}", label=label)
        for label in (
            "=cmd|' !C calc'!A0",
            "+1",
            "-1",
            "@SUM(A1)",
            MARKUP.replace("/", ""),
            "' OR 1=1; --",
            "{label}",
            "%s%n",
            "${jndi:x}",
            "..",
            "CON",
            "null",
            "NaN",
            "None",
            "0",
            "1e5",
            "x" * 255,
            "日本語",
            "کتاب\u200cخانه",
            "\U0001f431",
            "Käse",
            unicodedata.normalize("NFD", "Käse"),
            "True",
            "a,b",
            'x"y',
        )
    ),
    *(
        Row(f"note {note[:40]!r} of {len(note)}", note=note)
        for note in (
            "=cmd|' /C calc'!A0",
            MARKUP,
            "' OR 1=1; --",
            "nul\0",
            "two\nlines",
            "\u202e",
            "",
            "x" * 100_000,
            '"',
            "NaN",
        )
    ),
)
