"""policy/token_bucket.py: as many as it says, and no more memory than it says."""

from __future__ import annotations

import pytest

from gateway.policy.token_bucket import TokenBuckets
from tests.fakes import FakeClock


@pytest.mark.parametrize(("number", "period_s"), [(60, 60.0), (3, 3600.0)])
def test_they_fill_again(number: int, period_s: float) -> None:
    clock = FakeClock()
    buckets = TokenBuckets(number, period_s, clock.now)
    assert [buckets.wait_s("a") for _ in range(number)] == [0.0] * number
    assert 0 < buckets.wait_s("a") <= period_s / number
    assert buckets.wait_s("b") == 0.0, "each has his own"
    clock.advance(period_s / number)
    assert buckets.wait_s("a") == 0.0 and buckets.wait_s("a") > 0


def test_memory_is_bounded() -> None:
    buckets = TokenBuckets(60, 60.0)
    for number in range(20_000):
        buckets.wait_s(str(number))
    assert len(buckets) == 10_000
