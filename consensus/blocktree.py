"""The blocks above the last final one, with the state after each.

Only blocks whose parent is here are ever added, so every path leads down to the root.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from consensus.messages import Block, Link
from consensus.payload import State

UNCOMMITTED_MAX = 4096
"""Blocks held above the root; side branches are dropped first, oldest first."""


@dataclass(slots=True)
class Node:
    """A block in the tree. The root of a fresh epoch has no block: it is the genesis."""

    block_id: bytes
    parent_id: bytes
    block: Block | None
    view: int
    height: int
    observed_at_ms: int
    state: State
    certified: bool = False
    link: Link | None = None
    """What the header's link covers; not known of the root."""
    successor: bytes | None = None
    """The hash of the next epoch's configuration, if this block or one before it decided that."""


class BlockTree:
    """Descendants of the last final block."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self._nodes: dict[bytes, Node] = {root.block_id: root}
        self._first_of_view: dict[int, bytes] = {root.view: root.block_id}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, block_id: bytes) -> Node | None:
        """Return a node, or None if the block is not here."""
        return self._nodes.get(block_id)

    def first_of_view(self, view: int) -> bytes | None:
        """Return the id of the first block that was added for a view."""
        return self._first_of_view.get(view)

    def add(self, node: Node) -> None:
        """Add a child of a block that is here."""
        assert node.block_id not in self._nodes
        assert node.view > self._nodes[node.parent_id].view
        self._nodes[node.block_id] = node
        self._first_of_view.setdefault(node.view, node.block_id)

    def down_from(self, block_id: bytes) -> Iterator[Node]:
        """Yield a node and its ancestors, newest first, the root last."""
        node = self._nodes[block_id]
        while True:
            yield node
            if node is self.root:
                return
            node = self._nodes[node.parent_id]

    def path_to(self, block_id: bytes) -> list[Node]:
        """Return the nodes above the root up to a block, oldest first."""
        return [node for node in self.down_from(block_id) if node is not self.root][::-1]

    def reroot(self, block_id: bytes) -> None:
        """Make a block the root and drop everything that does not descend from it."""
        root = self._nodes[block_id]
        kept = {block_id: root}
        for node in sorted(self._nodes.values(), key=lambda node: node.view):
            if node.parent_id in kept and node.block_id not in kept:
                kept[node.block_id] = node
        self.root = root
        self._replace(kept)

    def replant(self, root: Node) -> None:
        """Begin anew from a later final block that is not here."""
        assert root.view > self.root.view
        assert root.block_id not in self._nodes
        self.root = root
        self._replace({root.block_id: root})

    def prune(self, keep_tips: Iterable[bytes]) -> None:
        """Drop the oldest side branches while there are too many blocks, never those of the tips.

        Tips that are not here are ignored.
        """
        excess = len(self._nodes) - UNCOMMITTED_MAX
        if excess <= 0:
            return
        tips = [tip for tip in keep_tips if tip in self._nodes]
        spine = {node.block_id for tip in tips for node in self.down_from(tip)}
        by_age = sorted(self._nodes.values(), key=lambda node: node.view)
        dropped = {node.block_id for node in by_age if node.block_id not in spine}
        kept: dict[bytes, Node] = {}
        for node in by_age:
            if excess > 0 and node.block_id in dropped:
                excess -= 1
            elif node is self.root or node.parent_id in kept:
                kept[node.block_id] = node
        self._replace(kept)

    def _replace(self, kept: dict[bytes, Node]) -> None:
        self._nodes = kept
        self._first_of_view = {}
        for node in kept.values():
            self._first_of_view.setdefault(node.view, node.block_id)
