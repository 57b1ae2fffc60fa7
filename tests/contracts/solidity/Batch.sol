// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Makes several calls in one transaction, as a contract that attacks or settles would.
contract Batch {
    function run(address target, bytes[] calldata calls) external returns (bytes[] memory outputs) {
        outputs = new bytes[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            (bool done, bytes memory output) = target.call(calls[i]);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(output, 0x20), mload(output))
                }
            }
            outputs[i] = output;
        }
    }
}
