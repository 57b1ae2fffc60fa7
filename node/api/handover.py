"""The control listener's part in a change of the committee: the only requests that change anything.

They are for the operator's own tools: a page in a browser on this machine cannot send them, since
they must come as JSON and without an origin, and the browser asks for leave first, in vain.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct

from node.api.answers import ApiError, json_response, query_of
from node.errors import OperatorError
from node.handover_control import HandoverControl
from node.network_file import NETWORK_FILE_BYTES_MAX


class _Approval(Struct, frozen=True, forbid_unknown_fields=True):
    configuration: Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{64}\Z")]


def add_handover(app: web.Application, control: HandoverControl) -> None:
    """Add the paths under /v1/handover."""

    async def status(request: web.Request) -> web.Response:
        query_of(request)
        return json_response(control.status())

    async def propose(request: web.Request) -> web.Response:
        return await _answer(control.propose, await _body(request))

    async def approve(request: web.Request) -> web.Response:
        try:
            approval = msgspec.json.decode(await _body(request), type=_Approval)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(
                400, "malformed", f"not an approval: {error}", "send a configuration's hash"
            ) from None
        return await _answer(control.approve, bytes.fromhex(approval.configuration[2:]))

    app.router.add_get("/v1/handover", status)
    app.router.add_post("/v1/handover/propose", propose)
    app.router.add_post("/v1/handover/approve", approve)


async def _body(request: web.Request) -> bytes:
    if request.content_type != "application/json" or hdrs.ORIGIN in request.headers:
        raise ApiError(
            415, "not_a_tool", "this is for the operator's tools", "use `didyma committee`"
        )
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > NETWORK_FILE_BYTES_MAX:
            raise ApiError(413, "too_long", "the file is too long", "check which file it is")
    return bytes(body)


async def _answer(ask: Callable[[bytes], dict[str, object]], argument: bytes) -> web.Response:
    try:
        # Proofs of many members take a while.
        return json_response(await asyncio.to_thread(ask, argument))
    except OperatorError as error:
        raise ApiError(409, "refused", str(error), "see `didyma committee status`") from None
