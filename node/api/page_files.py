"""The page that shows the network live: static files, read once, that load nothing from elsewhere.

All that it shows it asks of this listener's own paths. The policy below forbids scripts in the
text, other origins, and every way to make markup of strings (Trusted Types).
"""

import gzip
from hashlib import blake2b
from importlib import resources
from typing import Final

from aiohttp import hdrs, web

PAGE_FILES: Final = {
    "index.html": "text/html",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    "app.js": "text/javascript",
    "charts.js": "text/javascript",
    "committee.js": "text/javascript",
    "connection.js": "text/javascript",
    "dom.js": "text/javascript",
    "feeds.js": "text/javascript",
    "format.js": "text/javascript",
    "incidents.js": "text/javascript",
    "model.js": "text/javascript",
    "summary.js": "text/javascript",
    "theme.js": "text/javascript",
}

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def add_page(app: web.Application) -> None:
    """Serve the page at `/`, its files below `/page/`."""
    place = resources.files("node.api") / "page"
    for name, content_type in PAGE_FILES.items():
        file = _File((place / name).read_bytes(), content_type)
        app.router.add_get("/" if name == "index.html" else f"/page/{name}", file.serve)


class _File:
    """One file, as it is and compressed."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self._body = body
        self._compressed = gzip.compress(body, mtime=0)
        self._content_type = content_type
        self._tag = blake2b(body, digest_size=16).hexdigest()

    async def serve(self, request: web.Request) -> web.Response:
        """Return the file, or 304 if the client holds the same."""
        packed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        tag = f"{self._tag}-gzip" if packed else self._tag
        headers = {**_HEADERS, hdrs.ETAG: f'"{tag}"'}
        if any(entry.value in (tag, "*") for entry in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if packed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(
            body=self._compressed if packed else self._body,
            content_type=self._content_type,
            charset="utf-8",
            headers=headers,
        )
