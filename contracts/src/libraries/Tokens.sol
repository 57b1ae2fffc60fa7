// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// What is used of ERC-20.
interface IERC20 {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @title Transfers of ERC-20 tokens and of the chain's own coin, which is token 0
/// @notice Takes tokens that return nothing, and ones that keep a fee. Not ones whose balances change
/// by themselves.
library Tokens {
    /// The token refused, or the account takes no coin.
    error TransferFailed(address token, address account, uint256 amount);
    /// The coin sent with the call is not the amount.
    error ValueDiffers(uint256 value, uint256 amount);

    /// Takes an amount from the caller; returns what arrived.
    /// @dev The caller of this must be locked: what arrives is told by a difference of balances.
    function collect(IERC20 token, uint256 amount) internal returns (uint256 arrived) {
        uint256 due = address(token) == address(0) ? amount : 0;
        if (msg.value != due) revert ValueDiffers(msg.value, due);
        if (address(token) == address(0)) return amount;
        uint256 before = token.balanceOf(address(this));
        _call(
            token, abi.encodeCall(token.transferFrom, (msg.sender, address(this), amount)),
            msg.sender, amount
        );
        arrived = token.balanceOf(address(this)) - before;
    }

    /// Pays an amount to an account.
    function pay(IERC20 token, address to, uint256 amount) internal {
        if (address(token) == address(0)) {
            (bool done,) = to.call{value: amount}("");
            if (!done) revert TransferFailed(address(0), to, amount);
            return;
        }
        _call(token, abi.encodeCall(token.transfer, (to, amount)), to, amount);
    }

    function _call(IERC20 token, bytes memory data, address account, uint256 amount) private {
        (bool done, bytes memory output) = address(token).call(data);
        bool fine = done
            && (output.length == 0
                ? address(token).code.length != 0
                : output.length >= 32 && abi.decode(output, (uint256)) == 1);
        if (!fine) revert TransferFailed(address(token), account, amount);
    }
}
