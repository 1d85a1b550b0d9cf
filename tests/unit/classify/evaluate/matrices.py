"""Made-up samples: some features of spam, some of ham, some of both."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from gateway.classify.features import SIZE, STARTS
from gateway.classify.train import Matrix


def make_matrix(*rows: tuple[str, bool, str, str], seed: int = 1) -> Matrix:
    """One sample for each (source, is_spam, date, language)."""
    draw = np.random.default_rng(seed)
    columns, bounds = [], [0]
    for _, is_spam, _, _ in rows:
        own = 100 if is_spam else 200
        found = {own + int(one) for one in draw.integers(0, 8, 4)} | {300 + int(one) for one in draw.integers(0, 8, 4)}
        found = {start + one for start in STARTS[:-1] for one in found}
        columns += sorted(found)
        bounds.append(len(columns))
    values = np.full(len(columns), 0.4, np.float32)
    sources, labels, dates, languages = zip(*rows, strict=True)
    paths = np.array([f"{label}/{number}" for number, label in enumerate(labels)])
    matrix = csr_matrix((values, columns, bounds), shape=(len(rows), SIZE))
    return Matrix(matrix, np.array(labels), np.array(sources), paths, np.array(dates), np.array(languages))


def every_source(number: int = 60) -> Matrix:
    """So many of each source and class that the corpora have, dated from 2022 to 2024."""
    classes = [("spamassassin", True), ("spamassassin", False), ("phishing_pot", True), ("list_usrp_users", False)]
    rows = [
        (source, is_spam, f"{2022 + i % 3}-{1 + i % 12:02}-{1 + i % 28:02}T10:00:00", "fa" if i % 3 == 0 else "en")
        for i in range(number)
        for source, is_spam in classes
    ]
    return make_matrix(*rows)
