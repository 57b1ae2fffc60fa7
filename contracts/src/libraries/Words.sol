// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../IOracle.sol";

/// One feed's agreed answer: zero 192 bits | price 48 | confidence 12 | status 4.
type Answer is uint256;

using Answers for Answer global;

/// @title Decoding of answers
library Answers {
    uint8 internal constant UNAVAILABLE = 0;
    uint8 internal constant LIVE = 1;
    uint8 internal constant CARRIED = 2;
    uint8 internal constant DEGRADED = 3;
    uint8 internal constant HALTED = 4;

    uint256 private constant CONFIDENCE_UNKNOWN = 0xfff;

    /// Returns the price, scaled by 10**decimals of the feed.
    function price(Answer answer) internal pure returns (uint256) {
        return Answer.unwrap(answer) >> 16;
    }

    /// Returns the confidence in parts per million of the price, all ones if it is unknown.
    function confidencePpm(Answer answer) internal pure returns (uint256) {
        uint256 encoded = (Answer.unwrap(answer) >> 4) & CONFIDENCE_UNKNOWN;
        if (encoded == CONFIDENCE_UNKNOWN) return type(uint256).max;
        return (encoded >> 4) << (encoded & 0xf);
    }

    /// Returns the status.
    function status(Answer answer) internal pure returns (uint256) {
        return Answer.unwrap(answer) & 0xf;
    }
}

/// Two neighbours' answers with a time of their own: observedAt 48 | zero 80 | even 64 | odd 64.
type Pair is uint256;

using Pairs for Pair global;

/// @title Packing of pairs
library Pairs {
    /// Returns the pair of a feed and its neighbour out of their word.
    function from(uint256 word, uint256 feed, uint256 observedAt_) internal pure returns (Pair) {
        uint256 answers = feed & 2 == 0 ? word >> 128 : uint128(word);
        return Pair.wrap(observedAt_ << 208 | answers);
    }

    /// When the answers were observed, Unix ms; 0 if there are none.
    function observedAt(Pair pair) internal pure returns (uint256) {
        return Pair.unwrap(pair) >> 208;
    }

    /// Returns the answer of one of the two feeds.
    function answerOf(Pair pair, uint256 feed) internal pure returns (Answer) {
        return Answer.wrap(uint64(Pair.unwrap(pair) >> ((~feed & 1) << 6)));
    }
}

/// @title Words of four answers and the Merkle tree over them
library Words {
    /// Returns the answer of a feed from the word that holds it; the first feed stands uppermost.
    function answerAt(uint256 word, uint256 feed) internal pure returns (Answer) {
        return Answer.wrap(uint64(word >> ((~feed & 3) << 6)));
    }

    /// Returns the first of at least one word.
    function first(uint256[] calldata words) internal pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(words.offset)
        }
    }

    /// Returns the feed root over all words in table order, and zero for none.
    /// @dev leaf = H(0x00 | index | count | word), node = H(0x01 | left | right); an odd node is
    /// carried up. The count in each leaf fixes the number of words.
    function root(uint256[] calldata words) internal pure returns (bytes32 top) {
        if (words.length == 1) return _onlyLeaf(first(words));
        // An index that does not fit its two bytes has no leaf of its own.
        if (words.length > type(uint16).max) return 0;
        assembly ("memory-safe") {
            // Leaves and nodes are built at `nodes`; the preimage stands behind them.
            let count := words.length
            let nodes := mload(0x40)
            let preimage := add(nodes, shl(5, count))
            mstore8(preimage, 0)
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                mstore(add(preimage, 1), shl(224, or(shl(16, i), count)))
                mstore(add(preimage, 5), calldataload(add(words.offset, shl(5, i))))
                mstore(add(nodes, shl(5, i)), keccak256(preimage, 37))
            }
            mstore8(preimage, 1)
            for {} gt(count, 1) {} {
                let pairs := shr(1, count)
                for { let i := 0 } lt(i, pairs) { i := add(i, 1) } {
                    mcopy(add(preimage, 1), add(nodes, shl(6, i)), 0x40)
                    mstore(add(nodes, shl(5, i)), keccak256(preimage, 65))
                }
                if and(count, 1) {
                    mstore(add(nodes, shl(5, pairs)), mload(add(nodes, shl(5, sub(count, 1)))))
                }
                count := add(pairs, and(count, 1))
            }
            if count { top := mload(nodes) }
        }
    }

    function _onlyLeaf(uint256 word) private pure returns (bytes32 leaf) {
        assembly ("memory-safe") {
            mstore(0, shl(216, 1))
            mstore(5, word)
            leaf := keccak256(0, 37)
        }
    }

    /// Returns the root to which a word leads as word `index` of `count`.
    /// @dev Index and count stand in the leaf, so a root can be met with the true ones only.
    function rootOf(uint256 index, uint256 count, uint256 word, bytes32[] calldata path)
        internal
        pure
        returns (bytes32 top)
    {
        bool exact;
        assembly ("memory-safe") {
            mstore(0, shl(216, or(shl(16, index), count)))
            mstore(5, word)
            top := keccak256(0, 37)
            let sibling := path.offset
            if gt(count, 1) {
                // Left and right stand at 0x40 and 0x60, which are put back, behind their tag at 0x3f.
                let free := mload(0x40)
                mstore8(0x3f, 1)
                let place := index
                // The last node's place; the one above it has half of that.
                let last := sub(count, 1)
                for {} 1 {} {
                    // An odd node has no sibling and is carried up.
                    if iszero(gt(xor(place, 1), last)) {
                        let mine := or(0x40, shl(5, and(place, 1)))
                        mstore(mine, top)
                        mstore(xor(mine, 0x20), calldataload(sibling))
                        top := keccak256(0x3f, 65)
                        sibling := add(sibling, 0x20)
                    }
                    place := shr(1, place)
                    last := shr(1, last)
                    if iszero(last) { break }
                }
                mstore(0x40, free)
                mstore(0x60, 0)
            }
            exact := and(
                lt(index, count),
                eq(sub(sibling, path.offset), shl(5, path.length))
            )
        }
        if (!exact) revert IOracle.PathLength(path.length, index, count);
    }
}
