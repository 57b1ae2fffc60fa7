// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../src/IOracle.sol";
import {OracleTest, Report} from "./OracleTest.sol";
import {Signers} from "./Signers.sol";
import {check, vm} from "./Vm.sol";

contract OracleForgeTest is OracleTest {
    IOracle private _oracle;
    Signers private _signers;

    function setUp() external {
        vm.warp(START);
        _signers = new Signers(4, 1, 6, nowMs() + DAY, 30_000);
        _oracle = deploy(_signers);
    }

    function test_push() external {
        Report memory r;
        (r.view_, r.observedAt, r.signers) = (1, nowMs(), 15);
        r.words = new uint256[](2);
        r.words[0] = 5 << 208 | 1 << 192;
        r = signed(r, _signers, domainOf(_signers, _signers, 0));
        check(_oracle.push(certificateOf(r), r.words), "stored");
    }
}
