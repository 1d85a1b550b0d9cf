"""What a client hears: the catalogue of replies (RFC 5321 §4.2.2, RFC 3463), and the ids of messages."""

from __future__ import annotations

import secrets
import time

from gateway.types import Reply

OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "OK")
RECIPIENT_OK = Reply(250, "2.1.5", "OK")
BYE = Reply(221, "2.0.0", "Bye")
CANNOT_VERIFY = Reply(252, "2.5.0", "Cannot verify here; try to send")
GO_AHEAD = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
OUR_FAULT = Reply(451, "4.3.0", "Temporary problem, please try again later")
TIMED_OUT = Reply(421, "4.4.2", "Idle too long, closing the connection")
SHUTTING_DOWN = Reply(421, "4.3.2", "Shutting down, please connect again")
TOO_BUSY = Reply(421, "4.7.0", "Too many connections, please try again later")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing the connection")
NO_ROOM_FOR_MORE = Reply(421, "4.3.1", "No room for more mail now, please try again later")
NO_ROOM = Reply(452, "4.3.1", "No room for this message now, please try again later")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients for one message, send the rest separately")
NOT_UNDERSTOOD = Reply(500, "5.5.2", "Command not understood")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
BAD_ARGUMENT = Reply(501, "5.5.4", "Argument not understood")
BAD_SENDER = Reply(501, "5.1.7", "Bad reverse-path syntax")
BAD_RECIPIENT = Reply(501, "5.1.3", "Bad forward-path syntax")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
SAY_HELLO_FIRST = Reply(503, "5.5.1", "Say EHLO or HELO first")
NESTED_MAIL = Reply(503, "5.5.1", "A transaction is open already")
NEED_MAIL = Reply(503, "5.5.1", "MAIL first")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
NEEDS_SMTPUTF8 = Reply(550, "5.6.7", "A non-ASCII address needs SMTPUTF8")  # RFC 6531 §3.5
NO_RELAY_TRICKS = Reply(550, "5.7.1", "No relaying through the local part")
TOO_LARGE = Reply(552, "5.3.4", "Message exceeds the size limit")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognized")
BARE_LINE_ENDS = Reply(550, "5.5.2", "CR or LF alone in the message; lines end in CRLF (RFC 5321 2.3.8)")
NUL_BYTES = Reply(550, "5.6.0", "NUL in the message (RFC 5322 3.5)")
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The header exceeds the size limit")
FIELD_TOO_LARGE = Reply(552, "5.3.4", "A header field exceeds the size limit")
TOO_MANY_FIELDS = Reply(550, "5.6.0", "Too many header fields")
TOO_EARLY = Reply(554, "5.5.0", "Protocol error: wait for the reply before you go on")  # RFC 2920, 5321 §4.3.1
TOO_MUCH_IDLING = Reply(421, "4.7.0", "Too many commands without a message, closing the connection")
TOO_MANY_REFUSED = Reply(421, "4.7.1", "Too many recipients refused, closing the connection")
TOO_LONG_HERE = Reply(421, "4.4.2", "Connected for too long, please connect again")
CHUNK_FIRST_FAILED = Reply(503, "5.5.1", "The message failed already, RSET first")
NO_MIXING = Reply(503, "5.5.1", "BDAT has begun: go on with BDAT or RSET")  # RFC 3030 §2
NOT_SMTP = Reply(554, "5.5.1", "This is SMTP")
NO_TLS = Reply(502, "5.5.1", "TLS is not offered")

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no letter is mistaken for another


def line(reply: Reply) -> bytes:
    """The reply as it goes over the wire; its text cannot begin another line."""
    text = reply.text[:400]
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if " " <= char <= "~" else "?" for char in text)
    enhanced = f"{reply.enhanced} " if reply.enhanced else ""
    return f"{reply.code} {enhanced}{text}\r\n".encode("ascii")


def new_queue_id() -> str:
    """14 characters, in the order of time to a millisecond, then 25 random bits."""
    number = (int(time.time() * 1000) & ((1 << 45) - 1)) << 25 | secrets.randbits(25)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(65, -1, -5))
