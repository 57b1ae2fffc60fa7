// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";
import {Reason} from "../IOracle.sol";
import {Answers} from "../libraries/Words.sol";

/// @title A reader that gives no price while a rollup's sequencer is down, nor for some time after
/// @notice While it is down only few can act, and what they settle at is old. It asks Chainlink's uptime feed of
/// the rollup (`latestRoundData`: answer 0 is up, 1 is down; started when it last changed), and passes on
/// every feed of the reader behind it. An uptime feed that answers nothing, or anything else, counts as down.
contract SequencerGate is IFeedReader {
    /// The sequencer is down, or nothing tells that it is up.
    error SequencerDown();
    /// The sequencer came up too recently, Unix seconds.
    error GracePeriod(uint256 upSince, uint256 until);

    IFeedReader public immutable reader;
    /// Chainlink's `L2 Sequencer Uptime Status Feed` of this chain.
    address public immutable uptimeFeed;
    /// How long the sequencer must be up before prices are given.
    uint32 public immutable graceSeconds;

    constructor(IFeedReader reader_, address uptimeFeed_, uint32 graceSeconds_) {
        reader = reader_;
        uptimeFeed = uptimeFeed_;
        graceSeconds = graceSeconds_;
        // A feed that tells nothing now was the wrong address; that it tells of an outage is fine.
        (bool answers,,) = _uptime();
        if (!answers) revert SequencerDown();
    }

    /// @inheritdoc IFeedReader
    function read(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256, uint256)
    {
        (, bool up, uint256 since) = _uptime();
        if (!up) revert SequencerDown();
        if (!_isOver(since)) revert GracePeriod(since, since + graceSeconds);
        return reader.read(index, maxAgeSeconds, maxConfidencePpm);
    }

    /// @inheritdoc IFeedReader
    /// @dev While the gate is closed: unavailable, in reason (unless the feed is unknown) and status.
    function tryRead(uint16 index, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8 reason, uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs)
    {
        (reason, price, confidencePpm, status, observedAtMs) =
            reader.tryRead(index, maxAgeSeconds, maxConfidencePpm);
        if (isOpen()) return (reason, price, confidencePpm, status, observedAtMs);
        if (reason != uint8(Reason.UnknownFeed)) reason = uint8(Reason.Unavailable);
        status = Answers.UNAVAILABLE;
    }

    /// @inheritdoc IFeedReader
    /// @dev While the gate is closed the status is unavailable.
    function latest(uint16 index)
        external
        view
        returns (uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs)
    {
        (price, confidencePpm, status, observedAtMs) = reader.latest(index);
        if (!isOpen()) status = Answers.UNAVAILABLE;
    }

    /// @inheritdoc IFeedReader
    function feed(uint16 index)
        external
        view
        returns (
            string memory base,
            string memory quote,
            uint8 decimals,
            uint32 deviationPpm,
            uint32 heartbeatMs,
            uint8 tier,
            uint8 status
        )
    {
        (base, quote, decimals, deviationPpm, heartbeatMs, tier, status) = reader.feed(index);
        if (!isOpen()) status = Answers.UNAVAILABLE;
    }

    /// @notice Returns whether the sequencer is up, and was for the grace period.
    function isOpen() public view returns (bool) {
        (, bool up, uint256 since) = _uptime();
        return up && _isOver(since);
    }

    function _isOver(uint256 since) private view returns (bool) {
        return block.timestamp > since && block.timestamp - since > graceSeconds;
    }

    /// Returns whether the feed answers as it should, whether it says up, and since when.
    function _uptime() private view returns (bool answers, bool up, uint256 since) {
        (bool done, bytes memory output) =
            uptimeFeed.staticcall(abi.encodeWithSignature("latestRoundData()"));
        if (!done || output.length != 160) return (false, false, 0);
        uint256 answer;
        (, answer, since,,) = abi.decode(output, (uint256, uint256, uint256, uint256, uint256));
        answers = answer <= 1;
        // A start of 0 is a round that has not been reported yet.
        up = answer == 0 && since != 0 && since <= block.timestamp;
    }
}
