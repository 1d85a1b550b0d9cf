"""What lasts: quarantine, blobs, message log, accounts, counters. Blocking, thread-safe; every fault is a StoreError.

Engines are made after a fork, never before. Every implementation of a port passes the same suite in tests/contract/.
"""
