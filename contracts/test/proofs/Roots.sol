// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Guard} from "../../src/Guard.sol";
import {IOracle} from "../../src/IOracle.sol";
import {Roots} from "../../src/libraries/Roots.sol";

/// What halmos proves of the guard's bound, which grows with the square root of time. That a root begins above,
/// that every step halves what is left, and that the steps go on to the last bit together fix it: root² <= x
/// < (root + 1)², which one number alone meets and which never falls when x grows.
contract RootsProof {
    /// The square of this does not fit: whatever x is, it is less.
    uint256 private constant BEYOND = 1 << 128;

    function check_a_root_begins_above(uint256 x) external pure {
        uint256 bit = Roots.above(x);
        assert(bit == BEYOND || (bit < BEYOND && bit * bit > x));
    }

    function check_a_step_halves_what_is_left(uint256 x, uint256 root, uint8 place) external pure {
        for (uint256 i; i < 128; ++i) {
            if (place != i) continue;
            uint256 bit = 1 << i;
            if (!_isBetween(x, root, 2 * bit)) return;
            uint256 next = Roots.step(x, root, bit);
            assert(_isBetween(x, next, bit));
            return;
        }
    }

    /// All of it together, as far as all paths can be walked.
    function check_small_roots(uint256 x) external pure {
        if (x >= 1 << 16) return;
        uint256 root = Roots.sqrtDown(x);
        assert(root * root <= x && x < (root + 1) * (root + 1));
    }

    function feedCount() external pure returns (uint256) {
        return 1;
    }

    /// A report that is no newer leaves the bound at its floor, whatever the parameters.
    function check_no_time_leaves_the_floor(
        uint32 floorPpm,
        uint32 ratePpm,
        uint128 price,
        uint64 from,
        uint64 to
    ) external {
        if (floorPpm == 0 || to > from) return;
        Guard guard = new Guard(
            IOracle(address(this)), Guard.Parameters(0, 0, 0, floorPpm, ratePpm, 1, 1, false)
        );
        assert(guard.boundPpm(Guard.Seen(price, from), Guard.Seen(price, to)) == floorPpm);
    }

    /// Returns whether root² <= x < (root + width)², without what does not fit.
    function _isBetween(uint256 x, uint256 root, uint256 width) private pure returns (bool) {
        unchecked {
            uint256 end = root + width;
            if (root >= BEYOND || end > BEYOND) return false;
            return root * root <= x && (end == BEYOND || x < end * end);
        }
    }
}
