"""JSON-RPC to a chain's servers: batches, bounded answers, one clear failure for all that breaks.

Transport and encoding are web3's; nonce, fees and retries are ours, so that a push takes few round
trips. What a server says is checked here, and its URL (it may hold an access key) is never shown.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from web3.providers.rpc.async_rpc import AsyncHTTPProvider

RESPONSE_BYTES_MAX: Final = 1 << 22
_CHUNK_BYTES: Final = 1 << 16
_MESSAGE_MAX: Final = 200

Request = tuple[str, list[Any]]


class RpcFailure(Exception):
    """An RPC server did not answer, or not as one should; another one may."""


@dataclass(frozen=True, slots=True)
class RpcError:
    """What a server answered instead of a result; `data` is revert data, if there is any."""

    code: int
    message: str
    data: bytes


class BoundedResponse(aiohttp.ClientResponse):
    """A response of which no more is read than an answer may have."""

    async def read(self) -> bytes:
        """Return the body; raise ClientPayloadError if it is too long."""
        body = bytearray()
        async for chunk in self.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > RESPONSE_BYTES_MAX:
                self.close()
                raise aiohttp.ClientPayloadError("the response is too long")
        return bytes(body)


def shown(url: str) -> str:
    """Return an RPC server's URL without what may be secret in it."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"


class Endpoint:
    """One RPC server."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._url = url
        self._timeout_s = timeout_ms / 1000
        self._provider: AsyncHTTPProvider | None = None
        self.shown = shown(url)

    async def _open(self) -> "AsyncHTTPProvider":
        if self._provider is None:
            # web3 takes over a second to import: not before it is needed, and beside the loop.
            module = await asyncio.to_thread(__import__, "web3", fromlist=["AsyncHTTPProvider"])
            provider: AsyncHTTPProvider = module.AsyncHTTPProvider(
                self._url,
                request_kwargs={
                    "timeout": aiohttp.ClientTimeout(total=self._timeout_s),
                    "allow_redirects": False,
                },
                exception_retry_configuration=None,
            )
            session = aiohttp.ClientSession(response_class=BoundedResponse)
            await provider.cache_async_session(session)
            self._provider = provider
        return self._provider

    async def close(self) -> None:
        """Close the connections."""
        if self._provider is not None:
            provider, self._provider = self._provider, None
            await provider.disconnect()

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests in one round trip; return results and `RpcError`s in their order.

        Raises RpcFailure if there is not one answer to each.
        """
        provider = await self._open()
        try:
            responses: Any = await provider.make_batch_request(list(requests))  # type: ignore[arg-type]
        except aiohttp.ClientResponseError as error:
            raise RpcFailure(f"{self.shown}: HTTP status {error.status}") from None
        except TimeoutError:
            raise RpcFailure(f"{self.shown}: no answer within {self._timeout_s:g} s") from None
        except Exception as error:
            # Whatever web3 makes of a hostile answer is the server's fault. The text may hold the
            # URL, so only the kind of error is told.
            raise RpcFailure(f"{self.shown}: {type(error).__name__}") from None
        if not isinstance(responses, list) or len(responses) != len(requests):
            raise RpcFailure(f"{self.shown}: does not answer batch requests")
        return [self._result(response) for response in responses]

    def _result(self, response: Any) -> Any:
        if not isinstance(response, dict):
            raise RpcFailure(f"{self.shown}: an answer is not an object")
        error = response.get("error")
        if error is None:
            return response.get("result")
        if not isinstance(error, dict):
            raise RpcFailure(f"{self.shown}: an error is not an object")
        code = error.get("code")
        message = str(error.get("message", ""))[:_MESSAGE_MAX]
        return RpcError(code if isinstance(code, int) else 0, message, _revert_data(error))


def _revert_data(error: dict[str, Any]) -> bytes:
    data = error.get("data")
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return b""
    return b""


def integer(result: Any, what: str) -> int:
    """Read a quantity; raise RpcFailure."""
    if isinstance(result, RpcError):
        raise RpcFailure(f"{what}: {result.message}")
    try:
        if isinstance(result, str) and result.startswith("0x") and len(result) <= 66:
            return int(result, 16)
    except ValueError:
        pass
    raise RpcFailure(f"{what}: the answer is not a quantity")


def octets(result: Any, what: str) -> bytes:
    """Read bytes; raise RpcFailure."""
    if isinstance(result, RpcError):
        raise RpcFailure(f"{what}: {result.message}")
    try:
        if isinstance(result, str) and result.startswith("0x"):
            return bytes.fromhex(result[2:])
    except ValueError:
        pass
    raise RpcFailure(f"{what}: the answer is not bytes")
