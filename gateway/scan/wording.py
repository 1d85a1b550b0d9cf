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
}
_SHOWN_AS, _SENT_AS = "shown as %(shown)s, leads to %(host)s", "shown as %(shown)s, sent as %(address)s"
_ANSWERS = "from %(author)s, but answers go to %(address)s"
_PAST_COUNTS = "of about %(count)s messages of the client's network of late %(bad_count)s were held or refused"
_DOMAIN_COUNTS = "of about %(count)s proven messages of %(domain)s of late %(bad_count)s were held or refused"
_SPF_WORDS = {
    "PASS": "%(ip)s is permitted by %(domain)s, by %(term)s",
    "FAIL": "%(ip)s is not permitted by %(domain)s, by %(term)s",
    "SOFTFAIL": "%(ip)s is probably not permitted by %(domain)s, by %(term)s",
}
# finding -> its lines of evidence as the checks have them; what is named a count is a number, all else is a stranger's
_EVIDENCE: dict[str, str] = {
    "ATTACHMENT_DOUBLE_EXTENSION": "%(name)s looks like .%(document)s but is .%(extension)s",
    "ATTACHMENT_EXECUTABLE": "%(name)s is a program (.%(extension)s)",
    "ATTACHMENT_HTML": "%(name)s opens in a browser (.%(extension)s)",
    "ATTACHMENT_MACRO": "%(name)s can hold macros (.%(extension)s)",
    "AUTHOR_NO_ADDRESS": "From holds no address",
    "AUTHOR_NAME_IS_OTHER_ADDRESS": _SENT_AS,
    "AUTHOR_NAME_IS_OUR_ADDRESS": _SENT_AS,
    "AUTHOR_SEVERAL": "From names %(count)s authors and there is no Sender",
    "BODY_EMPTY": "there is nothing to read",
    "BODY_LINK_ONLY": "a link and %(count)s characters beside it",
    "CLIENT_NETWORK_BAD": _PAST_COUNTS,
    "CLIENT_NETWORK_GOOD": _PAST_COUNTS,
    "DATE_FAR_FUTURE": "Date says %(date)s, %(count)s days after we received it",
    "DATE_IN_FUTURE": "Date says %(date)s, %(count)s hours after we received it",
    "DATE_IN_PAST": "Date says %(date)s, %(count)s days before we received it",
    "DATE_MISSING": "there is no Date field",
    "DKIM_ALIGNED": "signed by the author's domain %(domain)s",
    "DKIM_NONE": "no signature",
    "DKIM_VALID": "signed by %(domain)s",
    "DMARC_PASS": "%(domain)s is who it says",
    "DOMAIN_BAD": _DOMAIN_COUNTS,
    "DOMAIN_GOOD": _DOMAIN_COUNTS,
    "FIRST_CONTACT": "%(author)s has not written to %(recipient)s of late",
    "FROM_NAME_IS_ADDRESS": _SENT_AS,
    "HELO_LOCALHOST": "the client calls itself %(name)s",
    "HELO_NO_DOMAIN": "the client calls itself %(name)s, which is no domain name",
    "HTML_BASE64": "the page is encoded in base64",
    "HTML_FORM": "the page holds a form to fill in",
    "HTML_FRAME": "the page embeds another one",
    "HTML_HIDDEN_TEXT": "%(count)s characters are hidden from the reader: “%(words)s…”",
    "HTML_IMAGE_ONLY": "pictures and only %(count)s characters of text",
    "HTML_ONLY": "there is no plain text beside the HTML",
    "HTML_SCRIPT": "the page holds a script",
    "KNOWN_SENDER": "%(author)s sent about %(count)s clean messages to %(recipient)s of late",
    "LOOKALIKE_LINK_SHOWN": _SHOWN_AS,
    "MESSAGE_ID_MISSING": "there is no Message-Id field",
    "ORGANISATION_NAME_FREEMAIL": "uses your name “%(words)s”, but writes from %(address)s",
    "ORIGIN_UNKNOWN_DOMAIN": "%(domain)s does not exist",
    "OWN_DOMAIN_SPOOF": "says it is from %(domain)s, came from outside and proves nothing",
    "RDNS_GENERIC": "%(name)s is the name of an access line, not of a mail server",
    "RDNS_NONE": "%(ip)s has no reverse DNS name",
    "REPLY_TO_ELSEWHERE": _ANSWERS,
    "REPLY_TO_FREEMAIL": _ANSWERS,
    "REPLY_TO_OTHER_FREEMAIL": _ANSWERS,
    "REVERSE_PATH_OTHER_DOMAIN": "sent by %(domain)s for %(author)s",
    "SUBJECT_FALSE_REPLY": "“%(words)s” answers nothing: no thread, no quotation",
    "TEXT_DIRECTION_OVERRIDE": "the text turns the reading direction",
    "TEXT_FANCY_LETTERS": "words are written in letters made for decoration",
    "TEXT_MIXED_SCRIPT_WORDS": "“%(words)s” mixes alphabets",
    "TO_IS_AUTHOR": "the message says it is from and to the same address",
    "TO_MISSING": "no field names a recipient",
    "TO_UNDISCLOSED": "To says %(words)s",
    "URL_DOMAIN_NEW": "link to %(value)s, a domain first seen here less than a day ago",
    "URL_TEXT_MISMATCH": _SHOWN_AS,
    **{f"SPF_{result}": words for result, words in _SPF_WORDS.items()},
    **{f"SPF_HELO_{result}": words for result, words in _SPF_WORDS.items()},
    **dict.fromkeys(
        ("PERSON_NAME_ELSEWHERE", "PERSON_NAME_FREEMAIL", "PERSON_NAME_SERVICE"),
        "“%(words)s” is %(person)s, but this comes from %(address)s",
    ),
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
    *dict.fromkeys(_EVIDENCE.values()),
)
_PASSAGE_SHOWN = 120
_LINE_READ = 2000  # characters of a line of evidence
_PLACE = re.compile(r"%\((\w+)\)s")
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
    return tongue.gettext(said) % {"value": tongue.shown(short)} if said else tongue.shown(f"{kind} {short}".strip())


def evidence_text(name: str, line: str, tongue: Tongue = ENGLISH) -> str:
    """A line of this finding's evidence in the reader's words; "" when it has none of its own."""
    said = _EVIDENCE.get(name, "")
    found = _reader(said).fullmatch(line, 0, _LINE_READ) if said else None
    if found is None:
        return ""
    values = {
        key: tongue.number(value) if key.endswith("count") else tongue.shown(value)
        for key, value in found.groupdict().items()
    }
    return tongue.gettext(said) % values


@cache
def _reader(sentence: str) -> re.Pattern[str]:
    """What takes the values out of a sentence again."""
    pieces = _PLACE.split(sentence)  # text and names in turn
    places = [rf"(?P<{name}>[0-9]+)" if name.endswith("count") else rf"(?P<{name}>.+?)" for name in pieces[1::2]]
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
