"""An answer that came packed, though none was asked for: its bytes as they are meant."""

import zlib
from typing import Final

from proxy.core.errors import UpstreamUnreachable
from proxy.gateway.upstreams.base import UpstreamResponse

PACKED: Final = (b"content-encoding", b"gzip")
_GONE: Final = frozenset((b"content-encoding", b"content-length"))
_GZIP: Final = 16 + zlib.MAX_WBITS
_MOST_AT_ONCE: Final = 256 * 1024  # bytes: a small answer may unpack to any size


class Unpacked(UpstreamResponse):
    """What the answer says, piece by piece; nothing more is kept than came with one read."""

    def __init__(self, response: UpstreamResponse) -> None:
        self.status = response.status
        self.headers = [header for header in response.headers if header[0] not in _GONE]
        self.over = False
        self._response = response
        self._packed = b""
        self._unpacking = zlib.decompressobj(_GZIP)

    @property
    def ready(self) -> bool:
        """Whether ``read`` would not wait."""
        return bool(self._packed) or self._response.ready

    async def read(self) -> bytes:
        """The next bytes; what was cut off in the middle ends where it was cut."""
        while True:
            packed = self._packed or await self._response.read()
            if not packed:
                self.over = True
                return b""
            if self._unpacking.eof:  # one pack may follow another
                self._unpacking = zlib.decompressobj(_GZIP)
            try:
                data = self._unpacking.decompress(packed, _MOST_AT_ONCE)
            except zlib.error as error:
                raise UpstreamUnreachable("The answer can't be unpacked.") from error
            self._packed = self._unpacking.unconsumed_tail or self._unpacking.unused_data
            if data:
                return data

    async def aclose(self) -> None:
        """Close the answer."""
        await self._response.aclose()
