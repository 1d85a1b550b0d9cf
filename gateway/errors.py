"""The gateway's exceptions: faults and bad input only. Protocol outcomes (temperror, 550 ...) are values."""

from __future__ import annotations


class DarbanError(Exception):
    """Base of all. Its text is one line a person can act on: what, where, what to do."""


class ConfigError(DarbanError):
    """An operator's file (configuration, rules, model manifest) is wrong. Names the file and, where known, the line."""


class InputError(DarbanError):
    """A command was given something it cannot use (exit status 2)."""


class StoreError(DarbanError):
    """A store could not do what was asked; nothing was half done. The client hears 451."""


class NextHopError(DarbanError):
    """The next hop could not be asked at all (no connection, time out, broken dialogue). The client hears 451."""


class ScorerError(DarbanError):
    """No verdict could be had. The client hears 451."""


class MailboxError(DarbanError):
    """A mailbox could not be looked at now. Its text is the server's, or the connection's."""


class SignInError(DarbanError):
    """The directory or the issuer could not be asked, or said what it must not. Its text is for the log."""
