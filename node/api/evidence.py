"""The control listener's part in evidence: what the node holds, and each piece as a file."""

import asyncio

from aiohttp import hdrs, web

from node.api.answers import ApiError, json_response, query_of
from node.evidence_book import EvidenceBook, Piece
from node.evidence_file import document_of, encode_document


def add_evidence(app: web.Application, book: EvidenceBook) -> None:
    """Add the paths under /v1/evidence."""

    async def every(request: web.Request) -> web.Response:
        query_of(request)
        pieces = await asyncio.to_thread(book.pieces)
        return json_response({"evidence": [_described(piece) for piece in pieces]})

    async def one(request: web.Request) -> web.Response:
        query_of(request)
        wanted = request.match_info["id"]
        for piece in await asyncio.to_thread(book.pieces):
            if "0x" + piece.id.hex() == wanted:
                # Points are decompressed, which takes a while.
                document = await asyncio.to_thread(document_of, piece.epoch.context, piece.evidence)
                return web.Response(
                    body=encode_document(document),
                    content_type="application/json",
                    headers={hdrs.CACHE_CONTROL: "no-store"},
                )
        raise ApiError(
            404, "unknown_evidence", "the node holds no such evidence", "see `didyma evidence list`"
        )

    app.router.add_get("/v1/evidence", every)
    app.router.add_get("/v1/evidence/{id}", one)


def _described(piece: Piece) -> dict[str, object]:
    first = piece.offences[0]
    return {
        "id": "0x" + piece.id.hex(),
        "epoch": first.epoch,
        "kind": first.kind,
        "view": first.view,
        "members": [offence.name for offence in piece.offences],
        "found_at_ms": first.found_at_ms,
    }
