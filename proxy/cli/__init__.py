"""The command ``farebox``. Exit codes: 0 it is well, 1 a problem was found, 2 configuration or usage."""


def main() -> None:
    """Run the command and end the process with its exit code."""
    from proxy.cli.root import run  # noqa: PLC0415 - whoever imports the package needs no command

    raise SystemExit(run())
