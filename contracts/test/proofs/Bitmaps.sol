// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOracle} from "../../src/IOracle.sol";
import {Committees, Terms} from "../../src/libraries/Committees.sol";

/// What halmos proves of bitmaps and quorums, for all bitmaps and committees.
contract BitmapsProof {
    uint256[6] private _signature;

    /// The count is the sum of the bytes' counts, and right for a byte: so it is right for 128 bits.
    function check_the_count_is_the_sum_of_the_bytes_counts(uint128 bits) external pure {
        uint256 sum;
        for (uint256 i; i < 128; i += 8) sum += Committees._count(uint8(bits >> i));
        assert(Committees._count(bits) == sum);
    }

    function check_the_count_of_a_byte(uint8 bits) external pure {
        uint256 count;
        for (uint256 i; i < 8; ++i) count += bits >> i & 1;
        assert(Committees._count(bits) == count);
    }

    /// Any two quorums share an honest member, and the honest alone are a quorum.
    function check_quorums_intersect_and_are_reached(uint8 n) external pure {
        if (n == 0 || n > 128) return;
        uint256 q = Committees.quorum(n);
        uint256 f = (uint256(n) - 1) / 3;
        assert(2 * q >= n + f + 1);
        assert(q + f <= n);
    }

    function verify(uint256 members, uint256 signers, uint256[6] calldata signature) external view {
        Committees.verify(address(0), Terms.wrap(members), 0, signers, signature);
    }

    /// No bit beyond the committee, nor fewer bits than a quorum, gets as far as a signature. The
    /// committees' sizes are taken one by one: for each the bounds are numbers. No path may go on
    /// to the precompiles, which are not modelled, for want of time to see that nothing leads there.
    /// @custom:halmos --solver-timeout-branching 20000
    function check_bits_beyond_and_too_few_are_refused(uint8 n, uint128 signers) external view {
        for (uint256 members = 1; members <= 128; ++members) {
            if (n != members) continue;
            bool beyond = members < 128 && uint256(signers) >> members != 0;
            bool few = Committees._count(signers) < Committees.quorum(members);
            if (!beyond && !few) return;
            (bool done, bytes memory output) = address(this).staticcall(
                abi.encodeCall(this.verify, (members, signers, _signature))
            );
            assert(!done);
            bytes4 expected =
                beyond ? IOracle.UnknownSigner.selector : IOracle.BelowQuorum.selector;
            assert(bytes4(output) == expected);
            return;
        }
    }
}
