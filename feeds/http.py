"""One bounded HTTP request to an exchange."""

import asyncio
from collections.abc import Mapping

import aiohttp

from feeds.frames import told
from feeds.rest import Request
from feeds.supervision import Limits

_OK = 200
_BAD_REQUEST = (400, 404, 422)
_CHUNK_BYTES = 64 * 1024


class Unanswered(Exception):
    """No usable answer; the text says why, `wait_s` how long the exchange wants to be left.

    `is_of_venue` unless it was this very request that the exchange did not like; `status` is that
    of HTTP, 0 if there was none.
    """

    def __init__(
        self, reason: str, wait_s: float = 0, *, is_of_venue: bool = True, status: int = 0
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.is_of_venue = is_of_venue
        self.status = status


async def fetch(
    session: aiohttp.ClientSession, rest_url: str, request: Request, limits: Limits
) -> bytes:
    """Return the body of an answer with status 200, bounded in time and size.

    Raises Unanswered for everything else.
    """
    url = rest_url.rstrip("/") + request.path
    try:
        async with (
            asyncio.timeout(limits.answer_s),
            session.request(request.method, url, allow_redirects=False) as answer,
        ):
            if answer.status != _OK:
                raise Unanswered(
                    f"HTTP status {answer.status} from {rest_url}",
                    wait_s=retry_after_s(answer.headers),
                    is_of_venue=answer.status not in _BAD_REQUEST,
                    status=answer.status,
                )
            body = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > limits.answer_bytes_max:
                    raise Unanswered(f"an answer of more than {limits.answer_bytes_max} bytes")
            return bytes(body)
    except TimeoutError:
        raise Unanswered(f"no answer from {rest_url} within {limits.answer_s:g} s") from None
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or error.os_error
        raise Unanswered(f"cannot ask {rest_url}: {told(why)}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unanswered(f"cannot ask {rest_url}: {told(error)}") from None


def retry_after_s(headers: Mapping[str, str] | None) -> float:
    """Read the seconds of a Retry-After header; a date or nonsense counts as none."""
    text = "" if headers is None else headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
