// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Configuration, FeedRecord, Member, Timing} from "../src/IOracle.sol";

/// @title What a report is made of, for tests
/// @notice Answers in words, the tree over them, and what is hashed, in plain Solidity, straight from the
/// documents of the formats: the Oracle's own tests judge it by the committed vectors.
library TestReports {
    /// A price has 48 bits: choose fewer decimals for the feed.
    error PriceTooLarge(uint256 price, uint256 greatest);
    /// 0 unavailable, 1 live, 2 carried, 3 degraded, 4 halted.
    error UnknownStatus(uint256 status);

    uint256 private constant PRICE_MAX = (1 << 48) - 1;
    uint256 private constant UNKNOWN = 0xfff;
    /// The answer of a feed without one, and of lanes without a feed.
    uint256 internal constant UNAVAILABLE = UNKNOWN << 4;

    /// Returns an answer's 64 bits. Confidences are rounded up to what the encoding has.
    function encode(uint256 price, uint256 confidencePpm, uint8 status)
        internal
        pure
        returns (uint256)
    {
        if (status > 4) revert UnknownStatus(status);
        if (price > PRICE_MAX) revert PriceTooLarge(price, PRICE_MAX);
        if (status == 0 || price == 0) return UNAVAILABLE;
        uint256 confidence = UNKNOWN;
        if (confidencePpm <= 255 << 15) {
            uint256 exponent;
            while (confidencePpm >> exponent > 255) ++exponent;
            uint256 mantissa = (confidencePpm + (1 << exponent) - 1) >> exponent;
            if (mantissa > 255) (mantissa, exponent) = (128, exponent + 1);
            confidence = mantissa << 4 | exponent;
        }
        return price << 16 | confidence << 4 | status;
    }

    /// Returns the answers four to a word, the first uppermost.
    function pack(uint256[] memory answers) internal pure returns (uint256[] memory words) {
        words = new uint256[]((answers.length + 3) / 4);
        for (uint256 lane; lane < 4 * words.length; ++lane) {
            uint256 answer = lane < answers.length ? answers[lane] : UNAVAILABLE;
            words[lane / 4] |= answer << 64 * (3 - lane % 4);
        }
    }

    /// Returns the root over all words, and zero for none.
    function root(uint256[] memory words) internal pure returns (bytes32) {
        if (words.length == 0) return 0;
        bytes32[] memory level = _leaves(words);
        while (level.length > 1) level = _above(level);
        return level[0];
    }

    /// Returns the siblings of a word from its leaf to the root.
    function path(uint256[] memory words, uint256 index)
        internal
        pure
        returns (bytes32[] memory exact)
    {
        bytes32[] memory siblings = new bytes32[](16);
        uint256 length;
        bytes32[] memory level = _leaves(words);
        while (level.length > 1) {
            uint256 sibling = index % 2 == 0 ? index + 1 : index - 1;
            if (sibling < level.length) siblings[length++] = level[sibling];
            index /= 2;
            level = _above(level);
        }
        exact = new bytes32[](length);
        for (uint256 i; i < length; ++i) exact[i] = siblings[i];
    }

    /// Returns the id of a header, which members sign.
    function headerId(bytes32 domain, uint64 view_, uint64 observedAt, bytes32 root_, bytes32 link)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(uint8(0x03), domain, view_, observedAt, root_, link));
    }

    /// Returns the link of a block below its parent.
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

    /// Returns what a member signs to take part in a network.
    function registration(bytes32 network, address operator, bytes32 ed25519Key)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(uint8(0x0f), network, uint256(uint160(operator)), ed25519Key)
        );
    }

    /// Returns the hash of a configuration.
    function configurationHash(Configuration memory c) internal pure returns (bytes32) {
        bytes memory keys = abi.encodePacked(uint8(0x0b), uint16(c.members.length));
        for (uint256 i; i < c.members.length; ++i) {
            Member memory m = c.members[i];
            keys = abi.encodePacked(keys, m.blsKey, m.ed25519Key, uint256(uint160(m.operator)));
        }
        bytes memory feeds = abi.encodePacked(uint8(0x0c), uint16(c.feeds.length));
        for (uint256 i; i < c.feeds.length; ++i) {
            FeedRecord memory feed = c.feeds[i];
            feeds = abi.encodePacked(feeds, feed.identity, feed.thresholds, feed.parameters);
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

    function _leaves(uint256[] memory words) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](words.length);
        for (uint256 i; i < words.length; ++i) {
            leaves[i] =
                keccak256(abi.encodePacked(uint8(0), uint16(i), uint16(words.length), words[i]));
        }
    }

    function _above(bytes32[] memory level) private pure returns (bytes32[] memory above) {
        above = new bytes32[]((level.length + 1) / 2);
        for (uint256 i; i < above.length; ++i) {
            above[i] = 2 * i + 1 < level.length
                ? keccak256(abi.encodePacked(uint8(1), level[2 * i], level[2 * i + 1]))
                : level[2 * i];
        }
    }
}
