"""JSON-RPC to the testnet's own chain."""

from typing import Any

import aiohttp

from node.errors import OperatorError

_TIMEOUT = aiohttp.ClientTimeout(total=20)


class RpcFailed(OperatorError):
    """The chain does not answer, or refuses."""


class RpcClient:
    """Calls one JSON-RPC server; use as an async context manager."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> "RpcClient":
        """Open the connections."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close them."""
        await self._session.close()

    async def request(self, method: str, *params: object) -> Any:
        """Return a method's result; raise `RpcFailed`."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self._session.post(self.url, json=body) as response:
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RpcFailed(
                f"the chain does not answer {method}: {type(error).__name__} {error}"
            ) from None
        if not isinstance(answer, dict) or "error" in answer or "result" not in answer:
            reason = answer.get("error") if isinstance(answer, dict) else answer
            raise RpcFailed(f"the chain refuses {method}: {str(reason)[:300]}")
        return answer["result"]

    async def call(self, to: bytes, data: bytes) -> bytes:
        """Return what a contract answers at the newest block; raise `RpcFailed`."""
        message = {"to": "0x" + to.hex(), "input": "0x" + data.hex()}
        result = await self.request("eth_call", message, "latest")
        try:
            return bytes.fromhex(result.removeprefix("0x"))
        except (AttributeError, ValueError):
            raise RpcFailed("the chain answers eth_call with something else than bytes") from None
