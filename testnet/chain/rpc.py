"""JSON-RPC 2.0 as such: requests, batches, errors and their codes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

REQUEST_BYTES_MAX: Final = 1 << 20
BATCH_MAX: Final = 100
BRACKETS_MAX: Final = 4_096
"""Of a whole request: bounds its depth far below what the C stack bears."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
REVERTED: Final = 3

Method = Callable[[list[Any]], Awaitable[object]]


class RpcError(Exception):
    """An error that the caller is told: code, text, and data if there is any."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def _failure(identifier: object, error: RpcError) -> dict[str, object]:
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": identifier, "error": body}


async def answer(body: bytes, methods: Mapping[str, Method]) -> bytes:
    """Answer a request or a batch; empty if there was nothing but notifications."""
    if body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        error = RpcError(INVALID_REQUEST, f"more than {BRACKETS_MAX} lists and objects")
        return msgspec.json.encode(_failure(None, error))
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        error = RpcError(PARSE_ERROR, "the request is not JSON")
        return msgspec.json.encode(_failure(None, error))
    if not isinstance(request, list):
        response = await _answer_one(request, methods)
        return b"" if response is None else msgspec.json.encode(response)
    if not 1 <= len(request) <= BATCH_MAX:
        error = RpcError(INVALID_REQUEST, f"a batch has 1 to {BATCH_MAX} requests")
        return msgspec.json.encode(_failure(None, error))
    answers = await asyncio.gather(*(_answer_one(one, methods) for one in request))
    responses = [one for one in answers if one is not None]
    return msgspec.json.encode(responses) if responses else b""


async def _answer_one(request: object, methods: Mapping[str, Method]) -> dict[str, object] | None:
    if not isinstance(request, dict):
        return _failure(None, RpcError(INVALID_REQUEST, "a request is a JSON object"))
    identifier = request.get("id")
    name, params = request.get("method"), request.get("params", [])
    try:
        if not isinstance(name, str) or isinstance(identifier, dict | list):
            raise RpcError(INVALID_REQUEST, "a request has a method and an id")
        if not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "params must be a list")
        method = methods.get(name)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {name[:80]} does not exist here")
        result = await method(params)
    except RpcError as error:
        return _failure(identifier, error)
    except ValueError as error:
        return _failure(identifier, RpcError(INVALID_PARAMS, str(error)))
    except Exception as error:
        # The server goes on: one request's trouble is that request's alone.
        return _failure(identifier, RpcError(INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
    return {"jsonrpc": "2.0", "id": identifier, "result": result} if "id" in request else None
