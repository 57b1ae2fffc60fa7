"""What of a URL may be logged: RPC servers are often addressed by a URL that holds a secret."""

from urllib.parse import urlsplit


def redact_url(url: str) -> str:
    """Return scheme, host and port, with `…` for any user, password, path and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    hidden = parts.path.strip("/") or parts.query or parts.username or parts.password
    return f"{parts.scheme}://{host}{port}" + ("/…" if hidden else "")
