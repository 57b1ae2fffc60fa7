// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Place} from "../IOracle.sol";
import {Answer} from "./Words.sol";

/// The one storage slot that every push and every read loads:
///
///   observedAt 48 | postedAt 48 | view 32 | epoch 24 | carry 22 | feeds 10 | beside 8 |
///   answer of feed 0, 64
///
/// `observedAt` and `view` are of the last push. `postedAt` is the newest time of a report that was
/// posted or updated from. Unless bit k of `beside` is set, no pair whose number is k modulo 8 is as
/// new as the last push, nor can become so by a proof.
type Head is uint256;

using Heads for Head global;

/// @title Packing of the head
library Heads {
    uint256 internal constant TIME_MAX = type(uint48).max;
    uint256 internal constant CARRY_MAX = 3_600_000;

    uint256 private constant POSTED_AT = TIME_MAX << 160;
    uint256 private constant VIEW = uint256(type(uint32).max) << 128;
    // Epoch, carry and feeds; and with the view before them.
    uint256 private constant EPOCH = uint256(type(uint56).max) << 72;
    uint256 private constant VIEW_AND_EPOCH = uint256(type(uint88).max) << 72;
    uint256 private constant BESIDE = uint256(type(uint8).max) << 64;

    /// Returns the head with another epoch; what is stored stays.
    function withEpoch(Head head, uint256 epoch_, uint256 carry_, uint256 feeds_)
        internal
        pure
        returns (Head)
    {
        uint256 kept = Head.unwrap(head) & ~VIEW_AND_EPOCH;
        return Head.wrap(kept | epoch_ << 104 | carry_ << 82 | feeds_ << 72);
    }

    /// Returns the head after a push of words that begin with this one, if nothing as new was posted or
    /// updated from.
    function withPush(Head head, Place place, uint256 firstWord) internal pure returns (Head) {
        uint256 kept = Head.unwrap(head) & (POSTED_AT | EPOCH);
        // What is taken lies within the epoch's term, so 48 bits hold its time.
        uint256 time = (Place.unwrap(place) >> 128) << 208;
        uint256 view_ = (Place.unwrap(place) >> 64) & VIEW;
        return Head.wrap(kept | time | view_ | firstWord >> 192);
    }

    /// Returns the head with what another says of pairs beside the push.
    function withBeside(Head head, Head other) internal pure returns (Head) {
        return Head.wrap(Head.unwrap(head) | (Head.unwrap(other) & BESIDE));
    }

    /// Returns the head after a report was posted that is newer than what was before: any of its
    /// pairs may now be proven.
    function withPosted(Head head, uint256 observedAt_) internal pure returns (Head) {
        return Head.wrap((Head.unwrap(head) & ~POSTED_AT) | observedAt_ << 160 | BESIDE);
    }

    /// Returns the head after answers of a report were stored beside the last push.
    /// @param pairs The sum of `besideOf` of their feeds.
    function withUpdate(Head head, uint256 observedAt_, uint256 pairs) internal pure returns (Head) {
        uint256 kept = Head.unwrap(head) | pairs;
        if (observedAt_ <= head.postedAt()) return Head.wrap(kept);
        return Head.wrap((kept & ~POSTED_AT) | observedAt_ << 160);
    }

    /// Returns the bit that stands for a feed's pair, in its place.
    function besideOf(uint256 feed) internal pure returns (uint256) {
        unchecked {
            return 1 << (64 + ((feed >> 1) & 7));
        }
    }

    /// When the last push was observed, Unix ms; 0 before the first.
    function observedAt(Head head) internal pure returns (uint256) {
        return Head.unwrap(head) >> 208;
    }

    /// The newest time posted or updated from, Unix ms; 0 before the first.
    function postedAt(Head head) internal pure returns (uint256) {
        return uint48(Head.unwrap(head) >> 160);
    }

    /// Returns whether something as new was posted or updated from, if the time has 48 bits.
    function isPosted(Head head, uint256 observedAt_) internal pure returns (bool) {
        return Head.unwrap(head) << 48 >= observedAt_ << 208;
    }

    /// The view of the last push in this epoch; 0 before it.
    function viewNumber(Head head) internal pure returns (uint256) {
        return uint32(Head.unwrap(head) >> 128);
    }

    /// The current epoch.
    function epoch(Head head) internal pure returns (uint256) {
        return uint24(Head.unwrap(head) >> 104);
    }

    /// How much older a carried answer counts, ms.
    function carry(Head head) internal pure returns (uint256) {
        return (Head.unwrap(head) >> 82) & 0x3fffff;
    }

    /// The number of feeds; 0 before the first epoch is open.
    function feeds(Head head) internal pure returns (uint256) {
        return (Head.unwrap(head) >> 72) & 0x3ff;
    }

    /// The answer of feed 0 in the last push.
    function firstAnswer(Head head) internal pure returns (Answer) {
        return Answer.wrap(uint64(Head.unwrap(head)));
    }
}
