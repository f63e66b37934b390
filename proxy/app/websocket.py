"""The server's end of a client's websocket: uvicorn's, which Farebox tells when it stops."""

import asyncio
import logging
from typing import Any, Final

import structlog
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from proxy.gateway.realtime.door import STOPPING

_log = structlog.get_logger("farebox.server")
_QUIET: Final = (
    "farebox.websocket"  # its words on each opening hold the address, with what is in it
)


class WebSocket(WebSocketsSansIOProtocol):
    """One websocket. A session ends with what is under way in it, not at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logging.getLogger(_QUIET)
        self.logger.setLevel(logging.CRITICAL)
        self._stopping = asyncio.Event()

    def shutdown(self) -> None:
        """The server stops: the session is to end, which closes this."""
        if self.handshake_complete and not self.close_sent:
            self._stopping.set()
        else:
            super().shutdown()

    async def run_asgi(self) -> None:
        """Run the application for this websocket."""
        self.scope[STOPPING] = self._stopping  # type: ignore[typeddict-unknown-key] # ours
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:  # noqa: BLE001 - logged whole; a defect ends one session, not the server
            # The traceback has no request data.
            _log.exception("defect_in_server", path=self.scope["path"])
            self.send_500_response()
        finally:
            if self.close_timer is None:
                self.transport.close()
