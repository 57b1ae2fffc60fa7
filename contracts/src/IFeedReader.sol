// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title What can be read like an Oracle: the Oracle, and feeds that are derived from it
/// @notice The reads of `IOracle`, selector for selector, so that an adapter sits on either.
interface IFeedReader {
    /// @notice As in `IOracle`.
    function read(uint16 feed, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint256 price, uint256 observedAtMs);

    /// @notice As in `IOracle`.
    function tryRead(uint16 feed, uint32 maxAgeSeconds, uint32 maxConfidencePpm)
        external
        view
        returns (uint8 reason, uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs);

    /// @notice As in `IOracle`.
    function latest(uint16 feed)
        external
        view
        returns (uint256 price, uint256 confidencePpm, uint8 status, uint256 observedAtMs);

    /// @notice As in `IOracle`.
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
        );
}
