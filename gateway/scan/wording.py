"""Words for what a prediction is made of: kind and value -> what a person reads, in English or by a catalogue.

The English sentences are the catalogue's message ids. Light: the review pages import this, and nothing else of here.
"""

from __future__ import annotations

from collections.abc import Callable

_SENTENCES = {
    "words": "words “%(value)s”",
    "subject": "“%(value)s” in the subject",
    "name": "“%(value)s” in the sender's name",
    "everyday": "everyday words such as “%(value)s”",
    "numbers": "numbers and dates",
    "dashes": "lines of dashes",
    "part": "an attachment of type %(value)s",
    "extension": "an attachment .%(value)s",
    "tag": "<%(value)s> in the HTML",
    "hidden": "text hidden from the reader",
    "length": "a text of %(value)s characters",
    "invisible": "invisible characters inside words",
    "twins": "foreign look-alikes of letters inside words",
    "exclamations": "%(value)s exclamation marks",
    "dollars": "%(value)s dollar signs",
    "subject_capitals": "a subject in capitals",
    "links": "%(value)s links",
    "link": "link to %(value)s",
    "tld": "link into .%(value)s",
    "link_address": "link to a bare address",
    "reply_to_elsewhere": "answers go to another domain",
    "spf": "SPF %(value)s",
    "dmarc": "DMARC %(value)s",
}
_OF_NONE = {
    "length": "a text of no characters",
    "exclamations": "no exclamation marks",
    "dollars": "no dollar signs",
    "links": "no links",
}
_OF_ONE = {
    "length": "a text of 1 character",
    "exclamations": "1 exclamation mark",
    "dollars": "1 dollar sign",
    "links": "1 link",
}
SENTENCES = (*_SENTENCES.values(), "word “%(value)s”", *_OF_NONE.values(), *_OF_ONE.values())
RANGES = ("%(least)s to %(most)s", "%(least)s or more")


def text_of(kind: str, value: str, gettext: Callable[[str], str] = str, number: Callable[[str], str] = str) -> str:
    """The sentence, by these translations; of a kind that is not known, kind and value as they are."""
    return sentence(kind, value, gettext) % {"value": shown_value(kind, value, gettext, number)}


def sentence(kind: str, value: str, gettext: Callable[[str], str] = str) -> str:
    """The sentence with %(value)s where the value belongs."""
    if kind == "words" and " " not in value:
        return gettext("word “%(value)s”")
    said = {"0": _OF_NONE, "1": _OF_ONE}.get(value, _SENTENCES).get(kind) or _SENTENCES.get(kind)
    return gettext(said) if said else f"{kind} %(value)s".replace("%", "%%").replace("%%(value)s", "%(value)s")


def shown_value(kind: str, value: str, gettext: Callable[[str], str] = str, number: Callable[[str], str] = str) -> str:
    """The value; of a count in the reader's digits and words: "2-3" is a range, "4+" has no end."""
    if kind not in _OF_NONE:
        return value
    least, dash, most = value.partition("-")
    if dash:
        return gettext(RANGES[0]) % {"least": number(least), "most": number(most)}
    if value.endswith("+"):
        return gettext(RANGES[1]) % {"least": number(value[:-1])}
    return number(value)
