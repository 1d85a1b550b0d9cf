"""Eval rules: functions by name."""

FUNCTIONS: dict[str, object] = {}


def refusal(function: str, arguments: tuple[str, ...]) -> str:
    """Why not."""
    return "" if function in FUNCTIONS else "not written yet"
