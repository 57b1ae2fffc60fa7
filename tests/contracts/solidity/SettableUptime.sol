// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A sequencer's uptime feed, as far as it is read.
contract SettableUptime {
    int256 private _answer;
    uint256 private _startedAt;

    function set(int256 answer, uint256 startedAt) external {
        (_answer, _startedAt) = (answer, startedAt);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (1, _answer, _startedAt, _startedAt, 1);
    }
}
