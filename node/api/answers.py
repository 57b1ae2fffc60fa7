"""How the listeners answer: JSON, caching, and errors that say what to do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from node.api.limits import ApiLimits, RequestRate, is_loopback
from node.metrics import Metrics
from node.store.errors import StoreError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger("api")
_JSON: Final = "application/json"
_INTEGER_DIGITS_MAX: Final = 19


class ApiError(Exception):
    """An answer other than success: a stable code, what is wrong, and what to do."""

    def __init__(self, status: int, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.remedy = remedy


def json_response(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a document as JSON, not to be cached unless the headers say otherwise."""
    response = web.Response(
        body=msgspec.json.encode(document), status=status, content_type=_JSON, headers=headers
    )
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    return response


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an error as JSON."""
    document = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
    return json_response(document, error.status, headers)


def cached_response(request: web.Request, body: bytes, cache_control: str) -> web.Response:
    """Return JSON that has an entity tag, or 304 if the client holds the same."""
    tag = blake2b(body, digest_size=16).hexdigest()
    headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: cache_control}
    held = request.if_none_match or ()
    if any(entry.value in (tag, "*") for entry in held):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=_JSON, headers=headers)


def query_of(request: web.Request, *allowed: str) -> dict[str, str]:
    """Return the query's parameters; raise `ApiError` at one that is unknown or given twice."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in allowed:
            known = ", ".join(allowed) if allowed else "none"
            raise ApiError(
                400, "unknown_parameter", f"unknown parameter {name[:32]!r}", f"known: {known}"
            )
        if name in query:
            raise ApiError(
                400, "repeated_parameter", f"{name} is given more than once", "give it once"
            )
        query[name] = value
    return query


def integer(name: str, text: str) -> int:
    """Return a number from 0 to 2**63 - 1; raise `ApiError`."""
    if not (text.isascii() and text.isdigit()):
        raise ApiError(
            400, "not_a_number", f"{name} is not a whole number", f"give {name} as decimal digits"
        )
    number = int(text) if len(text) <= _INTEGER_DIGITS_MAX else 2**63
    if number >= 2**63:
        raise ApiError(400, "out_of_range", f"{name} is too large", f"give {name} below 2**63")
    return number


def answering(
    listener: str, metrics: Metrics, limits: ApiLimits, *, cors: bool, bodies: bool = False
) -> Middleware:
    """Return the middleware that bounds requests, counts them and turns errors into JSON.

    With `bodies`, handlers of POST read theirs and bound it.
    """
    rate = RequestRate(limits.requests_per_second, limits.requests_burst, limits.addresses_max)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        try:
            _check_request(request, rate, bodies and request.method == hdrs.METH_POST)
            if cors and request.method == hdrs.METH_OPTIONS:
                response = web.Response(status=204)
            else:
                response = await handler(request)
        except ApiError as error:
            response = error_response(error)
        except web.HTTPException as error:
            response = _routing_error(error)
        except StoreError as error:
            _log.error("api_archive_unreadable", error=str(error))
            response = error_response(
                ApiError(
                    503,
                    "archive_unreadable",
                    "the archive of reports cannot be read",
                    "ask another node; the operator finds the cause in the log",
                )
            )
        except ConnectionError:
            # The client went away in the middle of an answer.
            raise
        except Exception:
            _log.exception("api_request_failed", route=_route_of(request))
            response = error_response(
                ApiError(500, "internal", "the request failed", "report it to the operator")
            )
        finally:
            status = "gone" if response is None else str(response.status)
            metrics.api_requests.labels(listener, _route_of(request), status).inc()
        return response

    return middleware


def _check_request(request: web.Request, rate: RequestRate, body: bool) -> None:
    address = request.remote or ""
    if not is_loopback(address) and not rate.allows(address, asyncio.get_running_loop().time()):
        raise ApiError(
            429,
            "too_many_requests",
            "too many requests from this address",
            "wait a second, or follow /v1/stream instead of asking again and again",
        )
    if request.can_read_body and not body:
        raise ApiError(413, "body_not_taken", "requests have no body here", "send none")


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


def _routing_error(error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPNotFound):
        return error_response(
            ApiError(
                404, "no_such_path", "there is nothing at this path", "GET /v1 lists the paths"
            )
        )
    if isinstance(error, web.HTTPMethodNotAllowed):
        return error_response(
            ApiError(405, "method_not_allowed", "this path is only read", "use GET"),
            {hdrs.ALLOW: "GET, HEAD, OPTIONS"},
        )
    return error_response(ApiError(error.status, "refused", error.reason, "see GET /v1"))


async def secure_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer carries; say nothing of the server's software."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers[hdrs.SERVER] = "didyma"


async def open_to_all_origins(_request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of any origin read the answer (CORS): everything here is public."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "GET, HEAD, OPTIONS"
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = "If-None-Match, Last-Event-ID"
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "ETag, Didyma-Final"
    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "86400"
