// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {FeedAdapter, Limits} from "./FeedAdapter.sol";

/// @title A feed as Chainlink's aggregators show theirs (`AggregatorV3Interface`, and the interface before)
/// @notice A round is a report, and its id says when it was observed: 1 << 64 | Unix milliseconds. So ids
/// strictly increase, one id never names two answers, and nothing has to be stored to number them; the next
/// id is not the last plus one. The newest round can always be had. An older one can if somebody
/// called `retain` while it was the newest; it then can for ever, for nobody can push it out.
/// On a feed that is derived from two, a report is known by the older time of its legs: until that moves on,
/// the newest answer may still change under its id. What is retained does not.
contract ChainlinkAdapter is FeedAdapter {
    /// @notice A round was retained.
    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    /// The answer in 8 decimals is less certain than the limit allows, since they cut off the rest.
    error TooCoarse(uint256 answer, uint256 maxConfidencePpm);

    /// @notice Always 8, whatever the feed's own.
    uint8 public constant decimals = 8;
    /// @notice The version of this adapter.
    uint256 public constant version = 1;

    uint80 private constant PHASE = 1 << 64;

    bool private immutable _multiplies;
    uint256 private immutable _factor;
    /// By round id; zero if the round is not retained. The time stands in the id.
    mapping(uint80 roundId => uint256 answer) private _retained;

    constructor(IFeedReader reader_, uint16 feed_, string memory pair, Limits memory limits)
        FeedAdapter(reader_, feed_, pair, limits)
    {
        _multiplies = _feedDecimals <= decimals;
        _factor = _multiplies
            ? 10 ** (decimals - _feedDecimals)
            : 10 ** (_feedDecimals - decimals);
    }

    /// @notice Returns the pair, as in "BTC / USD".
    function description() external view returns (string memory) {
        return _pair(" / ");
    }

    /// @notice Returns the newest round.
    /// @return roundId 1 << 64 | observation time, Unix milliseconds.
    /// @return answer In 8 decimals, rounded down, positive.
    /// @return startedAt The observation time in seconds, never later than the block's; as `updatedAt`.
    /// @return updatedAt See `startedAt`.
    /// @return answeredInRound The round's id.
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        (uint80 roundId, int256 answer) = _latest();
        return _data(roundId, answer);
    }

    /// @notice Returns the newest round or one that was retained; reverts with "No data present" for others.
    function getRoundData(uint80 roundId)
        external
        view
        returns (uint80, int256, uint256, uint256, uint80)
    {
        return _data(roundId, _answerOf(roundId));
    }

    /// @notice Returns the newest answer.
    function latestAnswer() external view returns (int256 answer) {
        (, answer) = _latest();
    }

    /// @notice Returns when the newest answer was observed, Unix seconds.
    function latestTimestamp() external view returns (uint256) {
        (uint80 roundId,) = _latest();
        return _timeOf(roundId);
    }

    /// @notice Returns the id of the newest round.
    function latestRound() external view returns (uint256) {
        (uint80 roundId,) = _latest();
        return roundId;
    }

    /// @notice Returns the answer of a round, as `getRoundData`; no unknown round reads as zero.
    function getAnswer(uint256 roundId) external view returns (int256) {
        return _answerOf(_checkedId(roundId));
    }

    /// @notice Returns when a round was observed, Unix seconds, as `getRoundData`.
    function getTimestamp(uint256 roundId) external view returns (uint256) {
        uint80 id = _checkedId(roundId);
        _answerOf(id);
        return _timeOf(id);
    }

    /// @notice Keeps the newest round, so that `getRoundData` gives it for ever; anyone may call.
    /// @return roundId Its id.
    function retain() external returns (uint80 roundId) {
        int256 answer;
        (roundId, answer) = _latest();
        if (_retained[roundId] != 0) return roundId;
        _retained[roundId] = uint256(answer);
        emit AnswerUpdated(answer, roundId, _timeOf(roundId));
    }

    function _latest() private view returns (uint80, int256) {
        (uint256 price, uint256 confidencePpm, uint256 observedAtMs) = _fit();
        uint256 answer = _eightDecimalsDown(price);
        if (!_isFine(answer, confidencePpm)) revert TooCoarse(answer, maxConfidencePpm);
        return (_idOf(observedAtMs), int256(answer));
    }

    function _answerOf(uint80 roundId) private view returns (int256) {
        uint256 answer = _retained[roundId];
        if (answer != 0) return int256(answer);
        (bool fit, uint256 price, uint256 confidencePpm, uint256 observedAtMs) = _tryFit();
        if (!fit || _idOf(observedAtMs) != roundId) _revertWithNoData();
        answer = _eightDecimalsDown(price);
        if (!_isFine(answer, confidencePpm)) _revertWithNoData();
        return int256(answer);
    }

    function _data(uint80 roundId, int256 answer)
        private
        view
        returns (uint80, int256, uint256, uint256, uint80)
    {
        uint256 time = _timeOf(roundId);
        return (roundId, answer, time, time, roundId);
    }

    function _idOf(uint256 observedAtMs) private pure returns (uint80) {
        return PHASE | uint64(observedAtMs);
    }

    function _timeOf(uint80 roundId) private view returns (uint256) {
        return _seconds(uint64(roundId));
    }

    function _checkedId(uint256 roundId) private pure returns (uint80) {
        if (roundId > type(uint80).max) _revertWithNoData();
        return uint80(roundId);
    }

    function _eightDecimalsDown(uint256 price) private view returns (uint256) {
        unchecked {
            // A price that is passed on has 96 bits, a factor is 10**8 at most.
            return _multiplies ? price * _factor : price / _factor;
        }
    }

    /// Returns whether the answer is as certain as the limit demands with what rounding took from it.
    function _isFine(uint256 answer, uint256 confidencePpm) private view returns (bool) {
        if (_multiplies) return true;
        // A unit of the answer at most was cut off: a million answer-ths of it, in parts per million.
        return answer * (maxConfidencePpm - confidencePpm) >= 1_000_000;
    }

    /// As Chainlink's proxies do. Written out because the build strips strings of reverts.
    function _revertWithNoData() private pure {
        assembly ("memory-safe") {
            mstore(0, shl(224, 0x08c379a0))
            mstore(4, 0x20)
            mstore(36, 15)
            mstore(68, "No data present")
            revert(0, 100)
        }
    }
}
