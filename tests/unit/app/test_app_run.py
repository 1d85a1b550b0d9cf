"""What `darban run` does before anything starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

# threads that hold memory at the same time; malloc_info(3) names each heap
THREADS = """
import ctypes, sys, threading
from gateway.app.run import share_one_heap
if sys.argv[1] == "one":
    share_one_heap()
held, there = [], threading.Barrier(5)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def hold():
    held.append(libc.malloc(ctypes.c_size_t(100_000)))
    there.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads:
    thread.start()
there.wait()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.parametrize(("asked", "is_one"), [("one", True), ("glibc's", False)])
def test_threads_share_a_heap(asked: str, is_one: bool) -> None:
    told = subprocess.run([sys.executable, "-c", THREADS, asked], capture_output=True, text=True, check=True).stdout
    assert (told.count("<heap nr=") == 1) == is_one
