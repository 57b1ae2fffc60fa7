// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Configuration, FeedRecord, Member, Timing} from "../src/IOracle.sol";

/// The formats once more, in plain Solidity and straight from consensus/README.md and
/// aggregation/README.md, so that the tests do not ask the contract what is right.
library Spec {
    struct Answer {
        uint256 price;
        uint256 confidencePpm;
        uint8 status;
    }

    function answerAt(uint256 word, uint256 feed) internal pure returns (Answer memory answer) {
        uint256 bits = (word / 2 ** (64 * (3 - feed % 4))) % 2 ** 64;
        answer.price = bits / 2 ** 16;
        answer.status = uint8(bits % 16);
        uint256 confidence = (bits / 16) % 4096;
        answer.confidencePpm =
            confidence == 4095 ? type(uint256).max : (confidence / 16) * 2 ** (confidence % 16);
    }

    function quorum(uint256 n) internal pure returns (uint256) {
        uint256 f = (n - 1) / 3;
        return (n + f) / 2 + 1;
    }

    function countBits(uint256 bits) internal pure returns (uint256 count) {
        for (uint256 i; i < 256; ++i) {
            if ((bits >> i) % 2 == 1) ++count;
        }
    }

    // Trees.

    function leaf(uint256 index, uint256 count, uint256 word) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0), uint16(index), uint16(count), word));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }

    function root(uint256[] memory words) internal pure returns (bytes32) {
        if (words.length == 0) return 0;
        bytes32[] memory level = _leaves(words);
        while (level.length > 1) level = _above(level);
        return level[0];
    }

    function path(uint256[] memory words, uint256 index) internal pure returns (bytes32[] memory) {
        bytes32[] memory siblings = new bytes32[](16);
        uint256 length;
        bytes32[] memory level = _leaves(words);
        while (level.length > 1) {
            uint256 sibling = index % 2 == 0 ? index + 1 : index - 1;
            if (sibling < level.length) siblings[length++] = level[sibling];
            index /= 2;
            level = _above(level);
        }
        bytes32[] memory exact = new bytes32[](length);
        for (uint256 i; i < length; ++i) exact[i] = siblings[i];
        return exact;
    }

    function _leaves(uint256[] memory words) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](words.length);
        for (uint256 i; i < words.length; ++i) leaves[i] = leaf(i, words.length, words[i]);
    }

    function _above(bytes32[] memory level) private pure returns (bytes32[] memory above) {
        above = new bytes32[]((level.length + 1) / 2);
        for (uint256 i; i < above.length; ++i) {
            above[i] = 2 * i + 1 < level.length ? node(level[2 * i], level[2 * i + 1]) : level[2 * i];
        }
    }

    // Digests.

    function headerId(bytes32 d, uint64 view_, uint64 observedAt, bytes32 feedRoot, bytes32 link)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(uint8(0x03), d, view_, observedAt, feedRoot, link));
    }

    function configuration(Configuration memory c) internal pure returns (bytes32) {
        bytes memory keys = abi.encodePacked(uint8(0x0b), uint16(c.members.length));
        for (uint256 i; i < c.members.length; ++i) {
            Member memory m = c.members[i];
            keys = abi.encodePacked(
                keys, m.blsKey, m.ed25519Key, uint256(uint160(m.operator))
            );
        }
        bytes memory feeds = abi.encodePacked(uint8(0x0c), uint16(c.feeds.length));
        for (uint256 i; i < c.feeds.length; ++i) {
            FeedRecord memory r = c.feeds[i];
            feeds = abi.encodePacked(feeds, r.identity, r.thresholds, r.parameters);
        }
        Timing memory t = c.timing;
        bytes32 timing = keccak256(
            abi.encodePacked(
                uint8(0x0d), t.roundInterval, t.baseTimeout, t.grace, t.maxLag, t.maxSkew, t.carry
            )
        );
        return keccak256(
            abi.encodePacked(uint8(0x0a), keccak256(keys), keccak256(feeds), timing, c.validUntil)
        );
    }

    function network(bytes32 nameHash, bytes32 configurationHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x0e), nameHash, configurationHash));
    }

    function domain(bytes32 network_, uint64 epoch, bytes32 configurationHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(uint8(0x02), network_, epoch, configurationHash));
    }

    function registration(bytes32 network_, address operator, bytes32 ed25519Key)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(uint8(0x0f), network_, uint256(uint160(operator)), ed25519Key)
        );
    }

    function handover(
        bytes32 d,
        uint64 nextEpoch,
        bytes32 nextDomain,
        bytes32 decidingId,
        uint64 decidedAt
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(uint8(0x12), d, nextEpoch, nextDomain, decidingId, decidedAt)
        );
    }

    function linkOf(
        bytes32 parentId,
        uint64 parentView,
        uint64 height,
        bytes32 stateDigest,
        bytes32 payloadDigest
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(uint8(0x04), parentId, parentView, height, stateDigest, payloadDigest)
        );
    }
}
