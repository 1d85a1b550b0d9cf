"""What a fit looks at: for each message the scores that may change, and the points of those that may not.

A score is a decision, and stays as its author wrote it, when labelled mail cannot tell what it should be. The words of
SpamAssassin for that are `tflags NAME net` (it takes a network), `userconf` (it takes the admin's configuration) and
`learn` (it takes a memory of its own); ours are `firm` (no harmless text takes it away) and `fixed` (for any other
reason). A rule that is off, or a part of metas alone, has no score to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.fitting.judged import Judged
from gateway.rules.rule import RuleFiles
from gateway.scan.conclude import CLASSIFIER, certainty

_DECIDED = frozenset(("net", "userconf", "learn", "firm", "fixed"))


@dataclass(frozen=True, slots=True)
class Table:
    """A row a message, a column a score that may change."""

    columns: Any  # (n_messages, n_scores) scipy CSR: 1 where it hit; CLASSIFIER's holds its certainty
    names: tuple[str, ...]  # sorted
    authored: NDArray[np.float64]  # (n_scores,) as the rule files say
    decided: NDArray[np.float64]  # (n_messages,) points of what else hit
    is_spam: NDArray[np.bool_]  # (n_messages,)
    sources: NDArray[np.str_]  # (n_messages,)

    def part(self, chosen: NDArray[Any]) -> Table:
        """Some of the messages, by mask or index."""
        return Table(
            self.columns[chosen],
            self.names,
            self.authored,
            self.decided[chosen],
            self.is_spam[chosen],
            self.sources[chosen],
        )

    def totals(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_messages,) the score of each message with these (n_scores,) scores."""
        return np.asarray(self.columns @ scores + self.decided)


def is_decided(name: str, files: RuleFiles) -> bool:
    """Whether its score is a decision."""
    return not _DECIDED.isdisjoint(files.tflags.get(name, ()))


def make_table(judged: Judged, files: RuleFiles) -> Table:
    """The classifier is a column among the others, without its "not spam" beside a firm hit, as in a verdict."""
    from scipy.sparse import csr_matrix, hstack

    scores = np.array([files.score(name) for name in judged.names])
    may_change = np.array([not is_decided(name, files) for name in judged.names], dtype=bool)
    is_firm = np.array(["firm" in files.tflags.get(name, ()) for name in judged.names], dtype=bool)
    opinion = np.array([certainty(one) for one in judged.probability.tolist()])
    opinion[(opinion < 0) & (_row_sums(judged.hits[:, is_firm]) > 0)] = 0.0
    names = [*np.array(judged.names)[may_change].tolist(), CLASSIFIER]
    order = np.argsort(names)
    columns = hstack([judged.hits[:, may_change], csr_matrix(opinion[:, None])]).tocsr()[:, order]
    return Table(
        columns,
        tuple(names[i] for i in order),
        np.append(scores[may_change], files.score(CLASSIFIER))[order],
        np.asarray(judged.hits[:, ~may_change] @ scores[~may_change]),
        judged.is_spam,
        judged.sources,
    )


def _row_sums(matrix: Any) -> NDArray[np.float64]:
    return np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
