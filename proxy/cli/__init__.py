"""The command ``farebox``. Exit codes: 0 it is well, 1 a problem was found, 2 configuration or usage."""

import gc

_IMPORTED = 50_000  # new objects between two looks for cycles


def main() -> None:
    """Run the command and end the process with its exit code."""
    # Modules stay: to look for cycles among them, hundreds of times, is a fifth of a command's start.
    gc.set_threshold(_IMPORTED)
    from proxy.cli.root import run  # noqa: PLC0415 - whoever imports the package needs no command

    raise SystemExit(run())
