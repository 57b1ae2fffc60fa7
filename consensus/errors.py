"""How a peer's fault is told from our own."""


class InvalidMessage(Exception):
    """A peer broke the protocol; nothing changed. The shell counts it and drops the peer."""


class InvalidPayload(InvalidMessage):
    """A block's payload is not what the payload rule demands."""
