"""What checks and authentication wrote of a message in English, told in the reader's words: evidence and reasons.

Verdicts keep the English line; so it is read back here. Each sentence is a message id of the catalogue, and its places
take the values out again. What fits none quotes the message, or another version wrote it. Light, as wording.py is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from gateway.scan.wording import ENGLISH, Tongue, read_back

# --- why authentication came to its results -------------------------------------------------------------------------

_LATE, _NOT_ASKED = "the DNS took too long", "not evaluated"
_NO_CLIENT = "no client address is known"
_IPREV = (
    _NO_CLIENT,
    "the name of %(ip)s could not be looked up (%(status)s)",
    "%(ip)s has no usable name in the DNS",
    "%(ip)s and %(name)s name each other",
    "the address of %(name)s could not be looked up",
    "%(ip)s calls itself %(name)s, which does not have that address",
    _LATE,
)
_SPF = (
    '%(spf)s; %(speaker)s says: "%(words)s"',
    _NO_CLIENT,
    "the domain is not one SPF can be asked about",
    "%(domain)s publishes no SPF record",
    "%(ip)s is permitted by %(domain)s, by %(term)s",
    "%(ip)s is permitted by %(domain)s",
    "%(ip)s is not permitted by %(domain)s, by %(term)s",
    "%(ip)s is not permitted by %(domain)s",
    "%(ip)s is probably not permitted by %(domain)s, by %(term)s",
    "%(ip)s is probably not permitted by %(domain)s",
    "%(domain)s says nothing about %(ip)s, by %(term)s",
    "%(domain)s says nothing about %(ip)s",
    "the record needs too many look-ups",
    "the record of %(domain)s could not be evaluated (%(error)s)",
    "Temporary Error: DNS %(status)s for %(name)s %(rdtype)s",
    "Permanent Error: %(fault)s",
    _LATE,
    _NOT_ASKED,
)
_FAULTS = (  # of SPF records; ours, then pyspf's
    "more than two look-ups found nothing",
    "more than 10 terms that look up",
    "more than 10 MX records",
    "the record of %(name)s is too long",
    "exp= stands twice: %(term)s",
    "exp= is empty: %(term)s",
    "a percent sign that begins no macro: %(words)s",
    "no macro: %(words)s",
    "Two or more type TXT spf records found.",
    "Unknown mechanism found: %(term)s",
    "Unknown qualifier, RFC 4408 para 4.6.1, found in: %(term)s",
    "Use the ip4 mechanism for ip4 addresses: %(term)s",
    "Missing IP4: %(term)s",
    "Invalid IP4 address: %(term)s",
    "Invalid IP6 address: %(term)s",
    "Invalid IP4 CIDR length: %(term)s",
    "Invalid IP6 CIDR length: %(term)s",
    "Dual CIDR not allowed: %(term)s",
    "CIDR not allowed: %(term)s",
    "Invalid domain found (use FQDN): %(words)s",
    "Invalid all mechanism format - only qualifier allowed with all: %(term)s",
    "Do not separate mechnisms with commas: %(term)s",
    "implicit exists not allowed: %(term)s",
    "empty domain:: %(term)s",
    "include has trivial recursion: %(term)s",
    "include mechanism missing domain: %(term)s",
    "No valid SPF record for included domain: %(name)s: %(term)s",
    "redirect= MUST appear at most once: %(term)s",
    "redirect has empty domain:",
    "redirect domain has no SPF record: %(name)s",
    "invalid-macro-char : %(words)s",
    "c,r,t macros allowed in exp= text only: %(words)s",
    "Unknown Macro Encountered: %(words)s",
    "Non-ascii characters found: %(words)s",
)
_DKIM = (  # with what is wrong with ARC's signatures, which are read and verified as DKIM's are
    "signed by %(domain)s (%(kind)s, %(count)s bits)",
    "signed by %(domain)s (%(kind)s, %(count)s bits, a key in test)",
    "the signature does not match the header",
    "the signature does not match the header, a key in test",
    "the body was changed after signing",
    "the body is shorter than what was signed",
    "%(count)s bytes of the body are not signed (l=%(length_count)s)",
    "a %(field)s field is not signed, and another is",
    "a %(field)s field is not signed, and there are two",
    "the header holds lines that are no field, or too many fields",
    "the signature has expired",
    "the signature is from the future",
    "the signature expires before it was made",
    "%(count)s more signatures were not verified",
    "the key %(name)s could not be looked up (%(status)s)",
    "there is no key %(name)s",
    "the key was revoked",
    "the key record is malformed",
    "the key cannot be read",
    "the key is not for sha256",
    "the key is not for mail",
    "the key is not one for %(kind)s",
    "the key is not for subdomains (t=s), i= names one",
    "the key is to be had in no known way (q=)",
    "a key of %(count)s bits is not accepted (RFC 8301)",
    "rsa-sha1 is not accepted (RFC 8301)",
    "the signature is not a list of tags",
    "the signature lacks %(tag)s",
    "the signature's version is not 1",
    "the signature's algorithm is not known",
    "the canonicalisation is not known (c=)",
    "the From field is not signed",
    "%(tag)s is not a number",
    "b= or bh= is not base64",
    "d= or s= is not a domain name",
    "i= is not within d=",
    "the ARC-Message-Signature is not a list of tags",
    "the ARC-Message-Signature lacks %(tag)s",
    "the ARC-Message-Signature covers an ARC-Seal",
    "the ARC-Seal is not a list of tags",
    "the ARC-Seal lacks %(tag)s",
    "the ARC-Seal has h=",
    "the ARC-Seal's cv= is not known",
    "the ARC-Seal's b= is not base64",
    "it does not match the ARC fields",
    _LATE,
)
_ARC = (
    "%(arc)s. %(sealer)s, a trusted sealer, recorded %(proof)s for %(author)s",
    "sealed by %(domain)s, before it by %(words)s and others",
    "sealed by %(domain)s, before it by %(words)s",
    "sealed by %(domain)s",
    "the newest ARC-Message-Signature: %(dkim)s",
    "the seal of %(domain)s: %(dkim)s",
    "instance %(count)s: %(dkim)s",
    "instance %(count)s cannot have %(value)s",
    "%(domain)s found the chain broken (cv=fail)",
    "an %(field)s has no instance from 1 to %(count)s",
    "there is no %(field)s of instance %(count)s",
    "there are several %(field)s of instance %(count)s",
    "there are more than %(count)s ARC sets",
    "the message carries no ARC set",
    _LATE,
)
_AUTHOR = (  # why there is no one author domain
    "there is no From field",
    "there are %(count)s From fields",
    "a line that is no field could be read as another From",
    "the From field is encoded as a whole, address and all",
    "the From field can be read in more ways than one",
    "the From field holds no address that can be read",
    "the From field holds an author without an address that can be read",
    "the From field names %(count)s domains",
    "the author's domain is not one in the DNS",
)
_DMARC = (
    "%(dmarc)s, but %(sealer)s, a trusted sealer, recorded %(proof)s for %(author)s",
    "signed by %(domain)s, which %(author)s belongs to",
    "sent as %(domain)s, which %(author)s belongs to, from one of its servers",
    "neither SPF nor DKIM passes for %(domain)s",
    "SPF or DKIM could not be looked up",
    "whether %(domain)s and %(author)s belong together could not be looked up",
    "the policy of %(domain)s could not be looked up (%(status)s)",
    "%(domain)s publishes no DMARC policy",
    "the DMARC record of %(domain)s names no usable policy",
    *_AUTHOR,
    _LATE,
    _NOT_ASKED,
)
_REASONS: Mapping[str, tuple[str, ...]] = {"iprev": _IPREV, "spf": _SPF, "dkim": _DKIM, "arc": _ARC, "dmarc": _DMARC}

# --- evidence of the checks -----------------------------------------------------------------------------------------

_SHOWN_AS, _SENT_AS = "shown as %(shown)s, leads to %(host)s", "shown as %(shown)s, sent as %(address)s"
_ANSWERS = "from %(author)s, but answers go to %(address)s"
_OUR_NAME = "uses your name “%(words)s”, but writes from %(address)s"
_PAST_COUNTS = "of about %(count)s messages of the client's network of late %(bad_count)s were held or refused"
_DOMAIN_COUNTS = "of about %(count)s proven messages of %(domain)s of late %(bad_count)s were held or refused"
_LIKENESSES = (
    "%(shown)s looks exactly like %(owner)s %(domain)s",
    "%(shown)s can hardly be told from %(owner)s %(domain)s: %(slip)s",
    "%(shown)s looks like %(owner)s %(domain)s: %(slip)s",
    "%(shown)s is close to %(owner)s %(domain)s: %(slip)s",
    "%(shown)s is close to the author's %(domain)s: %(slip)s",
    "%(shown)s holds the whole name of %(owner)s %(domain)s",
    "%(shown)s holds the name of %(owner)s %(domain)s",
    "%(shown)s is the name and a luring word of %(owner)s %(domain)s",
    "%(shown)s has another ending than %(owner)s %(domain)s",
    "%(shown)s is spelt in other letters than %(owner)s %(domain)s",
)
_SLIPS = (
    "“%(written)s” for “%(meant)s”",
    "“%(words)s” is swapped",
    "one “%(words)s” more",
    "one “%(words)s” less",
    "a hyphen more or less",
    "two letters differ",
)
_OF_AUTHOR = ("From: %(likeness)s", "Sender: %(likeness)s")
_LISTED = (  # of the findings of [[dns_list]]
    "the client %(value)s is on %(list)s (%(code)s)",
    "the hop %(value)s is on %(list)s (%(code)s)",
    "the HELO name's domain %(value)s is on %(list)s (%(code)s)",
    "the reverse-path's domain %(value)s is on %(list)s (%(code)s)",
    "the author's domain %(value)s is on %(list)s (%(code)s)",
    "the link's domain %(value)s is on %(list)s (%(code)s)",
    "the link's host %(value)s is on %(list)s (%(code)s)",
)
# finding -> its lines of evidence as the checks have them, the narrower before the wider; what is named a count is a
# number, what _WITHIN names is words of ours again, all else is a stranger's
_EVIDENCE: Mapping[str, str | tuple[str, ...]] = {
    "ATTACHMENT_DISGUISED": (
        "%(name)s is a Windows program",
        "%(name)s is a Linux program",
        "%(name)s is a Windows shortcut",
    ),
    "ATTACHMENT_DOUBLE_EXTENSION": "%(name)s looks like .%(shown)s but is .%(extension)s",
    "ATTACHMENT_EXECUTABLE": "%(name)s is a program (.%(extension)s)",
    "ATTACHMENT_HTML": "%(name)s opens in a browser (.%(extension)s)",
    "ATTACHMENT_MACRO": "%(name)s can hold macros (.%(extension)s)",
    "ATTACHMENT_NAME_OVERRIDE": "the name %(words)s turns its reading direction to hide its ending",
    "ATTACHMENT_SHORTCUT": "%(name)s opens %(host)s",
    "AUTHENTICATION_TEMPERROR": "the DNS did not answer for %(words)s",
    "AUTHOR_ADDRESS_ENCODED": "the address in From is encoded, and programs read it differently",
    "AUTHOR_HIDES": (
        "From holds an encoded line end or control, which hides what follows",
        "From turns the reading direction, so that the name reads backwards",
        "From holds a long row of blanks, which pushes the address out of sight",
    ),
    "AUTHOR_NAME_IS_OTHER_ADDRESS": _SENT_AS,
    "AUTHOR_NAME_IS_OUR_ADDRESS": _SENT_AS,
    "AUTHOR_NO_ADDRESS": "From holds no address",
    "AUTHOR_NUL": "From holds a NUL character, which hides what follows",
    "AUTHOR_ROLE_FREEMAIL": "“%(words)s” writes from %(domain)s",
    "AUTHOR_SEVERAL": "From names %(count)s authors and there is no Sender",
    "BODY_EMPTY": "there is nothing to read",
    "BODY_LINK_ONLY": "a link and %(count)s characters beside it",
    "BOUNCE_UNLIKELY": "a null reverse-path, but neither a report nor an automatic answer: %(address)s",
    "CLIENT_NETWORK_BAD": _PAST_COUNTS,
    "CLIENT_NETWORK_GOOD": _PAST_COUNTS,
    "DATE_FAR_FUTURE": "Date says %(date)s, %(count)s days after we received it",
    "DATE_INVALID": "Date says %(words)s, which is no date",
    "DATE_IN_FUTURE": "Date says %(date)s, %(count)s hours after we received it",
    "DATE_IN_PAST": "Date says %(date)s, %(count)s days before we received it",
    "DATE_MISSING": "there is no Date field",
    "DKIM_ALIGNED": "signed by the author's domain %(domain)s",
    "DKIM_FIELD_UNSIGNED": "%(fields)s not signed by %(domain)s: anyone may have written that",
    "DKIM_INVALID": ("%(domain)s: %(dkim)s", *_DKIM),
    "DKIM_NONE": "no signature",
    "DKIM_VALID": "signed by %(domain)s",
    "DKIM_WEAK_KEY": "%(domain)s signs with an RSA key of %(count)s bits",
    "DMARC_PASS": "%(domain)s is who it says",
    "DMARC_PERMERROR": _AUTHOR,
    "DMARC_UNDECIDED": ("%(domain)s asks to quarantine: %(dmarc)s", "%(domain)s asks to reject: %(dmarc)s"),
    "DOMAIN_BAD": _DOMAIN_COUNTS,
    "DOMAIN_GOOD": _DOMAIN_COUNTS,
    "FIELD_DUPLICATE": "%(count)s %(field)s fields",
    "FIRST_CONTACT": (
        "%(author)s has not written to each of %(count)s recipients from this network of late",
        "%(author)s has not written to each of %(count)s recipients of late",
        "%(author)s has not written to %(recipient)s from this network of late",
        "%(author)s has not written to %(recipient)s of late",
    ),
    "FROM_DOMAIN_BELOW_OTHER": "%(shown)s in %(domain)s",
    "FROM_MISSING": "there is no From field",
    "FROM_NAME_DISGUISED": _SENT_AS,
    "FROM_NAME_IS_ADDRESS": _SENT_AS,
    "HEADER_MALFORMED": "header lines that are no fields",
    "HEADER_TOO_MANY_FIELDS": "too many header fields to be honest",
    "HELO_BARE_IP": "the client calls itself %(name)s, a bare address",
    "HELO_LITERAL": "the client calls itself %(name)s, an address",
    "HELO_LOCALHOST": "the client calls itself %(name)s",
    "HELO_NO_DOMAIN": "the client calls itself %(name)s, which is no domain name",
    "HELO_OURS": "the client calls itself %(name)s, which is our name",
    "HTML_BASE64": "the page is encoded in base64",
    "HTML_FORM": "the page holds a form to fill in",
    "HTML_FRAME": "the page embeds another one",
    "HTML_HIDDEN_TEXT": "%(count)s characters are hidden from the reader: “%(words)s…”",
    "HTML_IMAGE_ONLY": "pictures and only %(count)s characters of text",
    "HTML_ONLY": "there is no plain text beside the HTML",
    "HTML_SCRIPT": "the page holds a script",
    "KNOWN_SENDER": (
        "%(author)s sent about %(count)s clean messages to each of %(recipients_count)s recipients of late",
        "%(author)s sent about %(count)s clean messages to %(recipient)s of late",
    ),
    "LOOKALIKE_COPY": "also sent to %(address)s: %(likeness)s",
    "LOOKALIKE_LINK_SHOWN": _SHOWN_AS,
    "LOOKALIKE_REPLY_TO": "answers go to %(address)s: %(likeness)s",
    "LOOKALIKE_REVERSE_PATH": "sent by %(likeness)s",
    "LOOKALIKE_SCRIPTS": "%(field)s: %(domain)s mixes alphabets",
    "MESSAGE_CUT_SHORT": (
        "more header than anybody reads",
        "a header field of more than 64 KiB",
        "too many addresses in a field",
        "more HTML than was read",
        "HTML elements nested too deep",
        "more links in the HTML than were read",
        "an HTML attribute longer than was read",
        "more links than were read",
        "more text than was read",
        "too many lines that look like boundaries",
        "too many texts in no known charset",
    ),
    "MESSAGE_HAS_NUL": "NUL characters",
    "MESSAGE_ID_INVALID": "Message-ID %(words)s has not the form <left@right>",
    "MESSAGE_ID_MISSING": "there is no Message-Id field",
    "MESSAGE_ID_NO_DOMAIN": "Message-ID <%(words)s> names no domain",
    "MESSAGE_ID_OURS": "Message-ID <%(words)s> claims to be made by %(host)s",
    "MIME_BOUNDARY_AMBIGUOUS": "a multipart names two boundaries",
    "MIME_BOUNDARY_MISSING": "a multipart without its boundary",
    "MIME_DUPLICATE_FIELD": "two Content-* fields that say different things",
    "MIME_ENCODING_UNKNOWN": "an unknown Content-Transfer-Encoding",
    "MIME_PART_AFTER_END": "a part behind the end of its multipart",
    "MIME_TOO_DEEP": "parts nested too deep to be honest",
    "MIME_TOO_MANY_PARTS": "too many parts to be honest",
    "MIME_TWO_FILENAMES": "a part is called %(name)s and %(other)s",
    "MIME_TYPE_MALFORMED": "a Content-Type that is none",
    "ORGANISATION_NAME_FREEMAIL": _OUR_NAME,
    "ORGANISATION_OFFICE_ELSEWHERE": _OUR_NAME,
    "ORIGIN_NO_MAIL": ("%(domain)s says that it takes no mail", "%(domain)s has neither an MX nor an address"),
    "ORIGIN_UNKNOWN_DOMAIN": "%(domain)s does not exist",
    "OWN_DOMAIN_SPOOF": "says it is from %(domain)s, came from outside and proves nothing",
    "PARTNER_DOMAIN_UNPROVEN": "says it is from your partner %(domain)s and proves nothing",
    "PERSON_NAME_DISGUISED": "the name is written with foreign or invisible letters",
    "PERSON_NAME_IN_ADDRESS": "%(address)s is made of the name of %(person)s",
    "PERSON_NAME_REPLY_TO": "answers go to “%(words)s” at %(address)s, but that is %(person)s",
    "RDNS_GENERIC": "%(name)s is the name of an access line, not of a mail server",
    "RDNS_NONE": "%(ip)s has no reverse DNS name",
    "RDNS_UNCONFIRMED": ("%(ip)s: the name does not lead back", *_IPREV),
    "REPLY_TO_ELSEWHERE": _ANSWERS,
    "REPLY_TO_FREEMAIL": _ANSWERS,
    "REPLY_TO_OTHER_FREEMAIL": _ANSWERS,
    "REVERSE_PATH_OTHER_DOMAIN": "sent by %(domain)s for %(author)s",
    "SENDER_OTHER_DOMAIN": "%(domain)s says that it sends for %(author)s, which is not proven",
    "SENDER_RATE_HIGH": (
        "%(count)s messages of the client's network today, %(past_count)s a day before",
        "%(count)s messages of %(author)s today, %(past_count)s a day before",
    ),
    "SMTP_BARE_LINE_END": "CR or LF stood alone in the message; they were made line ends",
    "SMTP_EARLY_TALKER": "the client spoke before it was greeted",
    "SMTP_NUL": "the message held NUL characters, which were taken out",
    "SMTP_PIPELINED_EARLY": "the client did not wait for a reply where it must (RFC 2920)",
    "SUBJECT_EMPTY": "the subject is empty",
    "SUBJECT_FALSE_REPLY": "“%(words)s” answers nothing: no thread, no quotation",
    "SUBJECT_HAS_LOCAL_PART": "the subject holds %(address)s",
    "SUBJECT_MISSING": "there is no Subject field",
    "TEXT_DIRECTION_OVERRIDE": "the text turns the reading direction",
    "TEXT_FANCY_LETTERS": "words are written in letters made for decoration",
    "TEXT_INVISIBLE_IN_WORDS": "%(count)s invisible characters inside Latin words",
    "TEXT_MIXED_SCRIPT_WORDS": "“%(words)s” mixes alphabets",
    "TO_IS_AUTHOR": "the message says it is from and to the same address",
    "TO_MISSING": "no field names a recipient",
    "TO_UNDISCLOSED": "To says %(words)s",
    **dict.fromkeys(("PHISH_SIGNATURE", "UNWANTED_SIGNATURE", "VIRUS_FOUND"), "ClamAV knows %(value)s"),
    "URL_DOMAIN_NEW": "link to %(value)s, a domain first seen here less than a day ago",
    "URL_TEXT_MISMATCH": _SHOWN_AS,
    **dict.fromkeys(("ARC_FAIL", "ARC_PASS", "ARC_TRUSTED"), _ARC),
    **dict.fromkeys(
        ("DMARC_FAIL_NONE", "DMARC_FAIL_OVERRIDDEN", "DMARC_FAIL_QUARANTINE", "DMARC_FAIL_REJECT"),
        ("%(domain)s did not send this", *_DMARC),
    ),
    **dict.fromkeys(
        (
            "FROM_AMBIGUOUS",
            "FROM_DOMAINS_SEVERAL",
            "FROM_ENCODED",
            "FROM_FIELDS_SEVERAL",
            "FROM_NOT_IN_DNS",
            "FROM_NO_ADDRESS",
        ),
        _AUTHOR,
    ),
    **dict.fromkeys(
        (
            "LOOKALIKE_EMBEDDED",
            "LOOKALIKE_LURE",
            "LOOKALIKE_NAME",
            "LOOKALIKE_TWIN",
            "LOOKALIKE_TYPO",
        ),
        _OF_AUTHOR,
    ),
    **dict.fromkeys(("LOOKALIKE_LINK", "LOOKALIKE_LINK_EMBEDDED", "LOOKALIKE_LINK_TWIN"), _LIKENESSES),
    **dict.fromkeys(
        ("PERSON_NAME_ELSEWHERE", "PERSON_NAME_FREEMAIL", "PERSON_NAME_SERVICE"),
        "“%(words)s” is %(person)s, but this comes from %(address)s",
    ),
    **{f"SPF_{result}": _SPF for result in "PASS FAIL SOFTFAIL NEUTRAL NONE PERMERROR TEMPERROR".split()},
    **{f"SPF_HELO_{result}": _SPF for result in "PASS FAIL SOFTFAIL PERMERROR".split()},
}
_WITHIN: Mapping[str, tuple[str, ...]] = {  # place -> the sentences that may stand in it
    **_REASONS,
    "fault": _FAULTS,
    "fields": ("Date and Subject",),
    "likeness": _LIKENESSES,
    "owner": ("your domain", "your partner's domain"),
    "slip": _SLIPS,
    "status": ("timeout", "servfail", "refused", "limit"),
}


def _several(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


SENTENCES = dict.fromkeys(chain(*map(_several, _EVIDENCE.values()), *_WITHIN.values(), _LISTED))


def evidence_text(name: str, line: str, tongue: Tongue = ENGLISH) -> str:
    """A line of this finding's evidence in the reader's words; "" when none in it are the gateway's."""
    said = _LISTED if name.startswith(("DNSBL_", "DNSWL_")) else _several(_EVIDENCE.get(name, ()))
    return _told(said, line, tongue)


def auth_text(method: str, reason: str, tongue: Tongue = ENGLISH) -> str:
    """AuthResult.reason in the reader's words; "" for what nobody of ours wrote."""
    return _told(_REASONS.get(method, ()), reason, tongue)


def _told(sentences: Iterable[str], line: str, tongue: Tongue) -> str:
    for one in sentences:
        values = read_back(one, line)
        if values is not None:
            return tongue.gettext(one) % {name: _value(name, said, tongue) for name, said in values.items()}
    return ""


def _value(name: str, said: str, tongue: Tongue) -> str:
    if name.endswith("count"):
        return tongue.number(said)
    return _told(_WITHIN.get(name, ()), said, tongue) or tongue.shown(said)
