// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Place} from "../IOracle.sol";
import {Places} from "./Places.sol";
import {Answer} from "./Words.sol";

using Places for Place;

/// The one storage slot that every push and every read loads:
///
///   observedAt 48 | postedAt 48 | view 32 | epoch 24 | carry 24 | feeds 16 | answer of feed 0, 64
///
/// `observedAt` and `view` are of the last push. `postedAt` is the newest time of a report that was
/// posted or updated from: unless it is later, no answer is newer than the last push.
type Head is uint256;

using Heads for Head global;

/// @title Packing of the head
library Heads {
    uint256 internal constant TIME_MAX = type(uint48).max;
    uint256 internal constant CARRY_MAX = 3_600_000;

    uint256 private constant POSTED_AT = TIME_MAX << 160;
    // Epoch, carry and feeds; and with the view before them.
    uint256 private constant EPOCH = uint256(type(uint64).max) << 64;
    uint256 private constant VIEW_AND_EPOCH = uint256(type(uint96).max) << 64;

    /// Returns the head with another epoch; what is stored stays.
    function withEpoch(Head head, uint256 epoch_, uint256 carry_, uint256 feeds_)
        internal
        pure
        returns (Head)
    {
        uint256 kept = Head.unwrap(head) & ~VIEW_AND_EPOCH;
        return Head.wrap(kept | epoch_ << 104 | carry_ << 80 | feeds_ << 64);
    }

    /// Returns the head after a push of words that begin with this one.
    function withPush(Head head, Place place, uint256 firstWord) internal pure returns (Head) {
        uint256 kept = Head.unwrap(head) & (POSTED_AT | EPOCH);
        // What is taken lies within the epoch's term, so 48 bits hold its time.
        uint256 time = (Place.unwrap(place) >> 128) << 208;
        return Head.wrap(kept | time | place.viewNumber() << 128 | firstWord >> 192);
    }

    /// Returns the head after a report was posted or updated from.
    function withPosted(Head head, uint256 observedAt_) internal pure returns (Head) {
        if (observedAt_ <= head.postedAt()) return head;
        return Head.wrap((Head.unwrap(head) & ~POSTED_AT) | observedAt_ << 160);
    }

    /// When the last push was observed, Unix ms; 0 before the first.
    function observedAt(Head head) internal pure returns (uint256) {
        return Head.unwrap(head) >> 208;
    }

    /// The newest time posted or updated from, Unix ms; 0 before the first.
    function postedAt(Head head) internal pure returns (uint256) {
        return uint48(Head.unwrap(head) >> 160);
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
        return uint24(Head.unwrap(head) >> 80);
    }

    /// The number of feeds; 0 before the first epoch is open.
    function feeds(Head head) internal pure returns (uint256) {
        return uint16(Head.unwrap(head) >> 64);
    }

    /// The answer of feed 0 in the last push.
    function firstAnswer(Head head) internal pure returns (Answer) {
        return Answer.wrap(uint64(Head.unwrap(head)));
    }
}
