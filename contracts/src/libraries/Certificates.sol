// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle, Place, Update} from "../IOracle.sol";
import {Places} from "./Places.sol";
import {Words} from "./Words.sol";

/// The report is not of the Oracle's current epoch, within its term and observed by now.
error NotOfNow(uint256 epoch, uint256 observedAt);
/// The update has no claims, or they are not of one report.
error BadClaims();
/// No quorum of the epoch's members signed the report.
error NotCertified(bytes32 id);

/// @title Certificates for contracts beside an Oracle, which look at a report without storing it
library Certificates {
    using Places for Place;

    bytes1 private constant TAG_HEADER = 0x03;

    /// Reverts unless a quorum of the Oracle's current epoch certified the claims of an update.
    function check(IOracle oracle, Update calldata update) internal view {
        Place place = update.certificate.place;
        uint64 epoch = uint64(place.epoch());
        (uint256 members, uint256 quorum, uint256 validUntil) = oracle.committee();
        uint256 now_ = block.timestamp * 1000;
        if (
            epoch != oracle.epoch() || place.observedAt() > validUntil || now_ > validUntil
                || place.observedAt() > now_ + oracle.maxFuture()
        ) revert NotOfNow(epoch, place.observedAt());
        bytes32 id = keccak256(
            abi.encodePacked(
                TAG_HEADER,
                oracle.domain(),
                uint64(place.viewNumber()),
                uint64(place.observedAt()),
                _root(update),
                update.certificate.link
            )
        );
        uint256 signers = place.signers();
        if (
            _count(signers) < quorum || signers >> members != 0
                || !oracle.isSigned(epoch, id, signers, update.certificate.signature)
        ) revert NotCertified(id);
    }

    /// Returns the feed root that all claims lead to.
    function _root(Update calldata update) private pure returns (bytes32 root) {
        for (uint256 i; i < update.claims.length; ++i) {
            bytes32 other = Words.rootOf(
                update.claims[i].feed >> 2,
                update.claims[i].words,
                update.claims[i].word,
                update.claims[i].path
            );
            if (i != 0 && other != root) revert BadClaims();
            root = other;
        }
        if (root == 0) revert BadClaims();
    }

    function _count(uint256 bits) private pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
