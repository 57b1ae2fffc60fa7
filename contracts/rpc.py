"""JSON-RPC to a chain, as the clients here need it: one async call that gives a result or raises.

Anything of that shape will do: a URL (`HttpRpc`), web3's `AsyncWeb3` (`web3_rpc`), or your own.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, Self, TypeVar

import aiohttp

Rpc = Callable[[str, list[Any]], Awaitable[Any]]
"""Calls a method with parameters; returns its result or raises `RpcRefused` or `RpcUnreachable`."""

ANSWER_BYTES_MAX: Final = 1 << 24
_MESSAGE_MAX: Final = 300
_CHUNK_BYTES: Final = 1 << 16
T = TypeVar("T")


class RpcUnreachable(Exception):
    """The server does not answer, or not with JSON-RPC: look at the URL, or try another server."""


class RpcRefused(Exception):
    """The server answered with an error; `data` is revert data, if there is any."""

    def __init__(self, method: str, code: int, message: str, data: bytes = b"") -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class _Web3(Protocol):
    """The part of `web3.AsyncWeb3` that is used."""

    @property
    def provider(self) -> Any:
        """The provider, which has an async `make_request`."""
        ...


class HttpRpc:
    """One server by its URL; use as an async context manager."""

    def __init__(self, url: str, *, timeout_s: float = 20) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connections."""
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close them."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def __call__(self, method: str, params: list[Any]) -> Any:
        """Return a method's result."""
        if self._session is None:
            raise RuntimeError("use HttpRpc as an async context manager: `async with HttpRpc(url)`")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self._session.post(
                self._url, json=request, allow_redirects=False
            ) as response:
                answer = await bounded_json(response, ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            # The URL may hold a key, so only the kind of error is told.
            raise RpcUnreachable(
                f"{method}: no answer ({type(error).__name__}); look at the URL of the RPC server"
            ) from None
        return result_of(method, answer)


def web3_rpc(web3: _Web3) -> Rpc:
    """Return calls through the provider of an `AsyncWeb3`, whose life is the caller's matter."""

    async def call(method: str, params: list[Any]) -> Any:
        return result_of(method, await web3.provider.make_request(method, params))

    return call


def result_of(method: str, answer: Any) -> Any:
    """Return the result in a JSON-RPC answer; raise `RpcRefused` or `RpcUnreachable`."""
    if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
        raise RpcUnreachable(f"{method}: the answer is no JSON-RPC")
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        raise RpcRefused(method, 0, str(error)[:_MESSAGE_MAX])
    code = error.get("code")
    message = str(error.get("message", ""))[:_MESSAGE_MAX]
    raise RpcRefused(method, code if isinstance(code, int) else 0, message, _revert_data(error))


def _revert_data(error: dict[str, Any]) -> bytes:
    data = error.get("data")
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str):
        try:
            return octets(data)
        except ValueError:
            return b""
    return b""


async def bounded_json(response: aiohttp.ClientResponse, bytes_max: int) -> Any:
    """Return a response's JSON; raise `ValueError` if it is none, or too long."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > bytes_max:
            response.close()
            raise ValueError("the answer is too long")
    return json.loads(body)


async def quantity(rpc: Rpc, method: str, params: list[Any]) -> int:
    """Return a quantity that a server answers; raise as the `Rpc` does."""
    return checked(integer, await rpc(method, params), method)


def checked(read: Callable[[Any], T], result: Any, method: str) -> T:
    """Return what a result says; raise `RpcUnreachable` if it is malformed."""
    try:
        return read(result)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RpcUnreachable(f"{method}: the server's answer is malformed") from None


def octets(result: Any) -> bytes:
    """Return bytes in a result; raise `ValueError`."""
    if not isinstance(result, str) or not result.startswith("0x"):
        raise ValueError("not bytes in hexadecimal")
    return bytes.fromhex(result[2:])


def integer(result: Any) -> int:
    """Return a quantity in a result; raise `ValueError`."""
    if not isinstance(result, str) or not result.startswith("0x") or len(result) > 66:
        raise ValueError("not a quantity in hexadecimal")
    return int(result, 16)
