// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IOracle} from "./IOracle.sol";
import {Roots} from "./libraries/Roots.sol";

/// @title A second look at jumps
/// @notice Stands between one feed and whoever opts in. A price that lies further from the last accepted
/// one than a bound, which grows with the square root of the time between them, is served only
/// after a second report confirms it. In shadow nothing is ever blocked, and trips are logged all
/// the same: run it so first, and look at the trips.
///
/// What is looked at is recorded by `poke`, which anyone may call and which never reverts for what a
/// feed says: a revert would undo the record. `read` serves or reverts, and records nothing. Poke
/// with every update, or at least once in a few heartbeats: the bound widens with the time since the
/// last accepted report, so a guard that is never poked ends up guarding nothing.
///
/// Invariants, each tested under its number:
///
///  G1 *bounded*     Unless in shadow, `read` serves only prices within the bound of the accepted one, or
///                   within the bound of one that tripped, from a report between `confirmAfter` and
///                   `confirmWithin` later.
///  G2 *fail closed* `read` serves only what `IOracle.read` with this guard's limits serves.
///  G3 *logged*      A jump is logged when it is first poked, its confirmation when that is, in shadow too.
///  G4 *fixed*       All parameters are fixed together at deployment, there is no owner. Other parameters
///                   are another guard: a consumer changes all of them, or none.
///  G5 *heals*       A level that two reports agree on is accepted, whatever the jump: no price is
///                   refused for good.
///
/// Times are Unix milliseconds.
contract Guard {
    struct Parameters {
        uint16 feed;
        /// As in `IOracle.read`.
        uint32 maxAgeSeconds;
        uint32 maxConfidencePpm;
        /// The bound at no time, parts per million of the accepted price.
        uint32 floorPpm;
        /// What the bound grows by in the first second, in four as much again; parts per million.
        uint32 ratePpm;
        /// How long after a jump another report confirms it, at the least and at the most, ms.
        uint32 confirmAfter;
        uint32 confirmWithin;
        /// Whether only to log.
        bool shadow;
    }

    /// What a report said that was looked at.
    struct Seen {
        /// Scaled by 10**decimals of the feed; 0 if there was none.
        uint128 price;
        uint64 observedAt;
    }

    /// @notice A price out of the bound; it waits for a second report that confirms it.
    event Tripped(
        uint256 price, uint64 observedAt, uint256 accepted, uint64 acceptedAt, uint256 boundPpm, bool shadow
    );
    /// @notice A jump was confirmed: it is the accepted price from now on.
    event Confirmed(uint256 price, uint64 observedAt, uint256 before);

    /// The price lies out of the bound of the accepted one, and was not confirmed yet.
    error Unconfirmed(uint256 price, uint256 accepted, uint256 boundPpm);
    /// Bounds below a part of a million, a window that closes before it opens, or no such feed.
    error UnsoundParameters();

    uint256 private constant PPM = 1_000_000;
    uint8 private constant CARRIED = 2;

    IOracle public immutable oracle;
    uint16 public immutable feed;
    uint32 public immutable maxAgeSeconds;
    uint32 public immutable maxConfidencePpm;
    uint32 public immutable floorPpm;
    uint32 public immutable ratePpm;
    uint32 public immutable confirmAfter;
    uint32 public immutable confirmWithin;
    bool public immutable shadow;

    /// @notice The price that others are measured by.
    Seen public accepted;
    /// @notice The last jump, which waits to be confirmed; 0 if none does.
    Seen public jumped;

    constructor(IOracle oracle_, Parameters memory p) {
        bool sound = p.floorPpm != 0 && p.confirmAfter != 0 && p.confirmAfter <= p.confirmWithin
            && p.feed < oracle_.feedCount();
        if (!sound) revert UnsoundParameters();
        oracle = oracle_;
        feed = p.feed;
        maxAgeSeconds = p.maxAgeSeconds;
        maxConfidencePpm = p.maxConfidencePpm;
        floorPpm = p.floorPpm;
        ratePpm = p.ratePpm;
        confirmAfter = p.confirmAfter;
        confirmWithin = p.confirmWithin;
        shadow = p.shadow;
    }

    /// @notice Looks at the feed's newest answer and records it; anyone may.
    /// @return served Whether `read` serves it.
    function poke() external returns (bool served) {
        (uint8 reason, uint256 price,, uint8 status, uint256 observedAt) =
            oracle.tryRead(feed, maxAgeSeconds, maxConfidencePpm);
        if (reason != 0) return false;
        Seen memory last = accepted;
        Seen memory jump = jumped;
        Seen memory seen = Seen(uint128(price), uint64(observedAt));
        if (_isWithin(last, seen)) {
            // A carried answer is an older one: its time would narrow the bound for no reason.
            if (status != CARRIED && seen.observedAt > last.observedAt) {
                accepted = seen;
                if (jump.price != 0) delete jumped;
            }
            return true;
        }
        if (_confirms(jump, seen, status)) {
            accepted = seen;
            delete jumped;
            emit Confirmed(price, seen.observedAt, last.price);
            return true;
        }
        if (_isNewJump(jump, seen, status)) {
            jumped = seen;
            emit Tripped(
                price, seen.observedAt, last.price, last.observedAt, boundPpm(last, seen), shadow
            );
        }
        return shadow;
    }

    /// @notice Returns a price that is fit for use, or reverts with the reason, the Oracle's or the
    /// guard's.
    /// @return price Scaled by 10**decimals of the feed, never zero.
    /// @return observedAt When it was observed, Unix milliseconds.
    function read() external view returns (uint256 price, uint256 observedAt) {
        (price, observedAt) = oracle.read(feed, maxAgeSeconds, maxConfidencePpm);
        if (shadow) return (price, observedAt);
        Seen memory last = accepted;
        Seen memory seen = Seen(uint128(price), uint64(observedAt));
        if (_isWithin(last, seen)) return (price, observedAt);
        (,, uint8 status,) = oracle.latest(feed);
        if (_confirms(jumped, seen, status)) return (price, observedAt);
        revert Unconfirmed(price, last.price, boundPpm(last, seen));
    }

    /// @notice Returns how far a price may lie from another, parts per million of the other, rounded
    /// down: towards a second look.
    function boundPpm(Seen memory from, Seen memory to) public view returns (uint256) {
        uint256 elapsed = to.observedAt > from.observedAt ? to.observedAt - from.observedAt : 0;
        // rate · √(ms / 1000) = √(rate² · ms / 1000)
        return floorPpm + Roots.sqrtDown(uint256(ratePpm) * ratePpm * elapsed / 1000);
    }

    /// Returns whether a price lies within the bound of an accepted one. Without one none does.
    function _isWithin(Seen memory from, Seen memory to) private view returns (bool) {
        if (from.price == 0) return false;
        uint256 difference = to.price > from.price ? to.price - from.price : from.price - to.price;
        return difference * PPM <= uint256(from.price) * boundPpm(from, to);
    }

    /// Returns whether a report confirms a jump. A carried answer says nothing of its own.
    function _confirms(Seen memory jump, Seen memory seen, uint8 status) private view returns (bool) {
        if (jump.price == 0 || status == CARRIED || seen.observedAt < jump.observedAt) return false;
        uint256 later = seen.observedAt - jump.observedAt;
        return later >= confirmAfter && later <= confirmWithin && _isWithin(jump, seen);
    }

    /// Returns whether a price out of all bounds is to be waited for from now on: not if the one that
    /// waits says the same and is young enough, or a guard that is poked often would never confirm.
    function _isNewJump(Seen memory jump, Seen memory seen, uint8 status)
        private
        view
        returns (bool)
    {
        if (status == CARRIED || seen.observedAt <= jump.observedAt) return false;
        bool waits = jump.price != 0 && seen.observedAt - jump.observedAt < confirmAfter;
        return !(waits && _isWithin(jump, seen));
    }
}
