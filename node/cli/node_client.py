"""Asks a running node over HTTP: bounded in time and size, without proxies and redirects."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from node.errors import CheckFailed, NodeUnreachable
from node.redaction import redact_url

ANSWER_BYTES_MAX = 1 << 22


def get(base_url: str, path: str, timeout_seconds: int) -> Any:
    """Return a JSON answer; raise `NodeUnreachable`, or `CheckFailed` for a refusal."""
    content = get_bytes(base_url, path, timeout_seconds)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NodeUnreachable(
            f"{redact_url(base_url)} answers, but not as a node does; check the address"
        ) from None


def post(base_url: str, path: str, content: bytes, timeout_seconds: int = 60) -> Any:
    """Send JSON and return a JSON answer; raise as `get` does."""
    answer = get_bytes(base_url, path, timeout_seconds, content)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise NodeUnreachable(
            f"{redact_url(base_url)} answers, but not as a node does; check the address"
        ) from None


def get_bytes(
    base_url: str, path: str, timeout_seconds: int, content: bytes | None = None
) -> bytes:
    """Return the content of an answer with status 200; with `content`, post that."""
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
    shown = redact_url(base_url)
    try:
        connection.request(
            "GET" if content is None else "POST",
            parts.path.rstrip("/") + path,
            body=content,
            headers={"Accept": "application/json"}
            | ({} if content is None else {"Content-Type": "application/json"}),
        )
        with connection.getresponse() as answer:
            got = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NodeUnreachable(
            f"no answer from {shown}: {reason}; is the node running, and is this its address?"
        ) from None
    finally:
        connection.close()
    if len(got) > ANSWER_BYTES_MAX:
        raise NodeUnreachable(f"{shown} answered with more than {ANSWER_BYTES_MAX} bytes")
    if answer.status != 200:
        raise CheckFailed(f"{shown} answered {answer.status}: {_reason(got, answer.reason)}")
    return got


def _reason(content: bytes, fallback: str) -> str:
    """Return what the node says of a refusal, as one printable line."""
    try:
        document = json.loads(content)
        found = document.get("error", document.get("detail"))
        if isinstance(found, dict):
            remedy = found.get("remedy")
            found = found.get("message")
            if isinstance(found, str) and isinstance(remedy, str) and remedy:
                found = f"{found}; {remedy}"
    except (ValueError, AttributeError, RecursionError):
        found = None
    text = found if isinstance(found, str) else fallback
    return "".join(char for char in text[:400] if char.isprintable())
