// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Settlement} from "src/Settlement.sol";

/// Remembers what became of each request.
contract Settled is Settlement {
    mapping(uint256 => uint256) public priceOf;
    mapping(uint256 => uint256) public endedAs;

    constructor(Terms memory terms) Settlement(terms) {}

    function request() external returns (uint256) {
        return _request();
    }

    function _onSettled(uint256 id, uint256 price, uint256, uint64) internal override {
        (priceOf[id], endedAs[id]) = (price, 1 + uint256(Outcome.Settled));
    }

    function _onCancelled(uint256 id, Outcome outcome) internal override {
        endedAs[id] = 1 + uint256(outcome);
    }
}
