// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {FeedAdapter, Limits} from "./FeedAdapter.sol";

/// @title A feed as Chronicle's oracles show theirs (`IChronicle`)
/// @notice Values have 18 decimals. `age` is the name that `IChronicle` gives to a *timestamp*: here Unix
/// seconds of the observation, never later than the block's time, where Chronicle's is the time of the
/// block that stored the value. Everybody may read: there is no toll.
contract ChronicleAdapter is FeedAdapter {
    uint256 private immutable _factor;

    constructor(IFeedReader reader_, uint16 feed_, string memory pair, Limits memory limits)
        FeedAdapter(reader_, feed_, pair, limits)
    {
        // Feeds have 18 decimals at most, so nothing is cut off.
        _factor = 10 ** (18 - _feedDecimals);
    }

    /// @notice Returns the pair, as in "BTC/USD", padded with zero bytes on the right.
    function wat() external view returns (bytes32) {
        // Two names of 12 bytes in an Oracle; what a longer name has beyond 32 bytes is left out.
        return bytes32(bytes(_pair("/")));
    }

    /// @notice Returns the value in 18 decimals, never zero; reverts if there is none.
    function read() external view returns (uint256 value) {
        (value,,) = _fit();
        value *= _factor;
    }

    /// @notice Returns the value and when it was observed; reverts if there is none.
    /// @return value In 18 decimals, never zero.
    /// @return age Unix seconds, a time and not an age.
    function readWithAge() external view returns (uint256 value, uint256 age) {
        uint256 observedAtMs;
        (value,, observedAtMs) = _fit();
        value *= _factor;
        age = _seconds(observedAtMs);
    }

    /// @notice Returns whether there is a value, and it in 18 decimals, else zero.
    function tryRead() external view returns (bool isValid, uint256 value) {
        (isValid, value,) = _tryReadWithAge();
    }

    /// @notice Returns whether there is a value, it in 18 decimals and when it was observed, else zeroes.
    function tryReadWithAge() external view returns (bool isValid, uint256 value, uint256 age) {
        return _tryReadWithAge();
    }

    function _tryReadWithAge() private view returns (bool, uint256, uint256) {
        (bool fit, uint256 price,, uint256 observedAtMs) = _tryFit();
        if (!fit) return (false, 0, 0);
        return (true, price * _factor, _seconds(observedAtMs));
    }
}
