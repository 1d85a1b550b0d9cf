"""The `darban` command: errors in one line; exit status 0, 1 (found something) or 2 (bad input)."""

from __future__ import annotations

import sys

from gateway.errors import DarbanError


def main() -> None:
    """Run the command line."""
    from gateway.cli import app

    try:
        app(prog_name="darban")
    except DarbanError as error:
        sys.stderr.write(f"darban: {error}\n")
        sys.exit(2)
    except BrokenPipeError:  # `darban scan ... | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
