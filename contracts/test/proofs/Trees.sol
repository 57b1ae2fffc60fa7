// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Words} from "../../src/libraries/Words.sol";

/// What halmos proves of Merkle proofs, for all words and paths of small trees. Keccak-256 is taken to
/// have no collisions, which is all that is known of it.
contract TreesProof {
    /// What somebody says to be in a tree.
    struct Claim {
        uint256 count;
        uint256 index;
        uint256 length;
        uint256 word;
        bytes32[3] siblings;
    }

    function root(uint256[] calldata words) external pure returns (bytes32) {
        return Words.root(words);
    }

    function rootOf(uint256 index, uint256 count, uint256 word, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return Words.rootOf(index, count, word, path);
    }

    function _build(uint256 count, uint256[5] calldata w) private view returns (bytes32) {
        uint256[] memory words = new uint256[](count);
        for (uint256 i; i < count; ++i) words[i] = w[i];
        return this.root(words);
    }

    /// Returns whether a claim is taken as one of this tree.
    function _taken(
        bytes32 top,
        uint256 index,
        uint256 count,
        uint256 word,
        bytes32[3] calldata siblings,
        uint256 length
    ) private view returns (bool taken) {
        bytes32[] memory path = new bytes32[](length);
        for (uint256 i; i < length; ++i) path[i] = siblings[i];
        (bool done, bytes memory output) =
            address(this).staticcall(abi.encodeCall(this.rootOf, (index, count, word, path)));
        if (!done) return false;
        bytes32 reached = abi.decode(output, (bytes32));
        assembly ("memory-safe") {
            taken := eq(reached, top)
        }
    }

    /// Whatever index, count, word and path are claimed: what is taken is the word at that index of
    /// a tree of that count. Each claim is a path of its own, which holds its own few hashes alone.
    function _sound(uint256 count, uint256[5] calldata w, Claim calldata c) private view {
        bytes32 top = _build(count, w);
        for (uint256 claimed; claimed <= 6; ++claimed) {
            if (c.count != claimed) continue;
            // One index more than there are.
            for (uint256 index; index <= claimed; ++index) {
                if (c.index != index) continue;
                for (uint256 length; length <= 3; ++length) {
                    if (c.length != length) continue;
                    bool taken = _taken(top, index, claimed, c.word, c.siblings, length);
                    // One condition, not a branch for each part: the solver sees it as a whole.
                    bool right;
                    if (claimed == count && index < count) right = c.word == w[index];
                    bool wrong;
                    assembly ("memory-safe") {
                        wrong := and(taken, iszero(right))
                    }
                    assert(!wrong);
                    return;
                }
            }
        }
    }

    function check_sound_1(uint256[5] calldata w, Claim calldata c) external view {
        _sound(1, w, c);
    }

    function check_sound_2(uint256[5] calldata w, Claim calldata c) external view {
        _sound(2, w, c);
    }

    function check_sound_3(uint256[5] calldata w, Claim calldata c) external view {
        _sound(3, w, c);
    }

    function check_sound_4(uint256[5] calldata w, Claim calldata c) external view {
        _sound(4, w, c);
    }

    function check_sound_5(uint256[5] calldata w, Claim calldata c) external view {
        _sound(5, w, c);
    }

    function _hash(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }

    function _leaf(uint256 i, uint256 count, uint256 word) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0), uint16(i), uint16(count), word));
    }

    /// The true words with the true paths are taken; the tree is the documented one.
    function check_complete_of_five(uint256[5] calldata w) external view {
        bytes32[5] memory l;
        for (uint256 i; i < 5; ++i) l[i] = _leaf(i, 5, w[i]);
        (bytes32 a, bytes32 b) = (_hash(l[0], l[1]), _hash(l[2], l[3]));
        bytes32 top = _hash(_hash(a, b), l[4]);
        assert(_build(5, w) == top);
        bytes32[] memory path = new bytes32[](3);
        (path[0], path[1], path[2]) = (l[1], b, l[4]);
        assert(this.rootOf(0, 5, w[0], path) == top);
        path[0] = l[0];
        assert(this.rootOf(1, 5, w[1], path) == top);
        (path[0], path[1]) = (l[3], a);
        assert(this.rootOf(2, 5, w[2], path) == top);
        path[0] = l[2];
        assert(this.rootOf(3, 5, w[3], path) == top);
        path = new bytes32[](1);
        path[0] = _hash(a, b);
        assert(this.rootOf(4, 5, w[4], path) == top);
    }
}
