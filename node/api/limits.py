"""How much of the node any client may use."""

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Bounds on connections, requests and streams of one listener."""

    connections_max: int = 512
    """Beyond, a newcomer gets the place of the oldest connection that owes a request, if any."""
    connections_per_address_max: int = 64
    """Addresses of this machine are exempt: a reverse proxy stands before many clients."""
    line_bytes_max: int = 2048
    field_bytes_max: int = 4096
    headers_max: int = 64
    idle_seconds_max: float = 15.0
    """A connection that has not sent a whole request for so long is closed."""
    requests_per_second: float = 50.0
    requests_burst: int = 200
    """Per address; this machine's own are exempt."""
    addresses_max: int = 4096
    streams_max: int = 256
    stream_queue_max: int = 16
    """Reports that wait for a slow client; beyond, it loses the oldest."""
    stream_write_seconds_max: float = 10.0
    """A client that takes nothing for so long is dropped."""
    stream_ping_seconds: float = 15.0
    stream_messages_max: int = 16
    """A client has nothing to say on a stream; one that talks more is dropped."""
    archive_reads_max: int = 8
    view_age_ms_max: int = 10_000
    """An older view of the node means that its consensus has stopped."""


class RequestRate:
    """A token bucket per address, for a bounded number of addresses."""

    def __init__(self, per_second: float, burst: int, addresses_max: int) -> None:
        assert per_second > 0
        assert burst >= 1
        assert addresses_max >= 1
        self._per_second = per_second
        self._burst = burst
        self._addresses_max = addresses_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str, now_seconds: float) -> bool:
        """Take a token if there is one."""
        tokens, then = self._buckets.pop(address, (float(self._burst), now_seconds))
        tokens = min(float(self._burst), tokens + (now_seconds - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if allowed else tokens, now_seconds)
        if len(self._buckets) > self._addresses_max:
            # The one that has been silent for longest, whose bucket is the fullest.
            self._buckets.popitem(last=False)
        return allowed


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return parsed.is_loopback or bool(mapped is not None and mapped.is_loopback)
