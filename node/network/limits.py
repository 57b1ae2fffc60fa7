"""What a peer may cost us, and how long we are patient with it."""

from dataclasses import dataclass

from consensus.messages import FRAME_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for each peer; sizes in bytes, durations in seconds.

    The rates are far above what an honest member sends and bound the work of a faulty one. Bursts
    exceed what a member can have queued, so that a backlog arriving at once is no offence.
    """

    frame_bytes: int = FRAME_BYTES_MAX
    frames_per_second: float = 4_000
    frames_burst: float = 8_000
    bytes_per_second: float = 16 * 1024 * 1024
    bytes_burst: float = 32 * 1024 * 1024

    outbound_frames: int = 1_024
    outbound_bytes: int = 4 * FRAME_BYTES_MAX
    inbound_frames: int = 256
    inbound_bytes: int = 2 * FRAME_BYTES_MAX
    """Beyond these the peer is no longer read; a frame always fits an empty part."""

    heartbeat_seconds: float = 1.0
    """The longest time in which nothing is written."""
    silence_seconds: float = 2.5
    stall_seconds: float = 10.0
    """How long a peer may leave one write of ours untaken."""

    handshake_seconds: float = 5.0
    handshakes_pending: int = 128
    """When as many inbound connections are unauthenticated, the oldest gives way to the next."""
    connections_per_second: float = 2.0
    connections_burst: float = 10.0
    """Inbound connections of one member; more are refused before they are muxed."""

    redial_seconds_min: float = 0.1
    redial_seconds_max: float = 2.0
    penalty_seconds_min: float = 5.0
    penalty_seconds_max: float = 300.0
    penalty_memory_seconds: float = 900.0
    """A penalty doubles the one before, unless that one is longer ago than this."""
