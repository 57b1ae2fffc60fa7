// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {IOracle, Reason} from "../IOracle.sol";
import {Answers} from "../libraries/Words.sol";

/// A feed that another is derived from.
struct Leg {
    IFeedReader reader;
    /// Position in the reader's feed table.
    uint16 feed;
}

/// What is known of an answer.
struct Reading {
    /// `None` or `Uncertain`, which both give a price, or why there is none.
    Reason reason;
    uint256 price;
    /// All ones if it is unknown.
    uint256 confidencePpm;
    uint8 status;
    uint256 observedAtMs;
}

/// What a feed says of itself.
struct Description {
    string base;
    string quote;
    uint8 decimals;
    uint32 deviationPpm;
    uint32 heartbeatMs;
    uint8 tier;
    uint8 status;
}

/// @title A feed that is computed from others, and read like an Oracle with the one feed 0
/// @notice It fails as its legs fail: with the first of their reasons in the order of `Reason`, the worst of their
/// statuses, the oldest of their times, and a confidence never narrower than the truth allows, rounding
/// included. It keeps nothing, so no read sees one leg without the other.
abstract contract DerivedFeed is IFeedReader {
    /// More decimals than the powers of ten have room for.
    error TooManyDecimals(uint256 decimals, uint256 most);

    uint256 internal constant PER_MILLION = 1_000_000;
    uint256 internal constant UNKNOWN = type(uint256).max;
    uint256 internal constant DECIMALS_MAX = 18;
    /// Prices are below this: of two of them and two powers of ten the product fits.
    uint256 internal constant PRICE_END = 1 << 96;

    /// What is wider says nothing.
    uint256 internal constant CONFIDENCE_MAX = type(uint64).max;

    /// Prices are scaled by 10**decimals.
    uint8 public immutable decimals;

    constructor(uint8 decimals_) {
        _checkDecimals(decimals_);
        decimals = decimals_;
    }

    /// @inheritdoc IFeedReader
    function read(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256, uint256)
    {
        _checkIndex(index);
        Reading memory r = _judged(maxAgeSeconds, maxConfidencePpm);
        if (r.reason == Reason.None) return (r.price, r.observedAtMs);
        if (r.reason == Reason.Halted) revert IOracle.Halted(index);
        if (r.reason == Reason.Stale) {
            uint256 now_ = block.timestamp * 1000;
            uint256 age = now_ > r.observedAtMs ? now_ - r.observedAtMs : 0;
            revert IOracle.Stale(index, age, uint256(maxAgeSeconds) * 1000);
        }
        if (r.reason == Reason.Uncertain) {
            revert IOracle.Uncertain(index, r.confidencePpm, maxConfidencePpm);
        }
        revert IOracle.Unavailable(index, r.status);
    }

    /// @inheritdoc IFeedReader
    function tryRead(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8, uint256, uint256, uint8, uint256)
    {
        if (index != 0) return (uint8(Reason.UnknownFeed), 0, UNKNOWN, Answers.UNAVAILABLE, 0);
        Reading memory r = _judged(maxAgeSeconds, maxConfidencePpm);
        return (uint8(r.reason), r.price, r.confidencePpm, r.status, r.observedAtMs);
    }

    /// @inheritdoc IFeedReader
    function latest(uint16 index) external view returns (uint256, uint256, uint8, uint256) {
        _checkIndex(index);
        // Of no age is an answer too old, so what remains is as it is stored.
        Reading memory r = _answer(type(uint32).max);
        return (r.price, r.confidencePpm, r.status, r.observedAtMs);
    }

    /// @inheritdoc IFeedReader
    function feed(uint16 index)
        external
        view
        returns (string memory, string memory, uint8, uint32, uint32, uint8, uint8)
    {
        _checkIndex(index);
        Description memory d = _describe();
        return (d.base, d.quote, decimals, d.deviationPpm, d.heartbeatMs, d.tier, d.status);
    }

    /// @notice Returns 1: there is the one feed 0.
    function feedCount() external pure returns (uint256) {
        return 1;
    }

    /// Returns the answer; its reason tells nothing of its confidence.
    function _answer(uint32 maxAgeSeconds) internal view virtual returns (Reading memory);

    /// Returns what the feed says of itself, less its decimals.
    function _describe() internal view virtual returns (Description memory);

    function _judged(uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        private
        view
        returns (Reading memory r)
    {
        r = _answer(maxAgeSeconds);
        if (r.reason == Reason.None && r.confidencePpm > maxConfidencePpm) {
            r.reason = Reason.Uncertain;
        }
    }

    /// Returns a leg's answer; that it is not certain enough is for the whole to judge.
    function _read(IFeedReader reader, uint16 index, uint32 maxAgeSeconds)
        internal
        view
        returns (Reading memory r)
    {
        uint8 reason;
        (reason, r.price, r.confidencePpm, r.status, r.observedAtMs) =
            reader.tryRead(index, maxAgeSeconds, type(uint32).max);
        r.reason = Reason(reason);
        if (r.reason == Reason.Uncertain) r.reason = Reason.None;
        if (r.price >= PRICE_END) r.price = 0;
        if (r.reason == Reason.None && r.price == 0) r.reason = Reason.Unavailable;
        if (r.confidencePpm > CONFIDENCE_MAX) r.confidencePpm = UNKNOWN;
    }

    /// Returns a leg's description; reverts if it has too many decimals.
    function _described(IFeedReader reader, uint16 index)
        internal
        view
        returns (Description memory d)
    {
        (d.base, d.quote, d.decimals, d.deviationPpm, d.heartbeatMs, d.tier, d.status) =
            reader.feed(index);
        _checkDecimals(d.decimals);
    }

    /// Writes a price that was rounded down, with a confidence that covers what was cut off.
    /// @param widthUp The confidence before, parts per million, rounded up; all ones if it is unknown.
    function _setDown(Reading memory r, uint256 price, uint256 widthUp) internal pure {
        bool fits = price != 0 && price < PRICE_END;
        if (!fits && r.reason == Reason.None) r.reason = Reason.Unavailable;
        r.price = fits ? price : 0;
        // Less than a unit was cut off, and what the confidence was relative to was greater by it.
        r.confidencePpm = fits && widthUp <= CONFIDENCE_MAX
            ? widthUp + _divUp(PER_MILLION + widthUp, price)
            : UNKNOWN;
    }

    function _divUp(uint256 a, uint256 b) internal pure returns (uint256) {
        return a == 0 ? 0 : (a - 1) / b + 1;
    }

    /// Returns how bad a status is, live the best.
    function _badness(uint8 status) private pure returns (uint256) {
        if (status == Answers.LIVE) return 0;
        if (status == Answers.DEGRADED) return 1;
        if (status == Answers.CARRIED) return 2;
        if (status == Answers.HALTED) return 3;
        return 4;
    }

    function _worse(uint8 a, uint8 b) internal pure returns (uint8) {
        return _badness(a) >= _badness(b) ? a : b;
    }

    /// Returns the reason that `read` would have met first.
    function _first(Reason a, Reason b) internal pure returns (Reason) {
        if (a == Reason.None) return b;
        if (b == Reason.None) return a;
        return a < b ? a : b;
    }

    function _checkDecimals(uint8 decimals_) private pure {
        if (decimals_ > DECIMALS_MAX) revert TooManyDecimals(decimals_, DECIMALS_MAX);
    }

    function _checkIndex(uint16 index) private pure {
        if (index != 0) revert IOracle.UnknownFeed(index, 1);
    }
}
