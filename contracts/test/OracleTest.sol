// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {Certificate, IOracle, Place} from "../src/IOracle.sol";
import {Signers, deployed} from "./Signers.sol";
import {Spec} from "./Spec.sol";
import {vm} from "./Vm.sol";

/// A report with what the committee knows of it.
struct Report {
    uint64 epoch;
    uint64 view_;
    uint64 observedAt;
    bytes32 feedRoot;
    bytes32 link;
    uint256 signers;
    uint256[6] signature;
    uint256[] words;
}

/// What every test of the Oracle begins with.
abstract contract OracleTest {
    uint256 internal constant START = 1_700_000_000;
    uint64 internal constant DAY = 86_400_000;
    uint64 internal constant MAX_FUTURE = 15_000;
    uint64 internal constant EVIDENCE_WINDOW = 30 * DAY;
    bytes32 internal constant NAME = keccak256("forge");

    /// Deploys the Oracle from its artifact, as it is shipped, and opens the first epoch.
    function deploy(Signers signers) internal returns (IOracle oracle) {
        bytes memory code = abi.encodePacked(
            vm.getCode("Oracle.sol:Oracle"),
            abi.encode(NAME, signers.hash(), MAX_FUTURE, EVIDENCE_WINDOW)
        );
        oracle = IOracle(deployed(code));
        oracle.register(signers.registrations(oracle.network()));
        oracle.open(signers.configuration());
    }

    function domainOf(Signers genesis, Signers signers, uint64 epoch)
        internal
        view
        returns (bytes32)
    {
        return Spec.domain(Spec.network(NAME, genesis.hash()), epoch, signers.hash());
    }

    /// Signs what a report says, with whoever its bitmap names.
    function signed(Report memory report, Signers signers, bytes32 domain)
        internal
        view
        returns (Report memory)
    {
        report.feedRoot = TestReports.root(report.words);
        bytes32 id = TestReports.headerId(
            domain, report.view_, report.observedAt, report.feedRoot, report.link
        );
        report.signature = signers.sign(report.signers, id);
        return report;
    }

    function certificateOf(Report memory report) internal pure returns (Certificate memory) {
        uint256 place = uint256(report.epoch) << 224 | uint256(report.view_) << 192
            | uint256(report.observedAt) << 128 | report.signers;
        return Certificate(report.signature, report.link, Place.wrap(place));
    }

    function nowMs() internal view returns (uint64) {
        return uint64(block.timestamp * 1000);
    }
}
