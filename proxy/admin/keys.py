"""``/admin/v1/keys``: who may call."""

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.admin.deps import AdminDeps
from proxy.admin.queries import Paged
from proxy.admin.shapes import (
    KeyBody,
    KeyRow,
    NewKeyRow,
    Page,
    RotateBody,
    key_row,
    new_key_row,
)
from proxy.store.clock import now_us

ACTOR = "admin-api"


def routes(deps: AdminDeps) -> APIRouter:
    """The routes over the deps."""
    router = APIRouter(tags=["keys"])

    @router.get("/keys")
    async def list_keys(query: Annotated[Paged, Query()]) -> Page[KeyRow]:
        """Every key there ever was, by name, without its secret."""
        now = now_us()
        rows = sorted((key_row(k, now) for k in await deps.keys.list()), key=lambda row: row.name)
        if query.cursor is not None:
            rows = [row for row in rows if row.name > query.cursor]
        page = rows[: query.limit]
        return Page(items=page, next_cursor=page[-1].name if len(rows) > query.limit else None)

    @router.post("/keys", status_code=201)
    async def create_key(body: KeyBody) -> NewKeyRow:
        """Make a key. Its ``secret`` is in this answer and nowhere else."""
        return new_key_row(await deps.keys.create(body.request(), ACTOR), now_us())

    @router.post("/keys/{name_or_id}/rotate")
    async def rotate_key(name_or_id: str, body: RotateBody) -> NewKeyRow:
        """Give a key a new ``secret``, shown in this answer only; the old one works for the grace yet."""
        new = await deps.keys.rotate(name_or_id, ACTOR, body.grace_s)
        return new_key_row(new, now_us())

    @router.delete("/keys/{name_or_id}")
    async def revoke_key(name_or_id: str) -> KeyRow:
        """End a key for good, in every process within a second. Its calls keep its name."""
        return key_row(await deps.keys.revoke(name_or_id, ACTOR), now_us())

    return router
