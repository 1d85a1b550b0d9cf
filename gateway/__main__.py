"""The `darban` command: errors in one line; exit status 0, 1 (found something) or 2 (bad input)."""

from __future__ import annotations

import sys

from typer import Abort
from typer.exceptions import TyperException

from gateway.errors import DarbanError


def main() -> None:
    """Run the command line."""
    from gateway.cli import app

    try:
        sys.exit(app(prog_name="darban", standalone_mode=False))
    except DarbanError as error:
        _fail(str(error))
    except TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "darban")
        _fail(f"{error.format_message().rstrip('.')}; see {where} --help" if error.format_message() else "")
    except Abort:
        _fail("nothing was done: no answer was given")
    except BrokenPipeError:  # `darban scan ... | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a disk that is full, a folder that may not be written
        _fail(f"{error.filename or 'output'}: {error.strerror}")


def _fail(message: str) -> None:
    """Bad input: say it and leave. Without a message the command has printed its help."""
    if message:
        sys.stderr.write(f"darban: {' '.join(message.split())}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
