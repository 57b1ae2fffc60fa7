// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Block, FinalProof, IOracle} from "../IOracle.sol";
import {Digests} from "./Digests.sol";

/// @title What makes a report final
/// @notice A block is final if a certified block follows in the view right after it, and then its
/// ancestors are (consensus/README.md, R6). Views and ids of parents are read from the links.
library Finality {
    /// Returns the id of the proof's last block, whose certificate makes all before it final.
    function lastId(bytes32 domain, FinalProof calldata proof) internal pure returns (bytes32 id) {
        Block[] calldata blocks = proof.blocks;
        uint256 count = blocks.length;
        if (count < 2) revert IOracle.NotFinal(count);
        uint64 parentView = proof.parent.view_;
        // The genesis has no header of its own and is known by its id.
        id = parentView == 0
            ? proof.parent.link
            : Digests.headerId(
                domain,
                parentView,
                proof.parent.observedAt,
                proof.parent.feedRoot,
                proof.parent.link
            );
        for (uint256 i; i < count; ++i) {
            Block calldata block_ = blocks[i];
            bytes32 link = Digests.link(id, parentView, block_);
            id = Digests.headerId(domain, block_.view_, block_.observedAt, block_.feedRoot, link);
            if (i == count - 1 && block_.view_ - 1 != parentView) revert IOracle.NotFinal(count);
            parentView = block_.view_;
        }
    }
}
