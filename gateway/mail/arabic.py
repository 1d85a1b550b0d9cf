"""Letters of the Arabic script that people type, or choose, for one another, and marks that only some write.

For matching, never for showing: Persian yeh and kaf are one with the Arabic ones, alef with its hamza and madda, heh
with teh marbuta and Urdu's. Pure data.
"""

from __future__ import annotations

_LETTERS = {"ا": "آأإٱ", "و": "ؤ", "ه": "ةۀہھە", "ک": "كڪ", "ی": "يىئۍې"}
# the letter that stands for it -> as one; without digits, which Python knows (str.isdecimal)
SAME_LETTER = {other: letter for letter, others in _LETTERS.items() for other in others}
KASHIDA = "\u0640"
# vowel signs, hamza and madda as characters of their own, signs of recitation
MARKS = "".join(map(chr, (*range(0x610, 0x61B), *range(0x64B, 0x660), 0x670, *range(0x6D6, 0x6DD))))
