// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {Reason} from "../IOracle.sol";
import {Reads} from "../libraries/Reads.sol";
import {Answers} from "../libraries/Words.sol";

/// The feed has no answer that this adapter passes on: `reason` is that of `tryRead`; none with status 2
/// means that the answer is carried, which a reader of another interface could not see.
error Unfit(uint256 feed, Reason reason, uint8 status, uint256 observedAtMs);
/// What is read calls this feed otherwise: another index or another Oracle was meant.
error AnotherPair(string pair, string expected);
/// A number is out of its range.
error OutOfRange(string what, uint256 value, uint256 minimum, uint256 maximum);

/// How old and how uncertain an answer an adapter passes on.
struct Limits {
    /// By observation time; not zero.
    uint32 maxAgeSeconds;
    /// Parts per million of the price.
    uint32 maxConfidencePpm;
}

/// @title One feed behind another oracle's interface
/// @notice What it reads, which feed, and the limits are fixed for good. Every read reverts with `Unfit`
/// unless the answer is live or degraded, and within the limits.
abstract contract FeedAdapter {
    /// What is read: an Oracle, or a feed derived from it.
    IFeedReader public immutable reader;
    /// Position in the reader's feed table.
    uint16 public immutable feed;
    /// The oldest answer passed on, by observation time.
    uint32 public immutable maxAgeSeconds;
    /// The least certain answer passed on, parts per million of the price.
    uint32 public immutable maxConfidencePpm;

    /// More would not fit the powers of ten below.
    uint256 internal constant DECIMALS_MAX = 18;

    /// The feed's decimals, which never change.
    uint8 internal immutable _feedDecimals;

    /// @param pair What the deployer means to read, as in "BTC/USD".
    constructor(IFeedReader reader_, uint16 feed_, string memory pair, Limits memory limits) {
        (string memory base, string memory quote, uint8 decimals_,,,,) = reader_.feed(feed_);
        string memory found = string.concat(base, "/", quote);
        if (keccak256(bytes(found)) != keccak256(bytes(pair))) revert AnotherPair(found, pair);
        if (decimals_ > DECIMALS_MAX) revert OutOfRange("decimals", decimals_, 0, DECIMALS_MAX);
        if (limits.maxAgeSeconds == 0) {
            revert OutOfRange("maxAgeSeconds", 0, 1, type(uint32).max);
        }
        reader = reader_;
        feed = feed_;
        maxAgeSeconds = limits.maxAgeSeconds;
        maxConfidencePpm = limits.maxConfidencePpm;
        _feedDecimals = decimals_;
    }

    /// Returns the answer if it may be passed on.
    function _tryFit()
        internal
        view
        returns (bool fit, uint256 price, uint256 confidencePpm, uint256 observedAtMs)
    {
        uint256 reason;
        uint256 status;
        (reason, price, confidencePpm, status, observedAtMs) =
            Reads.tryRead(reader, feed, maxAgeSeconds, maxConfidencePpm);
        fit = _isPassedOn(reason, price, status);
    }

    /// Returns the answer, or reverts.
    function _fit()
        internal
        view
        returns (uint256 price, uint256 confidencePpm, uint256 observedAtMs)
    {
        uint256 reason;
        uint256 status;
        (reason, price, confidencePpm, status, observedAtMs) =
            Reads.tryRead(reader, feed, maxAgeSeconds, maxConfidencePpm);
        if (!_isPassedOn(reason, price, status)) {
            revert Unfit(feed, Reason(reason), uint8(status), observedAtMs);
        }
    }

    function _isPassedOn(uint256 reason, uint256 price, uint256 status)
        private
        pure
        returns (bool passed)
    {
        passed = status == Answers.LIVE || status == Answers.DEGRADED;
        assembly ("memory-safe") {
            // Without the jumps of `&&`.
            passed := and(passed, and(iszero(reason), iszero(shr(96, price))))
        }
    }

    /// Returns an observation time in Unix seconds, never later than the block's.
    function _seconds(uint256 observedAtMs) internal view returns (uint256) {
        unchecked {
            uint256 observedAt = observedAtMs / 1000;
            return observedAt < block.timestamp ? observedAt : block.timestamp;
        }
    }

    /// Returns the pair with this between its two names.
    function _pair(string memory separator) internal view returns (string memory) {
        (string memory base, string memory quote,,,,,) = reader.feed(feed);
        return string.concat(base, separator, quote);
    }
}
