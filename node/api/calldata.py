"""Adds to a report the calldata that pushes it, when somebody asks for the report.

Decompressing the signature for the EVM takes about a millisecond, so it is not done for every round
but for those that are read, once.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

import msgspec
import structlog

from contracts.client import certificate_of, encode_push
from node.report import report_from_json, report_to_json

_KEPT: Final = 64

_log = structlog.get_logger("api")


def with_calldata(body: bytes) -> bytes:
    """Return a report's JSON with the calldata of `push`, for `Oracle` contracts on any chain."""
    read = report_from_json(body)
    if read.push_calldata is not None:
        return body
    report = read.report
    certificate = certificate_of(report.epoch, report.header, report.bitmap, report.signature)
    calldata = encode_push(certificate, report.words)
    return msgspec.json.encode(report_to_json(report, calldata))


class CompleteReports:
    """Remembers the newest completed reports; any thread may ask."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()

    def complete(self, body: bytes) -> bytes:
        """Return a report's JSON with its calldata, or as it is if it cannot be made."""
        with self._lock:
            known = self._kept.get(body)
        if known is not None:
            return known
        try:
            completed = with_calldata(body)
        except ValueError as error:
            _log.error("api_report_without_calldata", error=str(error))
            return body
        with self._lock:
            self._kept[body] = completed
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return completed
