"""Words for what a prediction is made of and for what would have changed a verdict, in English or by a catalogue.

The English sentences are the catalogue's message ids. Light: the review pages and listeners import this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

_CONTRIBUTIONS = {
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
    "encoding": "text sent as %(value)s",
    "own_links": "links to the author's own domain",
    "foreign_links": "links to other domains only",
    "name_words": "the sender's name has %(value)s words",
    "author_no_address": "no address in From",
    "body_link_only": "hardly more than a link",
    "bounce_unlikely": "a null reverse-path, but no report",
    "helo_bare_ip": "the client greets with a bare address",
    "helo_no_domain": "the client greets with a name that is no domain",
    "html_base64": "HTML sent in base64",
    "html_frame": "another page inside the HTML",
    "html_image_only": "pictures and hardly any text",
    "html_only": "HTML without a plain text beside it",
    "html_script": "a script in the HTML",
    "message_id_invalid": "a malformed Message-ID",
    "message_id_no_domain": "a Message-ID without a domain",
    "subject_empty": "an empty subject",
    "subject_false_reply": "called a reply, though it answers nothing",
    "subject_marks": "rows of marks in the subject",
    "subject_pictures": "pictures instead of words in the subject",
    "text_fancy_letters": "words in letters made for decoration",
    "to_is_author": "from and to the same address",
    "to_undisclosed": "undisclosed recipients",
    "url_many_labels": "link with a very long name",
    "url_odd_port": "link to an odd port",
    "url_text_mismatch": "link shown as another site",
    "url_userinfo": "link with a name before @",
}
_OF_NONE = {
    "length": "a text of no characters",
    "exclamations": "no exclamation marks",
    "dollars": "no dollar signs",
    "links": "no links",
    "name_words": "no sender's name",
}
_OF_ONE = {
    "length": "a text of 1 character",
    "exclamations": "1 exclamation mark",
    "dollars": "1 dollar sign",
    "links": "1 link",
    "name_words": "the sender's name is one word",
}
_ONE_WORD, _RANGE, _OR_MORE = "word “%(value)s”", "%(least)s to %(most)s", "%(least)s or more"
_CHANGES = {
    "dkim": "with a valid DKIM signature of %(value)s",
    "spf": "from a server that %(value)s permits (SPF)",
    "iprev": "from a client whose name leads back to its address",
    "unlisted": "from a client on no blocklist",
    "reply_to": "with answers going to its author",
    "link": "without the link to %(value)s",
    "hidden": "without the text hidden from the reader",
    "attachment": "without the attachment “%(value)s”",
    "author_name": "without the sender's name “%(value)s”",
    "date": "with a correct date",
    "message_id": "with a correct Message-ID",
    "subject": "with another subject",
    "passage": "without the passage “%(value)s”",
    "block": "without the block of %(value)s by %(by)s",
}
_AND, _COMMA = " and ", ", "
_DELIVERED = "It would have been delivered %(changes)s."
_TAGGED = "It would have been delivered, though tagged, %(changes)s."
_UNTAGGED = "It would have been delivered untagged %(changes)s."
_AS_IT_IS = "Judged again now, it is delivered as it is."
_NOTHING = "No single change and no two together would have had it delivered: %(signs)s signs agree."
SENTENCES = (
    *_CONTRIBUTIONS.values(),
    *_OF_NONE.values(),
    *_OF_ONE.values(),
    *(_ONE_WORD, _RANGE, _OR_MORE, _AND, _COMMA, _DELIVERED, _TAGGED, _UNTAGGED, _AS_IT_IS, _NOTHING),
    *_CHANGES.values(),
)
_PASSAGE_SHOWN = 120
_LINE_READ = 2000  # characters of a line of evidence
_PLACE = re.compile(r"%\((\w+)\)s")
_COUNT = r"[0-9]+(?:\.[0-9]+)?"
_FORMS = {  # of places that would take too much, or too little
    "code": r"[0-9]+(?:\.[0-9]+){3}",
    "day": r"\d{4}-\d\d-\d\d",
    "error": r"[A-Za-z]\w*",
    "meant": ".*?",
    "owner": "your (?:partner's )?domain",
    "scope": r"(?:owner|domain_admin|reviewer|auditor|recipient)(?: .*)?",
    "speaker": r"\S+",
    "stage": "[a-z]+",
    "tag": "[a-z]+=",
    "term": r"\S+",
    "written": ".*?",
}
# the blocks that hold every character of classes R and AL (UAX #9)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


@dataclass(frozen=True, slots=True)
class Tongue:
    """How a reader is spoken to: translations, digits, and how words of strangers are shown."""

    gettext: Callable[[str], str] = str
    number: Callable[[str], str] = str
    shown: Callable[[str], str] = str


def isolated(text: str) -> str:
    """A right-to-left word must not pull what stands behind it to its side (UAX #9: FSI and PDI)."""
    return f"\u2068{text}\u2069" if _RIGHT_TO_LEFT.search(text) else text


ENGLISH = Tongue()


def contribution_text(kind: str, value: str, tongue: Tongue = ENGLISH) -> str:
    """What spoke for or against; of a kind that is not known, kind and value as they are."""
    if kind == "words" and " " not in value:
        said = _ONE_WORD
    else:
        said = {"0": _OF_NONE, "1": _OF_ONE}.get(value, _CONTRIBUTIONS).get(kind) or _CONTRIBUTIONS.get(kind, "")
    if not said:
        return tongue.shown(f"{kind} {value}".strip())
    return tongue.gettext(said) % {"value": _value(kind, value, tongue)}


def flip_text(flip: Mapping[str, object], tongue: Tongue = ENGLISH) -> str:
    """The sentence of a flip, as counterfactual.flip_object has it."""
    changes = flip["changes"]
    assert isinstance(changes, Sequence)
    if not flip["is_needed"]:
        return tongue.gettext(_AS_IT_IS)
    if not changes:
        return tongue.gettext(_NOTHING) % {"signs": tongue.number(str(flip["signs"]))}
    told = tongue.gettext(_AND).join([change_text(one["kind"], one["value"], tongue) for one in changes])
    frame = _TAGGED if flip["action"] == "tag" else _UNTAGGED if flip["was"] == "tag" else _DELIVERED
    return tongue.gettext(frame) % {"changes": told}


def change_text(kind: str, value: str, tongue: Tongue = ENGLISH) -> str:
    """One change."""
    short = value if len(value) <= _PASSAGE_SHOWN else f"{value[:_PASSAGE_SHOWN].rstrip()}…"
    said = _CHANGES.get(kind)
    if not said:
        return tongue.shown(f"{kind} {short}".strip())
    by = ""
    if kind == "block":  # a pattern has no space in it
        short, _, by = short.partition(" ")
    return tongue.gettext(said) % {"value": tongue.shown(short), "by": tongue.shown(by)}


def read_back(sentence: str, line: str) -> dict[str, str] | None:
    """The values that make this line of the sentence; None when it is another one."""
    found = _reader(sentence).fullmatch(line, 0, _LINE_READ)
    return None if found is None else found.groupdict()


@cache
def _reader(sentence: str) -> re.Pattern[str]:
    """What takes the values out of a sentence again."""
    pieces = _PLACE.split(sentence)  # text and names in turn
    forms = [_COUNT if name.endswith("count") else _FORMS.get(name, ".+?") for name in pieces[1::2]]
    places = [f"(?P<{name}>{form})" for name, form in zip(pieces[1::2], forms, strict=True)]
    return re.compile(
        "".join(re.escape(text) + place for text, place in zip(pieces[::2], [*places, ""], strict=True)), re.DOTALL
    )


def _value(kind: str, value: str, tongue: Tongue) -> str:
    if kind in _OF_NONE:
        return _count(value, tongue)
    if kind == "everyday":
        return tongue.gettext(_COMMA).join([tongue.shown(one) for one in value.split(", ")])
    return tongue.shown(value)


def _count(value: str, tongue: Tongue) -> str:
    """ "2-3" is a range, "4+" has no end."""
    least, dash, most = value.partition("-")
    if dash:
        return tongue.gettext(_RANGE) % {"least": tongue.number(least), "most": tongue.number(most)}
    if value.endswith("+"):
        return tongue.gettext(_OR_MORE) % {"least": tongue.number(value[:-1])}
    return tongue.number(value)
