// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A token with the ways of several: it may keep a fee, return nothing, or call who sends or receives.
contract Token {
    mapping(address => uint256) public balanceOf;
    uint256 public feePpm;
    bool public silent;
    address public hooked;
    bytes public call_;
    bytes public outcome;

    constructor(uint256 feePpm_, bool silent_) {
        (feePpm, silent) = (feePpm_, silent_);
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    /// From now on each transfer makes this call, once at a time, as if from the account.
    function hook(address target, bytes calldata data) external {
        (hooked, call_) = (target, data);
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount - amount * feePpm / 1_000_000;
        address target = hooked;
        if (target != address(0)) {
            hooked = address(0);
            (, outcome) = target.call(call_);
        }
        if (silent) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        return true;
    }
}
