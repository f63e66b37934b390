"""``/admin/v1/calls``: what was called."""

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.admin.deps import AdminDeps
from proxy.admin.problems import Problem
from proxy.admin.queries import CallsQuery
from proxy.admin.shapes import Page
from proxy.core.present import CallRow
from proxy.store.rows import CallDetail


def routes(deps: AdminDeps) -> APIRouter:
    """The routes over the deps."""
    router = APIRouter(tags=["calls"])

    @router.get("/calls")
    async def list_calls(query: Annotated[CallsQuery, Query()]) -> Page[CallRow]:
        """Calls, the newest first."""
        await deps.settled()
        page = await deps.records.calls(query.filter(), query.limit, query.cursor)
        return Page(items=page.items, next_cursor=page.next_cursor)

    @router.get("/calls/{call_id}")
    async def one_call(call_id: str) -> CallDetail:
        """One call with its attempts, and the lines that its charge is made of."""
        await deps.settled()
        found = await deps.records.call(call_id)
        if found is None:
            raise Problem(
                404,
                "call_not_found",
                f"There is no call {call_id!r}. A call's row is written when it ends; its id is in the "
                "answer's header x-farebox-call-id.",
            )
        return found

    return router
