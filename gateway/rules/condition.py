"""What stands behind `if` and `ifplugin`: version, plugin(), has(), can(), numbers and operators (Conf, `if`)."""

from __future__ import annotations

import re
from collections.abc import Collection

from gateway.rules import expression
from gateway.rules.plugins import FEATURES, full_name

VERSION = 4.000001  # of the language, as x.yyyzzz
_PERL_VERSION = 5.036  # whose regular expressions are read
_CALL = re.compile(r"\b(plugin|has|can)\s*\(\s*([\w:]+)\s*\)", re.ASCII)
_WORDS = {
    "version": str(VERSION),
    "perl_version": str(_PERL_VERSION),
    "local_tests_only": "0",
}
_WORD = re.compile(r"\b(?:version|perl_version|local_tests_only)\b", re.ASCII)


def holds(condition: str, plugins: Collection[str], compatible: Collection[str] = ()) -> bool:
    """Whether the lines below count. `compatible`: names set by enable_compat. Raises ValueError in words."""

    def call(match: re.Match[str]) -> str:
        if match[1] == "plugin":
            return " 1 " if full_name(match[2]) in plugins else " 0 "
        return " 1 " if match[2] in FEATURES or match[2].removeprefix(_COMPATIBLE) in compatible else " 0 "

    text = _WORD.sub(lambda match: _WORDS[match[0]], _CALL.sub(call, condition))
    try:
        node = expression.parse(text)
    except ValueError as error:
        raise ValueError(f"condition {str(error).removeprefix('meta: ')}") from None
    if expression.names(node):
        raise ValueError(f"condition: {', '.join(sorted(expression.names(node)))[:60]} is not known")
    return bool(expression.evaluate(node, {}))


_COMPATIBLE = "Mail::SpamAssassin::Conf::compat_"
