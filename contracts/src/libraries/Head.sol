// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The one storage slot that every push and every read loads:
///
///   observedAt 64 | view 64 | valid until 48 | epoch 32 | carry 24 | feeds 16 | members 8
///
/// The upper half is the latest report's place, the lower half the epoch's configuration.
type Head is uint256;

using Heads for Head global;

/// @title Packing of the head
library Heads {
    uint256 internal constant VALID_UNTIL_MAX = type(uint48).max;
    uint256 internal constant CARRY_MAX = 3_600_000;

    /// Returns the head of an epoch before its first report.
    function ofEpoch(
        uint256 epoch_,
        uint256 members_,
        uint256 feeds_,
        uint256 carry_,
        uint256 validUntil_
    ) internal pure returns (Head) {
        return Head.wrap(validUntil_ << 80 | epoch_ << 48 | carry_ << 24 | feeds_ << 8 | members_);
    }

    /// Returns the head with another report's place.
    function withReport(Head head, uint256 view_, uint256 observedAt_) internal pure returns (Head) {
        return Head.wrap(observedAt_ << 192 | view_ << 128 | uint128(Head.unwrap(head)));
    }

    /// When the stored report was observed, Unix ms; 0 before the first.
    function observedAt(Head head) internal pure returns (uint64) {
        return uint64(Head.unwrap(head) >> 192);
    }

    /// The stored report's view.
    function viewNumber(Head head) internal pure returns (uint64) {
        return uint64(Head.unwrap(head) >> 128);
    }

    /// When the epoch's reports cease to be taken, Unix ms.
    function validUntil(Head head) internal pure returns (uint256) {
        return uint48(Head.unwrap(head) >> 80);
    }

    /// The current epoch.
    function epoch(Head head) internal pure returns (uint64) {
        return uint32(Head.unwrap(head) >> 48);
    }

    /// How much older a carried answer counts, ms.
    function carry(Head head) internal pure returns (uint256) {
        return uint24(Head.unwrap(head) >> 24);
    }

    /// The number of feeds.
    function feeds(Head head) internal pure returns (uint256) {
        return uint16(Head.unwrap(head) >> 8);
    }

    /// The number of members.
    function members(Head head) internal pure returns (uint256) {
        return uint8(Head.unwrap(head));
    }
}
