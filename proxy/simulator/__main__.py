"""``python -m proxy.simulator``: the simulated provider alone."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from proxy.simulator.app import API_KEY, create_app
from proxy.simulator.controls import Billing
from proxy.simulator.server import serve


def main(argv: list[str] | None = None) -> None:
    """Serve until a signal ends it; the first line of the output is the address."""
    options = _options(argv)
    uvloop.run(_run(options))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proxy.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--invoice", type=Path, help="append the invoice's lines to this file")
    parser.add_argument(
        "--key", action="append", help=f"take this key (default: {API_KEY}); may be repeated"
    )
    parser.add_argument("--any-key", action="store_true", help="take every key")
    parser.add_argument(
        "--bill-on-leave",
        type=Billing,
        choices=list(Billing),
        default=Billing.GENERATED,
        help="what a stream costs whose client left",
    )
    return parser.parse_args(argv)


async def _run(options: argparse.Namespace) -> None:
    app = create_app(
        api_keys=None if options.any_key else (options.key or [API_KEY]),
        invoice_file=options.invoice,
        bill_on_leave=options.bill_on_leave,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(app, host=options.host, port=options.port) as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    main()
