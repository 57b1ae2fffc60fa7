// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Place} from "../IOracle.sol";

/// @title Decoding of places
library Places {
    /// The epoch of the report.
    function epoch(Place place) internal pure returns (uint256) {
        return Place.unwrap(place) >> 224;
    }

    /// The view in which it was certified.
    function viewNumber(Place place) internal pure returns (uint256) {
        return uint32(Place.unwrap(place) >> 192);
    }

    /// When it was observed, Unix ms.
    function observedAt(Place place) internal pure returns (uint256) {
        return uint64(Place.unwrap(place) >> 128);
    }

    /// Who signed it, bit i for member i.
    function signers(Place place) internal pure returns (uint256) {
        return uint128(Place.unwrap(place));
    }
}
