"""Training on a Dask cluster of two processes: the bytes of the model are those made without it, workers may die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from benchmarks.mail import made_up
from gateway.classify import cluster, corpus, descent, rows, train
from gateway.classify.cluster import DaskWorkers
from gateway.classify.workers import LocalWorkers, Workers
from gateway.errors import InputError


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit="1GiB") as running:
        yield running.scheduler_address


@pytest.fixture
def corpora(tmp_path: Path) -> dict[str, Path]:
    for sample in made_up(240):
        place = tmp_path / "own" / ("spam" if sample.is_spam else "ham") / f"{sample.path}.eml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(sample.content)
    return corpus.sources([tmp_path])


def trained(corpora: dict[str, Path], folder: Path, workers: Workers) -> bytes:
    folder.mkdir()
    fitted = train.fit_shards(train.extract_shards(corpora, folder, workers), workers)
    return fitted.weights.tobytes() + repr((fitted.bias, fitted.slope, fitted.offset)).encode()


@pytest.mark.parametrize("limit", [train.IN_MEMORY, 0])
def test_the_model_is_the_same_with_and_without_it(
    address: str, corpora: dict[str, Path], tmp_path: Path, monkeypatch, limit: int
) -> None:
    monkeypatch.setattr(train, "IN_MEMORY", limit)
    monkeypatch.setattr(rows, "SHARD_ROWS", 100)
    monkeypatch.setattr(descent, "MAX_STEPS", 6)
    alone = trained(corpora, tmp_path / "alone", LocalWorkers(1))
    with DaskWorkers(address) as workers:
        assert trained(corpora, tmp_path / "together", workers) == alone


def one_of(workers: DaskWorkers) -> int:
    return min(workers._client.run(os.getpid).values())


def slow(number: int, more: int = 0) -> int:
    time.sleep(0.05)
    return number + more


def test_what_a_dead_worker_computed_is_computed_again(address: str) -> None:
    with DaskWorkers(address) as workers:
        results = workers.stream(slow, range(20))
        assert next(results) == 0
        os.kill(one_of(workers), signal.SIGKILL)
        assert list(results) == list(range(1, 20))


def test_what_a_dead_worker_held_is_sent_again(address: str) -> None:
    loaded: list[int] = []
    loaders = [lambda number=number: loaded.append(number) or number for number in range(8)]
    with DaskWorkers(address) as workers:
        assert list(workers.over(loaders, slow, 10)) == list(range(10, 18))
        assert list(workers.over(loaders, slow, 20)) == list(range(20, 28))
        assert loaded == list(range(8))  # a shard stays where it is
        killer = threading.Timer(0.1, os.kill, (one_of(workers), signal.SIGKILL))
        killer.start()
        assert list(workers.over(loaders, slow, 30)) == list(range(30, 38))
        killer.join()
    assert len(loaded) > 8


def test_only_some_work_is_on_the_way(address: str) -> None:
    taken: list[int] = []
    with DaskWorkers(address) as workers:
        results = workers.stream(slow, (taken.append(number) or number for number in range(100)))
        assert next(results) == 0
        assert len(taken) < 10
        results.close()  # type: ignore[attr-defined]


def test_nobody_answers(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.2)
    with pytest.raises(InputError, match=r"--dask tcp://127.0.0.1:9: no scheduler answers there"):
        DaskWorkers("tcp://127.0.0.1:9")
    with pytest.raises(InputError, match=r"--dask nowhere://x: no scheduler answers there"):
        DaskWorkers("nowhere://x")


def test_a_cluster_without_workers(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    with LocalCluster(n_workers=0, dashboard_address=":0") as empty, pytest.raises(InputError, match="has no workers"):
        DaskWorkers(empty.scheduler_address)


def test_a_cluster_that_loses_all_its_workers(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_ATTEMPTS", 2)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as running:
        with DaskWorkers(running.scheduler_address) as workers:
            running.scale(0)
            monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
            while workers._client.nthreads():
                time.sleep(0.05)
            with pytest.raises(InputError, match="no workers left"):
                list(workers.over([lambda: 1], slow, 2))


def test_workers_of_another_version_are_refused(address: str, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "VERSION", -1)
    with pytest.raises(InputError, match=r"has not darban .* install the same"):
        DaskWorkers(address)


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_work_that_kills_every_worker_is_given_up() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as running:
        with DaskWorkers(running.scheduler_address) as workers, pytest.raises(InputError, match="workers died"):
            list(workers.stream(die, [1]))
