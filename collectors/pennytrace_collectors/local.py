"""The port of this user's own commands where the others have TLS: plain, on loopback, opened by a secret on disk."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pennytrace_collectors.receive.http import Page


def application(health: Page, sql: ASGIApp | None) -> ASGIApp:
    """Return the application that shows `/health`, and passes everything else to the SQL port, if there is one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            reply = health()
            response = Response(reply.body, reply.status, media_type=reply.content_type)
            await response(scope, receive, send)
        elif sql is not None:
            await sql(scope, receive, send)
        else:
            await Response("the SQL port is off\n", 404)(Request(scope).scope, receive, send)

    return answer
