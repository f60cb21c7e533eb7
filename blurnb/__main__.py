"""`python -m blurnb`: the command line, with every error as one line and an exit code."""

import contextlib
import logging
import os
import signal
import sys
from typing import NoReturn

from blurnb.errors import UserError

NO_MEMORY = ("allocate memory", "failed to map segment", "start new thread", "not enough memory")
"""What libraries say, each in an exception of its own kind, where the memory or a limit on it ends."""
ADDRESSES = 4 << 30
"""Bytes of address space without which the libraries end, or hang, before they can say anything."""


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit code 2; runs that failed are exit code 1.

    Ctrl-C is exit code 130; a pipe that nobody reads any more is 141, as of any program that the signal ends.
    """
    _settle_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        _call()
        sys.stdout.flush()
    except UserError as error:
        _end(2, f"error: {error}")
    except KeyboardInterrupt:
        _end(130, "interrupted; what was computed is kept, run the same command to go on")
    except BrokenPipeError:  # whoever read the answer has seen enough
        _drop_stdout()
        _end(141)
    except OSError as error:
        _drop_stdout()
        _end(2, f"error: {UserError(f'{error.filename or sys.stdout.name}: {error.strerror or error}')}")
    except Exception as error:
        if hasattr(error, "show"):  # a wrong command or option, which typer explains itself
            error.show()
            _end(2)
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            _end(2, f"error: {UserError(f'out of memory ({error}); free some, or raise the limit (ulimit -v)')}")
        raise


def _call() -> None:
    with contextlib.suppress(ImportError):  # there is no such limit on Windows
        from resource import RLIMIT_AS, getrlimit

        if 0 <= (limit := getrlimit(RLIMIT_AS)[0]) < ADDRESSES:
            raise UserError(f"an address space of {limit >> 20:,} MB is too little; raise it (ulimit -v unlimited)")

    import typer  # here, so that Ctrl-C is told in a line from the first moment on

    from blurnb.commands import app

    command = typer.main.get_command(app)
    try:
        # not through its own main, which makes something else of Ctrl-C and of a pipe that nobody reads
        with command.make_context("blurnb", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as end:
        if end.exit_code:
            sys.exit(end.exit_code)


def _interrupt(*given: object) -> None:
    logging.getLogger("asyncio").disabled = True  # loops complain of what they lose when they are thrown away
    signal.default_int_handler(*given)


def _settle_streams() -> None:
    """Streams that were closed lead nowhere, and none fails for a letter that its encoding does not have."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")


def _end(code: int, line: str = "") -> NoReturn:
    with contextlib.suppress(OSError):  # nobody reads the errors either
        print(line, end="\n" * bool(line), file=sys.stderr, flush=True)
    sys.exit(code)


def _drop_stdout() -> None:
    """What could not be printed would be tried again, and complained about, when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
