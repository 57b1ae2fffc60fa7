// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {Configuration, FeedRecord, Member, Registration, Timing} from "../src/IOracle.sol";
import {IHasher} from "./IHasher.sol";
import {vm} from "./Vm.sol";

/// Deploys what another source was compiled to.
function deployed(bytes memory code) returns (address account) {
    assembly ("memory-safe") {
        account := create(0, add(code, 0x20), mload(code))
    }
    require(account != address(0), "deployment");
}

/// A committee whose secret keys are known: it signs on chain, by the precompiles that multiply.
contract Signers {
    /// The order of the groups.
    uint256 private constant R = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    IHasher private immutable _hasher = IHasher(deployed(vm.getCode("Hasher.sol:Hasher")));
    uint256 public immutable n;
    uint64 public immutable validUntil;
    uint64 public immutable carry;
    bytes32 public immutable hash;
    uint256 private immutable _seed;
    uint256 private immutable _feeds;
    uint256[] private _secrets;
    uint256[4][] private _keys;

    /// Of these seeds the second member's key is the first's negated, or the first feed has another name.
    uint256 public constant OPPOSITE = 2 ** 256 - 1;
    uint256 public constant RENAMED = 2 ** 256 - 2;

    /// Equal seeds give equal keys.
    constructor(uint256 n_, uint256 seed, uint256 feeds, uint64 validUntil_, uint64 carry_) {
        (n, _seed, _feeds, validUntil, carry) = (n_, seed, feeds, validUntil_, carry_);
        for (uint256 i; i < n_; ++i) {
            _secrets.push(uint256(keccak256(abi.encode("secret", seed, i))) % (R - 1) + 1);
            if (seed == OPPOSITE && i == 1) _secrets[1] = R - _secrets[0];
            _keys.push(_multiplyG1(_secrets[i]));
        }
        hash = TestReports.configurationHash(_configuration());
    }

    function configuration() external view returns (Configuration memory) {
        return _configuration();
    }

    function _configuration() private view returns (Configuration memory c) {
        c.members = new Member[](_secrets.length);
        for (uint256 i; i < c.members.length; ++i) c.members[i] = member(i);
        c.feeds = new FeedRecord[](_feeds);
        for (uint256 i; i < _feeds; ++i) {
            c.feeds[i] = FeedRecord(
                bytes32(abi.encodePacked(bytes12(uint96(i + 1) << 88), bytes12("USD"), uint8(8), uint8(1))),
                bytes32(abi.encodePacked(uint32(1000), uint32(30_000))),
                keccak256(abi.encode(i))
            );
        }
        if (_seed == RENAMED) c.feeds[0].identity ^= bytes32(uint256(1) << 248);
        c.timing = Timing(1000, 500, 100, 5000, 2000, carry);
        c.validUntil = validUntil;
    }

    function member(uint256 i) public view returns (Member memory) {
        return Member(
            _keys[i],
            keccak256(abi.encode("ed25519", _seed, i)),
            address(uint160(uint256(keccak256(abi.encode("operator", _seed, i)))))
        );
    }

    function registrations(bytes32 network) external view returns (Registration[] memory all) {
        all = new Registration[](_secrets.length);
        for (uint256 i; i < all.length; ++i) {
            Member memory m = member(i);
            all[i] = Registration(
                m,
                _multiplyG2(_hasher.key(m.blsKey), _secrets[i]),
                signAs(i, TestReports.registration(network, m.operator, m.ed25519Key))
            );
        }
    }

    /// Returns the signature of one member.
    function signAs(uint256 i, bytes32 digest) public view returns (uint256[6] memory) {
        return _multiplyG2(_hasher.message(digest), _secrets[i]);
    }

    /// Returns the aggregate signature of the members whose bits are set.
    function sign(uint256 signers, bytes32 digest) external view returns (uint256[6] memory) {
        uint256 sum;
        for (uint256 i; i < _secrets.length; ++i) {
            if (signers >> i & 1 == 1) sum = addmod(sum, _secrets[i], R);
        }
        return _multiplyG2(_hasher.message(digest), sum);
    }

    function _multiplyG1(uint256 scalar) private view returns (uint256[4] memory point) {
        bytes memory input = abi.encode(
            0x17f1d3a73197d7942695638c4fa9ac0f,
            0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb,
            0x08b3f481e3aaa0f1a09e30ed741d8ae4,
            0xfcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1,
            scalar
        );
        (bool done, bytes memory output) = address(0x0c).staticcall(input);
        require(done && output.length == 128, "G1MSM");
        return abi.decode(output, (uint256[4]));
    }

    function _multiplyG2(uint256[8] memory point, uint256 scalar)
        private
        view
        returns (uint256[6] memory packed)
    {
        (bool done, bytes memory output) = address(0x0e).staticcall(abi.encode(point, scalar));
        require(done && output.length == 256, "G2MSM");
        for (uint256 i; i < 4; ++i) {
            assembly ("memory-safe") {
                mcopy(add(packed, mul(48, i)), add(add(output, 0x30), mul(64, i)), 48)
            }
        }
    }
}
