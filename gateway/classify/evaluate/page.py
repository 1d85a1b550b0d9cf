"""The words and the style of the report."""

from __future__ import annotations

PROTOCOLS = {
    "model": "A given model on these corpora. Sources it was trained on, which its card names, flatter it.",
    "half": "A message trains or tests by the hash of its file name: other mail of the same collectors.",
    "across": "Trained on some sources, tested on others; then each source left out in turn. A source of one class is "
    "ranked against messages of the others' test halves, which did not train.",
    "time": "Trained on what came before, tested on what came after.",
}
ONLINE = (
    "Messages in the order they came, each judged before anybody says what it was. Ham flagged and spam missed are at "
    "even odds. “Caps” limit what people can teach in a day; without them a lesson moves the model as far as it asks."
)
CASES = "Messages written for what filters get wrong. Right means: spam flagged, ham left alone."
_READING = (
    "(1-AUC)% is how often, of a hundred pairs, a ham scores above a spam: smaller is better. Recall is the share of "
    "spam above the score that so few of the tested ham exceed. In brackets are 95 % intervals: by bootstrap for "
    "rankings, Wilson’s for shares. The fixed threshold was decided without the tested mail: it is what 0.1 % of "
    "held-out training ham exceeds. Log-loss, Brier score and expected calibration error (ECE) depend on the share of "
    "spam in a corpus, which is not that of a mailbox."
)

_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e7eaee); --soft: light-dark(#5b6570, #a3adb8);
  --edge: light-dark(#d8dee4, #38404a); --paper: light-dark(#f6f7f9, #14171b); --card: light-dark(#fff, #1d2127);
  --line-0: light-dark(#0b5fae, #7cb8f2); --line-1: light-dark(#b3261e, #ff9b92);
  --line-2: light-dark(#1b6e3c, #7fd6a0); --line-3: light-dark(#8a5a00, #f0c060);
  --line-4: light-dark(#6b3fa0, #c9a6f5); --line-5: light-dark(#00707a, #6fd3dc);
  --line-6: light-dark(#a02f72, #f29ac8); --line-7: light-dark(#5b6570, #a3adb8);
  font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin-top: 1.8rem; }
p { max-width: 48rem; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--edge); margin: .8rem 0;
  font-size: .85rem; }
td, th { padding: .35rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--edge);
  font-variant-numeric: tabular-nums; }
th { color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; background: var(--card); border: 1px solid var(--edge); padding: .6rem;
  box-sizing: border-box; }
figcaption { color: var(--soft); font-size: .85rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 10px; fill: var(--soft); }
.grid { stroke: var(--edge); stroke-width: .6; }
.line { fill: none; stroke: var(--line); stroke-width: 1.6; }
.even { fill: none; stroke: var(--soft); stroke-width: .8; stroke-dasharray: 4 4; }
.dot { fill: var(--line); }
figure ul { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .3rem 0 0; padding: 0;
  font-size: .8rem; }
figure li::before { content: "\\25A0"; color: var(--line); margin-right: .3rem; }
@media (max-width: 48rem) {
  table, tbody, tr, td { display: block; } thead { display: none; } tr { padding: .5rem 0; }
  tr + tr { border-top: 2px solid var(--edge); }
  td { border: 0; padding: .1rem .6rem; display: flex; gap: .6rem; overflow-wrap: anywhere; }
  td::before { content: attr(data-is); color: var(--soft); flex: 0 0 42%; }
}
"""


def whole(body: str) -> str:
    """The document around what was measured."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of the classifier</title><style>{_STYLE}</style></head>"
        f"<body><h1>Evaluation of the classifier</h1><p>{_READING}</p>{body}</body></html>\n"
    )
