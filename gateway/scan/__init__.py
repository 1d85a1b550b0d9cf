"""Bytes and envelope in, verdict out: the steps, the checks under one deadline, and the child processes that run them.

What listeners import from here (pool, frames, explain) is light; the pipeline, with rules and model, runs in scorers.
"""
