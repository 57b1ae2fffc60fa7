"""One simulated process: a core, what it still has to do, its disk, and what is around it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus import effects as fx
from consensus.core import Checkpoint, Core
from consensus.messages import Block, Change, Message, Witnessed
from consensus.safety import SafetyState

Event = tuple[int, Message] | Callable[[Core, int], list[fx.Effect]]
"""What a core is yet to see: a member's message, or a call."""

Intercept = Callable[["Node", int, Message], list[Message]]
"""What a faulty node sends to a member in place of a message: nothing, that one, others."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the network, the disks and the power do; chances are in permille."""

    delay_ms: tuple[int, int] = (1, 5)
    loss: int = 0
    repetition: int = 0
    disk_ms: tuple[int, int] = (0, 0)
    crash: int = 0
    """The chance that a node dies before an effect; never more than f at once by chance."""
    down_ms: tuple[int, int] = (100, 4000)


@dataclass(slots=True)
class Disk:
    """What survives a crash. What was written after the last safety state may be lost."""

    safety: SafetyState
    head: Checkpoint
    blocks: dict[bytes, Block] = field(default_factory=dict)
    keeps: int | None = None
    """So many views below the head are kept; None for all."""
    witnessed: list[Witnessed] = field(default_factory=list)
    pending: list[Callable[["Disk"], None]] = field(default_factory=list)

    def write(self, change: Callable[["Disk"], None]) -> None:
        """Make a change that the next safety state makes durable."""
        self.pending.append(change)

    def advance(self, head: Checkpoint) -> None:
        """Move the head; forget what is too old."""
        self.head = head
        assert head.block is not None
        self.blocks[head.block_id] = head.block
        if self.keeps is not None:
            oldest = head.view - self.keeps
            for block_id in [b for b, block in self.blocks.items() if block.view < oldest]:
                del self.blocks[block_id]

    def save(self, safety: SafetyState) -> None:
        """Make a safety state durable, and what was written before it."""
        self.flush(len(self.pending))
        self.safety = safety

    def flush(self, count: int) -> None:
        """Apply so many of the pending changes and lose the others."""
        for change in self.pending[:count]:
            change(self)
        self.pending.clear()


class Node:
    """One process of one member: a core, a disk, timers, and the effects still to be performed."""

    __slots__ = (
        "change",
        "committed",
        "core",
        "disk",
        "effects",
        "events",
        "evidence",
        "faults",
        "halted",
        "handed_over",
        "intercept",
        "life",
        "member",
        "number",
        "observing",
        "refused",
        "side",
        "skew_ms",
        "timer",
        "to_self",
        "writing",
    )

    def __init__(self, member: int, disk: Disk, side: int = 0) -> None:
        self.member = member
        self.side = side
        """Which of a member's twins this is; 0 unless it is faulty."""
        self.disk = disk
        self.number = member
        """Its place among all nodes, twins included."""
        self.core: Core | None = None
        self.life = 0
        self.timer = 0
        self.observing = 0
        self.skew_ms = 0
        self.intercept: Intercept | None = None
        self.writing = False
        self.effects: deque[fx.Effect] = deque()
        self.to_self: deque[Message] = deque()
        self.events: deque[Event] = deque()
        self.committed: list[bytes] = []
        self.change: Change | None = None
        self.handed_over: fx.HandedOver | None = None
        self.evidence: list[fx.Accusation] = []
        self.faults: list[fx.PeerFault] = []
        self.refused: list[str] = []
        self.halted: str | None = None

    @property
    def running(self) -> Core:
        """The core of a node that is up."""
        assert self.core is not None
        return self.core
