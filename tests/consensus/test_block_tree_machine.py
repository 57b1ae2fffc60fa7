"""The block tree against a model: any order of adding, making final and pruning."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consensus import blocktree
from consensus.blocktree import BlockTree, Node

FEW = 8
"""Stands in for the bound of thousands of blocks, so that pruning happens."""


def name_of(number: int) -> bytes:
    return number.to_bytes(4, "big")


def node(number: int, parent: bytes, view: int, height: int) -> Node:
    return Node(name_of(number), parent, None, view, height, 0, None)


class BlockTreeMachine(RuleBasedStateMachine):
    """`here` is the model: the nodes that must be in the tree, in the order they were added."""

    def __init__(self) -> None:
        super().__init__()
        root = node(0, b"", 0, 0)
        self.tree = BlockTree(root)
        self.here = {root.block_id: root}
        self.made = 1
        self.final = [root]

    def chosen(self, number: int) -> Node:
        return list(self.here.values())[number % len(self.here)]

    def extends(self, block: Node, ancestor: Node) -> bool:
        """Tell by the model alone whether a block is another one or descends from it."""
        while block.block_id != ancestor.block_id:
            if block.parent_id not in self.here:
                return False
            block = self.here[block.parent_id]
        return True

    @rule(number=st.integers(0, 100), gap=st.integers(1, 3))
    def add(self, number: int, gap: int) -> None:
        parent = self.chosen(number)
        child = node(self.made, parent.block_id, parent.view + gap, parent.height + 1)
        self.made += 1
        self.tree.add(child)
        self.here[child.block_id] = child

    @rule(number=st.integers(0, 100))
    def make_final(self, number: int) -> None:
        root = self.chosen(number)
        path = self.tree.path_to(root.block_id)
        assert [n.height for n in path] == list(range(self.tree.root.height + 1, root.height + 1))
        self.tree.reroot(root.block_id)
        self.final += path
        self.here = {
            block_id: block for block_id, block in self.here.items() if self.extends(block, root)
        }

    @precondition(lambda self: len(self.here) > FEW - 2)
    @rule(one=st.integers(0, 100), two=st.integers(0, 100))
    def prune(self, one: int, two: int) -> None:
        tips = [self.chosen(one), self.chosen(two)]
        before = len(self.tree)
        self.tree.prune([*(tip.block_id for tip in tips), b"gone"])
        spine = {b for tip in tips for b, block in self.here.items() if self.extends(tip, block)}
        assert all(self.tree.get(block_id) is not None for block_id in spine)
        kept = {b: block for b, block in self.here.items() if self.tree.get(b) is not None}
        assert len(self.tree) == len(kept)
        assert len(kept) == before if before <= FEW else len(kept) <= max(FEW, len(spine))
        self.here = kept

    @invariant()
    def the_tree_holds_what_the_model_holds(self) -> None:
        assert len(self.tree) == len(self.here)
        assert all(self.tree.get(block_id) is block for block_id, block in self.here.items())

    @invariant()
    def s1_one_block_of_each_view_came_first(self) -> None:
        for view in range(self.made * 3 + 1):
            of_view = [b for b, block in self.here.items() if block.view == view]
            assert self.tree.first_of_view(view) == (of_view[0] if of_view else None)

    @invariant()
    def s2_every_block_extends_the_last_final_one(self) -> None:
        for block_id in self.here:
            *_, last = self.tree.down_from(block_id)
            assert last is self.tree.root

    @invariant()
    def s2_what_is_final_is_one_chain(self) -> None:
        assert self.final[-1] is self.tree.root
        for parent, child in pairwise(self.final):
            assert child.parent_id == parent.block_id
            assert child.view > parent.view

    @invariant()
    def views_and_heights_rise_along_every_path(self) -> None:
        for block_id in self.here:
            path = list(self.tree.down_from(block_id))
            assert [n.height for n in path] == sorted((n.height for n in path), reverse=True)
            assert all(child.view > parent.view for child, parent in pairwise(path))


def test_the_block_tree_against_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocktree, "UNCOMMITTED_MAX", FEW)
    run_state_machine_as_test(
        BlockTreeMachine,
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None),
    )
