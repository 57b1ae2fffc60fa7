// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Configuration} from "../src/IOracle.sol";
import {Oracle} from "../src/Oracle.sol";
import {Blobs} from "../src/libraries/Blobs.sol";
import {Catalogues} from "../src/libraries/Catalogues.sol";
import {Committees} from "../src/libraries/Committees.sol";

/// The real Oracle with one epoch put where it belongs, for vectors of an epoch other than the first.
/// Compiled by itself, as `Hasher` is.
contract OracleOfEpoch is Oracle {
    constructor(bytes32 nameHash, bytes32 configurationHash_)
        Oracle(nameHash, configurationHash_, 0, 1000)
    {}

    function plant(uint64 epoch_, bytes32 domain_, bytes32 hash, Configuration calldata c) external {
        for (uint256 i; i < 2 * epoch_; ++i) Blobs.store("");
        Committees.store(c.members, domain_, c.validUntil, 0, 0);
        Catalogues.store(c.feeds, hash);
    }
}
