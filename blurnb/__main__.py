"""`python -m blurnb`: the command line, with every error as one line and an exit code."""

import os
import sys

import typer

from blurnb.commands import app
from blurnb.errors import UserError


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit code 2; runs that failed are exit code 1."""
    try:
        code = app(standalone_mode=False)  # what typer.Exit was given
        sys.stdout.flush()
        if code:
            sys.exit(code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (typer.Exit, SystemExit) as end:
        sys.exit(getattr(end, "exit_code", getattr(end, "code", 0)))
    except KeyboardInterrupt:
        print("interrupted; what was computed is kept, run the same command to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read the answer has seen enough
        _drop_stdout()
        sys.exit(141)
    except OSError as error:
        print(f"error: {UserError(f'{error.filename or sys.stdout.name}: {error.strerror or error}')}", file=sys.stderr)
        _drop_stdout()
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "show"):  # a wrong command or option, which typer explains itself
            raise
        error.show()
        sys.exit(2)


def _drop_stdout() -> None:
    """What could not be printed would be tried again, and complained about, when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
