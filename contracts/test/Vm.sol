// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The few cheat codes of forge that the tests use.
interface Vm {
    function warp(uint256 timestamp) external;
    function assume(bool condition) external pure;
    function etch(address target, bytes calldata code) external;
    function getCode(string calldata artifact) external view returns (bytes memory);
    function readFile(string calldata path) external view returns (string memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function parseJsonBytes(string calldata json, string calldata key)
        external
        pure
        returns (bytes memory);
    function parseJsonBytes32(string calldata json, string calldata key)
        external
        pure
        returns (bytes32);
    function parseJsonUint(string calldata json, string calldata key)
        external
        pure
        returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key)
        external
        pure
        returns (uint256[] memory);
    function parseJsonBytes32Array(string calldata json, string calldata key)
        external
        pure
        returns (bytes32[] memory);
    function parseJsonString(string calldata json, string calldata key)
        external
        pure
        returns (string memory);
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

/// Raised when a test does not hold.
error Failed(string what);

function check(bool condition, string memory what) pure {
    if (!condition) revert Failed(what);
}

/// What an invariant test calls, and with which functions (forge asks for this by name).
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}
