// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestReports} from "../kit/TestReports.sol";
import {
    Block,
    Claim,
    Configuration,
    FinalProof,
    IOracle,
    Reason,
    Registration
} from "../src/IOracle.sol";
import {OracleTest, Report} from "./OracleTest.sol";
import {Signers} from "./Signers.sol";
import {Spec} from "./Spec.sol";
import {check, vm} from "./Vm.sol";

/// What the feeder's sequences do not come to: committees of all sizes, proofs of finality, what
/// registration and opening refuse.
contract OracleForgeTest is OracleTest {
    IOracle private _oracle;
    Signers private _signers;
    bytes32 private _domain;

    function setUp() external {
        vm.warp(START);
        _signers = new Signers(4, 1, 6, nowMs() + DAY, 30_000);
        _oracle = deploy(_signers);
        _domain = domainOf(_signers, _signers, 0);
    }

    function _report(uint256 signers) private view returns (Report memory r) {
        (r.view_, r.observedAt, r.signers) = (1, nowMs(), signers);
        r.words = new uint256[](2);
        (r.words[0], r.words[1]) = (5 << 208 | 1 << 192, 7 << 208 | 1 << 192);
    }

    /// O1, for committees of up to 16 members and any bitmap: stored exactly if a quorum signed.
    function testFuzz_any_committee_and_any_bitmap(uint8 n, uint16 bitmap, uint128 seed) external {
        n = n % 16 + 1;
        Signers signers = new Signers(n, seed, 1, nowMs() + DAY, 0);
        IOracle oracle = deploy(signers);
        Report memory r = _report(bitmap % 2 ** n);
        r.words = new uint256[](1);
        r.words[0] = 5 << 208 | 1 << 192;
        r = signed(r, signers, domainOf(signers, signers, 0));
        (bool done, bytes memory output) =
            address(oracle).call(abi.encodeCall(IOracle.push, (certificateOf(r), r.words)));
        if (Spec.countBits(r.signers) >= Spec.quorum(n)) {
            check(done && abi.decode(output, (bool)), "O1: a quorum signed");
            (uint256 price,) = oracle.read(0, 1, type(uint32).max);
            check(price == 5, "O2: another price");
        } else {
            check(!done && bytes4(output) == IOracle.BelowQuorum.selector, "O1: no quorum signed");
        }
        // Who signed is known to the bit.
        if (r.signers == 0) return;
        bytes32 id =
            TestReports.headerId(domainOf(signers, signers, 0), 1, r.observedAt, r.feedRoot, r.link);
        check(oracle.isSigned(0, id, r.signers, r.signature), "isSigned: they signed");
        uint256 others = r.signers ^ 1 << seed % n;
        if (others != 0) check(!oracle.isSigned(0, id, others, r.signature), "isSigned: others");
    }

    /// O10 and the fixed place of keys: an Oracle without an epoch takes nothing, not even what an
    /// empty committee would seem to sign.
    function test_nothing_is_taken_before_the_first_epoch() external {
        bytes memory code = abi.encodePacked(
            vm.getCode("Oracle.sol:Oracle"), abi.encode(NAME, bytes32(0), MAX_FUTURE, 0)
        );
        IOracle empty;
        assembly ("memory-safe") {
            empty := create(0, add(code, 0x20), mload(code))
        }
        Report memory r = _report(0);
        r = signed(r, _signers, _domain);
        uint256[6] memory infinity;
        r.signature = infinity;
        _refused(
            address(empty),
            abi.encodeCall(IOracle.push, (certificateOf(r), r.words)),
            IOracle.CommitteeMissing.selector
        );
    }

    /// O8: keys that add up to infinity vouch for nothing.
    function test_keys_that_cancel_vouch_for_nothing() external {
        Signers pair = new Signers(4, _signers.OPPOSITE(), 1, nowMs() + DAY, 0);
        IOracle oracle = deploy(pair);
        uint256[6] memory infinity;
        _refused(
            address(oracle),
            abi.encodeCall(IOracle.isSigned, (0, keccak256("anything"), 3, infinity)),
            IOracle.InfinityAggregateKey.selector
        );
        check(!oracle.isSigned(0, keccak256("anything"), 5, infinity), "infinity on a finite key");
    }

    /// O8: the point at infinity is nobody's key.
    function test_an_infinite_key_is_not_registered() external {
        Registration[] memory registrations = new Registration[](1);
        registrations[0].member.operator = address(1);
        _refused(
            address(_oracle),
            abi.encodeCall(IOracle.register, (registrations)),
            IOracle.InfinityKey.selector
        );
    }

    /// O8: each of the two proofs is needed, and is of this key, network, operator and Ed25519 key.
    function testFuzz_no_registration_without_both_proofs(uint128 seed, uint8 fault) external {
        // Seed 1 is of the members that are registered already.
        Signers others = new Signers(2, uint256(seed) + 2, 1, nowMs() + DAY, 0);
        bytes32 network = fault % 6 == 0 ? keccak256("another") : _oracle.network();
        Registration[] memory registrations = others.registrations(network);
        bytes4 expected = IOracle.BadRegistration.selector;
        Registration memory first = registrations[0];
        if (fault % 6 == 1) first.member.operator = address(1);
        if (fault % 6 == 2) first.member.ed25519Key = 0;
        if (fault % 6 == 3) first.registration = registrations[1].registration;
        if (fault % 6 == 4) {
            first.proofOfPossession = registrations[1].proofOfPossession;
            expected = IOracle.BadProofOfPossession.selector;
        }
        if (fault % 6 == 5) {
            _oracle.register(registrations);
            check(_oracle.isRegistered(first.member), "registered");
            return;
        }
        _refused(
            address(_oracle), abi.encodeCall(IOracle.register, (registrations)), expected
        );
        check(!_oracle.isRegistered(first.member), "registered without proof");
    }

    /// O8: no two members share a key or an operator.
    function test_no_member_sits_twice() external {
        Configuration memory configuration = _signers.configuration();
        configuration.members[3] = configuration.members[1];
        bytes memory code = abi.encodePacked(
            vm.getCode("Oracle.sol:Oracle"),
            abi.encode(NAME, TestReports.configurationHash(configuration), MAX_FUTURE, 0)
        );
        IOracle oracle;
        assembly ("memory-safe") {
            oracle := create(0, add(code, 0x20), mload(code))
        }
        oracle.register(_signers.registrations(oracle.network()));
        _refused(
            address(oracle),
            abi.encodeCall(IOracle.open, (configuration)),
            IOracle.Duplicate.selector
        );
    }

    /// Opening takes the one configuration that was agreed on, once.
    function testFuzz_only_the_agreed_configuration_opens(uint128 seed) external {
        Configuration memory configuration = _signers.configuration();
        _refused(
            address(_oracle),
            abi.encodeCall(IOracle.open, (configuration)),
            IOracle.AlreadyOpen.selector
        );
        Signers agreed = new Signers(2, seed, 1, nowMs() + DAY, 0);
        bytes memory code = abi.encodePacked(
            vm.getCode("Oracle.sol:Oracle"), abi.encode(NAME, agreed.hash(), MAX_FUTURE, 0)
        );
        IOracle oracle;
        assembly ("memory-safe") {
            oracle := create(0, add(code, 0x20), mload(code))
        }
        configuration = agreed.configuration();
        _refused(
            address(oracle),
            abi.encodeCall(IOracle.open, (configuration)),
            IOracle.NotRegistered.selector
        );
        oracle.register(agreed.registrations(oracle.network()));
        configuration.timing.carry += 1;
        _refused(
            address(oracle),
            abi.encodeCall(IOracle.open, (configuration)),
            IOracle.AnotherConfiguration.selector
        );
        configuration.timing.carry -= 1;
        oracle.open(configuration);
        check(oracle.domain() == domainOf(agreed, agreed, 0), "D");
    }

    /// O5: a report from after the term is refused, and one from within it that comes after it.
    function test_nothing_is_taken_of_or_after_the_end_of_the_term() external {
        uint64 end = _signers.validUntil();
        vm.warp(end / 1000);
        Report memory late = _report(15);
        late.observedAt = end + 1;
        late = signed(late, _signers, _domain);
        Report memory last = _report(15);
        last.observedAt = end;
        last = signed(last, _signers, _domain);
        _refused(
            address(_oracle),
            abi.encodeCall(IOracle.push, (certificateOf(late), late.words)),
            IOracle.Expired.selector
        );
        vm.warp(end / 1000 + 1);
        _refused(
            address(_oracle),
            abi.encodeCall(IOracle.push, (certificateOf(last), last.words)),
            IOracle.Expired.selector
        );
        vm.warp(end / 1000);
        check(_oracle.push(certificateOf(last), last.words), "at the very end");
    }

    /// O6: what each status gives, and a price of zero.
    function test_only_what_is_live_degraded_or_carried_has_a_price() external {
        Signers signers = new Signers(4, 1, 16, nowMs() + DAY, 0);
        IOracle oracle = deploy(signers);
        for (uint256 price; price < 2; ++price) {
            Report memory r = _report(15);
            r.observedAt += uint64(price);
            r.words = new uint256[](4);
            for (uint256 i; i < 16; ++i) r.words[i / 4] |= (price << 16 | i) << 64 * (3 - i % 4);
            r = signed(r, signers, domainOf(signers, signers, 0));
            check(oracle.push(certificateOf(r), r.words), "push");
            for (uint16 i; i < 16; ++i) {
                Reason expected = i == 4
                    ? Reason.Halted
                    : price != 0 && i > 0 && i < 4 ? Reason.None : Reason.Unavailable;
                (uint8 reason,,, uint8 status,) = oracle.tryRead(i, 60, 0);
                check(status == i && reason == uint8(expected), "O6: a status");
            }
        }
    }

    /// O14: of a chain of reports only the first after the moment counts, and only if it is final.
    function testFuzz_first_final(uint64 moment, uint8 gap, uint8 length, uint256 signers) external {
        FinalProof memory proof;
        proof.blocks = new Block[](length % 4 + 1);
        uint64 start = nowMs() - 60_000;
        proof.parent.view_ = 5;
        proof.parent.observedAt = start;
        proof.parent.feedRoot = keccak256("parent's");
        proof.parent.link = keccak256("link");
        Report memory r = _report(15);
        bytes32 id = TestReports.headerId(_domain, 5, start, proof.parent.feedRoot, proof.parent.link);
        uint64 view_ = 5;
        for (uint64 i; i < proof.blocks.length; ++i) {
            uint64 parentView = view_;
            // Only the last step must be to the very next view.
            view_ += i == proof.blocks.length - 1 ? 1 + gap % 3 : 1 + (gap >> 4) % 3;
            proof.blocks[i] = Block(
                view_,
                start + 1000 * (i + 1),
                i == 0 ? TestReports.root(r.words) : keccak256(abi.encode(i)),
                i + 9,
                keccak256("state"),
                keccak256("payload")
            );
            bytes32 link = TestReports.linkOf(
                id, parentView, i + 9, keccak256("state"), keccak256("payload")
            );
            id = TestReports.headerId(
                _domain, view_, proof.blocks[i].observedAt, proof.blocks[i].feedRoot, link
            );
        }
        proof.signers = signers % 16;
        proof.signature = _signers.sign(proof.signers, id);
        moment = start - 500 + moment % 2000;
        Claim memory claim = Claim(4, 2, r.words[1], TestReports.path(r.words, 1));
        bool linked = proof.blocks.length >= 2 && gap % 3 == 0;
        bool quorate = Spec.countBits(proof.signers) >= 3;
        bool first = moment >= start && moment < start + 1000;
        bytes memory input = abi.encodeCall(IOracle.firstAfter, (moment, proof, claim));
        if (!linked) {
            _refused(address(_oracle), input, IOracle.NotFinal.selector);
        } else if (!quorate) {
            _refused(address(_oracle), input, IOracle.BelowQuorum.selector);
        } else if (!first) {
            _refused(address(_oracle), input, IOracle.NotFirstAfter.selector);
        } else {
            (uint64 previousAt, uint64 observedAt, uint256 price,, uint8 status) =
                _oracle.firstAfter(moment, proof, claim);
            check(previousAt == start && observedAt == start + 1000, "O14: times");
            check(price == 7 && status == 1, "O14: answer");
            claim.word ^= 1;
            _refused(
                address(_oracle),
                abi.encodeCall(IOracle.firstAfter, (moment, proof, claim)),
                IOracle.NotInReport.selector
            );
        }
    }

    /// O9: what is no point costs a bounded amount, however it is malformed.
    function testFuzz_a_malformed_signature_is_cheap(uint256[6] memory signature, uint8 kind)
        external
    {
        Report memory r = signed(_report(7), _signers, _domain);
        if (kind % 3 == 0) r.signature = signature;
        else r.signature[kind % 6] ^= signature[0] | 1;
        uint256 before = gasleft();
        (bool done,) = address(_oracle).call{gas: 400_000}(
            abi.encodeCall(IOracle.push, (certificateOf(r), r.words))
        );
        check(!done, "O1: a malformed signature");
        check(before - gasleft() < 290_000, "O9: costs too much");
        check(_oracle.push(certificateOf(signed(_report(7), _signers, _domain)), r.words), "push");
    }

    function _refused(address oracle, bytes memory input, bytes4 expected) private {
        (bool done, bytes memory output) = oracle.call(input);
        check(!done, "taken, not refused");
        check(bytes4(output) == expected, "refused for another reason");
    }
}
