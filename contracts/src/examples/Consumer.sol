// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IOracle} from "../IOracle.sol";

/// @title The least that a contract does to use a price
/// @notice Values an amount of feed 0's base in its quote. It keeps the Oracle's address for good, so
/// whoever deploys it compares `network()` with the network that it means to trust.
contract Consumer {
    /// The Oracle at this address is of another network.
    error AnotherNetwork(bytes32 network);

    uint16 private constant FEED = 0;
    uint32 private constant MAX_AGE_SECONDS = 60;
    uint32 private constant MAX_CONFIDENCE_PPM = 5_000;

    IOracle public immutable oracle;
    uint256 private immutable _unit;

    constructor(IOracle oracle_, bytes32 network) {
        bytes32 found = oracle_.network();
        if (found != network) revert AnotherNetwork(found);
        (,, uint8 decimals,,,,) = oracle_.feed(FEED);
        oracle = oracle_;
        _unit = 10 ** decimals;
    }

    /// @notice Returns what an amount is worth, rounded down; reverts if there is no price fit for use.
    function valueOf(uint256 amount) external view returns (uint256 value) {
        (uint256 price,) = oracle.read(FEED, MAX_AGE_SECONDS, MAX_CONFIDENCE_PPM);
        return amount * price / _unit;
    }
}
