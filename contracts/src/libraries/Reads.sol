// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFeedReader} from "../IFeedReader.sol";

/// The reader returned less than an answer: there is no Oracle at its address.
error NoReader(address reader);

/// @title The call of `tryRead`, at about half of what the compiler's own costs
library Reads {
    /// Returns what the reader's `tryRead` does; passes its revert on.
    function tryRead(
        IFeedReader reader,
        uint256 feed,
        uint256 maxAgeSeconds,
        uint256 maxConfidencePpm
    )
        internal
        view
        returns (
            uint256 reason,
            uint256 price,
            uint256 confidencePpm,
            uint256 status,
            uint256 observedAtMs
        )
    {
        bytes4 selector = IFeedReader.tryRead.selector;
        bool whole;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, selector)
            mstore(add(data, 4), feed)
            mstore(add(data, 36), maxAgeSeconds)
            mstore(add(data, 68), maxConfidencePpm)
            if iszero(staticcall(gas(), reader, data, 100, data, 160)) {
                returndatacopy(data, 0, returndatasize())
                revert(data, returndatasize())
            }
            // An address without code succeeds with nothing.
            whole := gt(returndatasize(), 159)
            reason := mload(data)
            price := mload(add(data, 32))
            confidencePpm := mload(add(data, 64))
            status := mload(add(data, 96))
            observedAtMs := mload(add(data, 128))
        }
        if (!whole) revert NoReader(address(reader));
    }
}
