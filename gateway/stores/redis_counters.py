"""Named counters that expire, in Redis (or Valkey): one memory of senders for several gateways.

Nothing of custody lies here: who was served at an earlier try is written to the database, with its commit. A Redis that
loses its keys costs what was remembered of senders, and no message.

Many keys are added by one script: all of them or none, and one command to pack instead of two for each (1,000 keys:
2.5 ms of our CPU, a pipeline 21).
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, cast

from gateway.errors import ConfigError, StoreError

WITHIN_S = 1.0  # to connect, and for a reply
_CHUNK = 500  # keys of one command: nobody else waits for more than a millisecond
_PAGE = 1000
_PREFIX = b"darban:"
_GLOB = str.maketrans({one: f"\\{one}" for one in "*?[]\\^-"})

_ADD = """
for at, key in ipairs(KEYS) do
    redis.call('INCRBYFLOAT', key, ARGV[at + 1])
    redis.call('PEXPIRE', key, ARGV[1])
end
return redis.call('GET', KEYS[#KEYS])
"""


def open_redis(url: str, password: str = "") -> RedisCounters:
    """Connects when first used.

    Args:
        url: redis://[USER@]HOST[:PORT][/DATABASE], rediss:// over TLS, unix:///PATH.

    Raises ConfigError when that is not what it is, or the client is not installed.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigError("[storage] redis: its client is not installed: pip install 'darban[redis]'") from None
    try:
        client = Redis.from_url(
            url,
            **({"password": password} if password else {}),
            socket_timeout=WITHIN_S,
            socket_connect_timeout=WITHIN_S,
            retry=Retry(NoBackoff(), 0),  # what was sent may have been done: adding it again is the caller's to decide
            client_name="darban",
        )
        client.connection_pool.make_connection()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"[storage] redis: {error}") from None
    return RedisCounters(client)


class RedisCounters:
    """Implements ports.Counters."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._script = client.register_script(_ADD)

    def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add and return the new value; an expired counter begins at zero."""
        with _faults():
            return self._add({key: amount}, ttl_s)

    def get(self, key: str) -> float:
        """0.0 when there is none, or it expired."""
        return self.get_many((key,)).get(key, 0.0)

    def add_many(self, amounts: Mapping[str, float], ttl_s: float) -> None:
        """All of some hundreds, or none of them."""
        items = list(amounts.items())
        with _faults():
            for start in range(0, len(items), _CHUNK):
                self._add(dict(items[start : start + _CHUNK]), ttl_s)

    def peek_many(self, _keys: Sequence[str]) -> Mapping[str, float] | None:
        """Never: it is a network away."""
        return None

    def get_many(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Those that there are and that have not expired."""
        found: dict[str, float] = {}
        with _faults():
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                values = self._client.mget([_stored(key) for key in chunk])
                found.update((key, float(value)) for key, value in zip(chunk, values, strict=True) if value is not None)
        return found

    def remove(self, keys: Sequence[str]) -> int:
        """How many there were."""
        gone = 0
        with _faults():
            for start in range(0, len(keys), _CHUNK):
                gone += self._client.unlink(*map(_stored, keys[start : start + _CHUNK]))
        return gone

    def prune(self, prefix: str, keep: int) -> int:
        """Looks at every key where there are more than `keep` in all: for once an hour. 16 bytes of memory for each."""
        import numpy as np

        with _faults():
            if self._client.dbsize() <= keep:
                return 0
            values = array("d", (value for _, page in self._pages(prefix) for value in page))
            surplus = len(values) - keep
            if surplus <= 0:
                return 0
            most = np.partition(np.frombuffer(values), surplus - 1)[surplus - 1]
            gone = 0
            for keys, page in self._pages(prefix):
                least = list(compress(keys, (value <= most for value in page)))[: surplus - gone]
                gone += self._client.unlink(*least) if least else 0
            return gone

    def _add(self, amounts: Mapping[str, float], ttl_s: float) -> float:
        said = [str(max(1, round(ttl_s * 1000))), *(repr(float(amount)) for amount in amounts.values())]
        return float(cast("bytes", self._script(keys=[*map(_stored, amounts)], args=said)))

    def _pages(self, prefix: str) -> Iterator[tuple[list[bytes], list[float]]]:
        cursor = 0
        while True:
            cursor, keys = self._client.scan(cursor, _PREFIX + prefix.translate(_GLOB).encode() + b"*", _PAGE)
            values = self._client.mget(keys) if keys else ()
            yield keys, [float("inf") if value is None else float(value) for value in values]  # one expired meanwhile
            if not cursor:
                return


def _stored(key: str) -> bytes:
    return _PREFIX + key.encode("utf-8", "surrogatepass")


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    from redis import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreError(f"counters: redis: {type(error).__name__}: {str(error)[:200]}") from error
