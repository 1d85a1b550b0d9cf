"""Darban, the doorkeeper in front of a mail server: an inbound spam and security gateway."""

__version__ = "0.1.0"
