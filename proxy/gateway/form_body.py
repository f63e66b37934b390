"""Takes a multipart body in, beside the memory: nothing of it goes upstream before it is reserved for.

What a call costs stands in fields that may come after a file of many megabytes, and in the file itself.
So all of it is read first, the beginning into memory and more into a file without a name, which is gone
with the call; then it can be sent, and sent again.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Final, Protocol, runtime_checkable

from proxy.gateway.active import ActiveCall
from proxy.gateway.dialects.base import Address, Dialect, Patch, RequestFacts
from proxy.gateway.dialects.form import Form, FormEdits, boundary_of
from proxy.gateway.inbound import too_large

_IN_MEMORY: Final = 1024 * 1024  # bytes
_FORM: Final = b"multipart/form-data"


@runtime_checkable
class FormDialect(Dialect, Protocol):
    """A dialect whose requests may be forms."""

    def inspect_form(self, form: Form, address: Address) -> RequestFacts:
        """As ``inspect``. Called in a thread: it may look at files."""

    def patch_form(self, form: Form, patch: Patch) -> FormEdits:
        """As ``patch``."""


def address_of(call: ActiveCall) -> Address:
    """Where a call went."""
    inbound, way = call.inbound, call.way
    known: Address | None = inbound.head.derived.get(Address)
    if known is not None:
        return known
    content_type = inbound.text(b"content-type").partition(";")[0].strip().lower()
    address = Address(inbound.path, inbound.query, content_type, way.model, way.action)
    inbound.head.derived[Address] = address
    return address


def takes_form(call: ActiveCall) -> bool:
    """Whether a call's body is a form, and its dialect takes one."""
    return call.inbound.values.get(b"content-type", b"")[:19].lower() == _FORM and (
        call.way.metered and isinstance(call.way.dialect, FormDialect)
    )


def close_form(call: ActiveCall) -> None:
    """Give up the form's file, where there is one."""
    if isinstance(call.body, Form):
        call.body.close()


async def _take(body: AsyncIterator[bytes], file: IO[bytes], limit: int) -> int:
    """Write all of it; how much it was. Raises RequestTooLarge."""
    size = 0
    async for part in body:
        size += len(part)
        if size > limit:
            raise too_large(limit)
        file.write(part)
    return size


async def read_form(call: ActiveCall, whole: bytes | None) -> None:
    """Read the form, and what it asks for. Raises InvalidRequest, RequestTooLarge.

    ``whole`` is all of it, where that has come already.
    """
    limit = call.config.limits.max_body_bytes
    boundary = boundary_of(call.inbound.text(b"content-type"))
    if (call.inbound.length() or 0) > limit:
        raise too_large(limit)
    body = await call.inbound.read_or_stream(limit, whole=False) if whole is None else whole
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed with the call
    try:
        size = file.write(body) if isinstance(body, bytes) else await _take(body, file, limit)
        dialect, address = call.way.dialect, address_of(call)
        assert isinstance(dialect, FormDialect)  # noqa: S101 - asked by the caller

        def look() -> tuple[Form, RequestFacts]:
            form = Form(file, size, boundary)
            return form, dialect.inspect_form(form, address)

        call.body, call.facts = await asyncio.to_thread(look)
        call.address = address
    except BaseException:  # whatever ends the call here, nobody else knows of the file
        file.close()
        raise
