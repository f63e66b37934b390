"""``/admin/v1/spend``: what was spent, by whom and on what."""

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.admin.deps import AdminDeps
from proxy.admin.queries import SpendRequest
from proxy.admin.shapes import Page
from proxy.store.clock import now_us
from proxy.store.reports import SpendQuery, SpendRow, read_groups


def routes(deps: AdminDeps) -> APIRouter:
    """The routes over the deps."""
    router = APIRouter(tags=["spend"])

    @router.get("/spend")
    async def spend(query: Annotated[SpendRequest, Query()]) -> Page[SpendRow]:
        """What was spent in groups, the dearest first; in the order of time where that is a group.

        A call with several tags counts in the group of each.
        """
        await deps.settled()
        since, until = query.bounds(now_us())
        wanted = SpendQuery(
            read_groups(query.group_by), since, until, query.team, query.model, query.upstream
        )
        page = await deps.records.spend(wanted, query.limit, query.cursor)
        return Page(items=page.items, next_cursor=page.next_cursor)

    return router
