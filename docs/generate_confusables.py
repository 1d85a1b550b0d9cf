"""Writes gateway/mail/confusables.txt from Unicode's data: python docs/generate_confusables.py confusables.txt.

The file is https://www.unicode.org/Public/security/latest/confusables.txt (Unicode Technical Standard #39 §4).
Kept are letters and digits that no compatibility mapping changes and that look like ASCII, or like another letter of
the scripts domain names and personal names are disguised in. Diacritics are left out of the prototypes.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

TARGET = Path(__file__).parent.parent / "gateway" / "mail" / "confusables.txt"
_SCRIPTS = frozenset("LATIN CYRILLIC GREEK ARMENIAN HEBREW ARABIC EXTENDED MODIFIER".split())
_HEAD = """\
# What looks like what, for gateway/mail/confusable.py: a prototype, a tab, the characters that look like it.
# Derived by docs/generate_confusables.py from confusables.txt, Unicode {version} (UTS #39), and so changed.
# Copyright © 1991-2025 Unicode, Inc. Unicode License v3 (SPDX: Unicode-3.0): confusables-LICENSE.txt beside this file.
"""


def table(text: str) -> str:
    """The whole file."""
    version = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("# Version:"))
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = [field.split() for field in line.partition("#")[0].split(";")]
        if len(fields) < 2:
            continue
        source, shown = ("".join(chr(int(code, 16)) for code in field) for field in fields[:2])
        prototype = _without_diacritics(shown)
        if _is_wanted(source, shown, prototype):
            found.setdefault(prototype, []).append(source)
    lines = [f"{prototype}\t{''.join(sorted(found[prototype]))}" for prototype in sorted(found)]
    return _HEAD.format(version=version) + "\n".join(lines) + "\n"


def _is_wanted(source: str, shown: str, prototype: str) -> bool:
    if source.isascii() or not prototype or unicodedata.category(source)[0] not in "LN":
        return False
    if unicodedata.normalize("NFKD", source) != source:
        return False
    return (prototype.isascii() and prototype.isalnum()) or {_script(char) for char in source + shown} <= _SCRIPTS


def _without_diacritics(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not "\u0300" <= char <= "\u036f")


def _script(char: str) -> str:
    return unicodedata.name(char, "?").split()[0]


if __name__ == "__main__":
    TARGET.write_text(table(Path(sys.argv[1]).read_text("utf-8-sig")), "utf-8")
