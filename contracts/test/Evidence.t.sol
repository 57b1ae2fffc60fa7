// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Accountability,
    Link,
    Offence,
    SignedTimeout,
    SignedVote,
    TimeoutGroup
} from "../src/Accountability.sol";
import {Configuration, FeedRecord, Header, IOracle, Member} from "../src/IOracle.sol";
import {deployed} from "./Signers.sol";
import {check, vm} from "./Vm.sol";

interface IOracleOfEpoch is IOracle {
    function plant(uint64 epoch, bytes32 domain, bytes32 hash, Configuration calldata c) external;
}

/// The vectors of evidence, judged as by the consensus code.
contract EvidenceTest {
    string private _json;
    Accountability private _court;
    bytes32 private _domain;

    function setUp() external {
        vm.warp(1_700_000_000);
        _json = vm.readFile("../tests/vectors/evidence.json");
        bytes32 hash = _word(".valid[0].document.configuration");
        _domain = _word(".valid[0].document.domain");
        Configuration memory c;
        c.members = new Member[](7);
        for (uint256 i; i < 7; ++i) {
            string memory at_ = _item(".members", i);
            c.members[i] = Member(
                abi.decode(_bytes(string.concat(at_, ".bls_key")), (uint256[4])),
                _word(string.concat(at_, ".ed25519_key")),
                address(bytes20(_bytes(string.concat(at_, ".operator"))))
            );
        }
        check(!vm.keyExistsJson(_json, ".members[7]"), "members");
        c.feeds = new FeedRecord[](1);
        c.validUntil = uint64(_number(".valid_until_ms"));
        bytes32 name = keccak256(bytes(vm.parseJsonString(_json, ".network")));
        IOracleOfEpoch oracle = IOracleOfEpoch(
            deployed(
                abi.encodePacked(vm.getCode("OracleOfEpoch.sol:OracleOfEpoch"), abi.encode(name, hash))
            )
        );
        check(oracle.network() == _word(".valid[0].document.network"), "network");
        oracle.plant(3, _domain, hash, c);
        _court = Accountability(
            deployed(
                abi.encodePacked(
                    vm.getCode("Accountability.sol:Accountability"),
                    abi.encode(oracle, address(0), 100_000)
                )
            )
        );
    }

    /// A1, A2: exactly who made both signatures is convicted, once.
    function test_what_convicts() external {
        uint256 i;
        for (; vm.keyExistsJson(_json, _item(".valid", i)); ++i) {
            string memory at_ = string.concat(_item(".valid", i), ".document");
            (bytes memory input, Offence offence, uint64 view_) = _report(at_);
            uint256[] memory accused = vm.parseJsonUintArray(_json, string.concat(at_, ".accused"));
            check(accused.length > 0, "nobody is accused");
            uint256 bits;
            for (uint256 j; j < accused.length; ++j) bits |= 1 << accused[j];
            for (uint256 member; member < 7; ++member) {
                check(!_isPunished(offence, view_, member), "convicted by another vector");
            }
            (bool done, bytes memory output) = address(_court).call(input);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(output, 0x20), mload(output))
                }
            }
            for (uint256 member; member < 7; ++member) {
                bool guilty = bits >> member & 1 == 1;
                check(_isPunished(offence, view_, member) == guilty, "A1: who is convicted");
            }
            (done, output) = address(_court).call(input);
            check(!done && bytes4(output) == Accountability.AlreadyPunished.selector, "A2: twice");
            // The next vector may be of the same view.
            this.setUp();
        }
        check(i == 7, "vectors");
    }

    /// A1: and nobody by anything less, each refused for its reason.
    function test_what_convicts_nobody() external {
        uint256 i;
        for (; vm.keyExistsJson(_json, _item(".invalid", i)); ++i) {
            string memory at_ = _item(".invalid", i);
            (bytes memory input,,) = _report(string.concat(at_, ".document"));
            string memory name = vm.parseJsonString(_json, string.concat(at_, ".name"));
            (bool done, bytes memory output) = address(_court).call(input);
            check(!done, name);
            check(bytes4(output) == _refusal(keccak256(bytes(name))), name);
        }
        check(i == 18, "vectors");
    }

    function _refusal(bytes32 name) private pure returns (bytes4) {
        if (
            name == keccak256("one header twice") || name == keccak256("in the wrong order")
                || name == keccak256("one timeout twice")
        ) return Accountability.NotInOrder.selector;
        if (
            name == keccak256("headers of two views") || name == keccak256("timeouts of two views")
        ) return Accountability.ViewsDiffer.selector;
        if (
            name == keccak256("nobody in both") || name == keccak256("a report as high as the parent")
                || name == keccak256("a timeout of another")
                || name == keccak256("the same report of a member in two TCs")
        ) return Accountability.NobodyConvicted.selector;
        if (
            name == keccak256("a bit of somebody who did not sign")
                || name == keccak256("a vote of another epoch")
                || name == keccak256("a timeout of another epoch")
        ) return Accountability.BadSignature.selector;
        if (
            name == keccak256("groups that do not ascend") || name == keccak256("groups that overlap")
                || name == keccak256("a report not below its view")
        ) return Accountability.MalformedGroup.selector;
        if (name == keccak256("a bit beyond the committee")) return IOracle.UnknownSigner.selector;
        if (name == keccak256("a timeout before the vote")) {
            return Accountability.TimeoutBeforeVote.selector;
        }
        if (name == keccak256("another link")) return Accountability.AnotherLink.selector;
        revert("no such vector");
    }

    function _isPunished(Offence offence, uint64 view_, uint256 member) private view returns (bool) {
        bytes memory key = _bytes(string.concat(_item(".members", member), ".bls_key"));
        bytes32 name = _court.keyOf(abi.decode(key, (uint256[4])));
        return _court.punished(_court.offenceOf(_domain, offence, view_, name));
    }

    /// Returns the call that reports a document, and what it is to convict of.
    function _report(string memory at_)
        private
        view
        returns (bytes memory input, Offence offence, uint64 view_)
    {
        uint64 epoch = uint64(_number(string.concat(at_, ".epoch")));
        bytes32 kind = keccak256(bytes(vm.parseJsonString(_json, string.concat(at_, ".kind"))));
        string memory votes = string.concat(at_, ".votes");
        string memory timeouts = string.concat(at_, ".timeouts");
        if (kind == keccak256("two-votes")) {
            SignedVote memory first = _vote(votes, 0);
            input = abi.encodeCall(Accountability.reportTwoVotes, (epoch, first, _vote(votes, 1)));
            return (input, Offence.TwoVotes, first.header.view_);
        }
        if (kind == keccak256("two-timeouts")) {
            SignedTimeout memory first = _timeout(timeouts, 0);
            input = abi.encodeCall(
                Accountability.reportTwoTimeouts, (epoch, first, _timeout(timeouts, 1))
            );
            return (input, Offence.TwoTimeouts, first.view_);
        }
        check(kind == keccak256("hidden-certificate"), "kind");
        SignedTimeout memory timeout = _timeout(timeouts, 0);
        input = abi.encodeCall(
            Accountability.reportHiddenCertificate,
            (epoch, _vote(votes, 0), _link(string.concat(at_, ".link")), timeout)
        );
        return (input, Offence.HiddenCertificate, timeout.view_);
    }

    function _vote(string memory list, uint256 i) private view returns (SignedVote memory vote) {
        string memory at_ = _item(list, i);
        vote.header = Header(
            uint64(_number(string.concat(at_, ".header.view"))),
            uint64(_number(string.concat(at_, ".header.observed_at_ms"))),
            _word(string.concat(at_, ".header.feed_root")),
            _word(string.concat(at_, ".header.link"))
        );
        vote.signers = uint256(_word(string.concat(at_, ".bitmap")));
        vote.signature = abi.decode(_bytes(string.concat(at_, ".signature")), (uint256[6]));
    }

    function _link(string memory at_) private view returns (Link memory) {
        return Link(
            _word(string.concat(at_, ".parent_id")),
            uint64(_number(string.concat(at_, ".parent_view"))),
            uint64(_number(string.concat(at_, ".height"))),
            _word(string.concat(at_, ".state_digest")),
            _word(string.concat(at_, ".payload_digest"))
        );
    }

    function _timeout(string memory list, uint256 i)
        private
        view
        returns (SignedTimeout memory timeout)
    {
        string memory at_ = _item(list, i);
        timeout.view_ = uint64(_number(string.concat(at_, ".view")));
        string memory groups = string.concat(at_, ".groups");
        uint256 count;
        while (vm.keyExistsJson(_json, _item(groups, count))) ++count;
        timeout.groups = new TimeoutGroup[](count);
        for (uint256 j; j < count; ++j) {
            string memory group = _item(groups, j);
            timeout.groups[j] = TimeoutGroup(
                uint64(_number(string.concat(group, ".high_qc_view"))),
                uint256(_word(string.concat(group, ".bitmap")))
            );
        }
        timeout.signature = abi.decode(_bytes(string.concat(at_, ".signature")), (uint256[6]));
    }

    function _item(string memory list, uint256 i) private pure returns (string memory) {
        bytes memory digits = i > 9
            ? abi.encodePacked(uint8(48 + i / 10), uint8(48 + i % 10))
            : abi.encodePacked(uint8(48 + i));
        return string.concat(list, "[", string(digits), "]");
    }

    function _bytes(string memory key) private view returns (bytes memory) {
        return vm.parseJsonBytes(_json, key);
    }

    function _word(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(_json, key);
    }

    function _number(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(_json, key);
    }
}
