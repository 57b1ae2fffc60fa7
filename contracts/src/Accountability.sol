// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Header, IOracle, Member} from "./IOracle.sol";
import {Aggregates} from "./libraries/Aggregates.sol";
import {BLS12381} from "./libraries/BLS12381.sol";
import {Digests} from "./libraries/Digests.sol";
import {IERC20, Tokens} from "./libraries/Tokens.sol";

/// A header and the signature of one or more members on its id; a certificate is one of a quorum.
struct SignedVote {
    Header header;
    /// Bit i for member i.
    uint256 signers;
    /// As in a certificate.
    uint256[6] signature;
}

/// Members that left a view with the same report.
struct TimeoutGroup {
    /// The view of the highest certificate that they said to know.
    uint64 highQcView;
    uint256 signers;
}

/// That members left a view, and what each reported; a timeout certificate is one of a quorum.
struct SignedTimeout {
    uint64 view_;
    /// By ascending report, disjoint.
    TimeoutGroup[] groups;
    /// The sum of every member's signature on the digest of its group.
    uint256[6] signature;
}

/// What a header's link is the hash of.
struct Link {
    bytes32 parentId;
    uint64 parentView;
    uint64 height;
    bytes32 stateDigest;
    bytes32 payloadDigest;
}

/// What no honest member does, see consensus/README.md.
enum Offence {
    TwoVotes,
    TwoTimeouts,
    HiddenCertificate
}

/// @title Stakes of members, and what they lose by signatures that no honest member makes
/// @notice Anyone may report. A signature inside an aggregate counts against every member of it. Whoever
/// is convicted loses its whole stake: a share goes to the reporter, the rest is burnt. It stays here
/// and nobody can move it: no transfer can fail, and whoever got it would gain by a member's fault and
/// could be tempted to bring one about. The share is at most half, so that no offender gets more
/// than that back by reporting itself.
///
/// Invariants, each tested under its number:
///
///  A1 *guilty only*  A stake shrinks without its owner only by two signatures of that BLS key, in one
///                  epoch, that no honest member makes both of.
///  A2 *once*         An offence (epoch, kind, view, key) is punished once, by whatever evidence.
///  A3 *bound*        From `unbond` a stake stays until the evidence window is over after the
///                  valid-until of the epoch then current and of every later one that lists the key.
///                  Evidence of an epoch is taken just as long.
///  A4 *solvent*      What is held is at least the stakes and what was burnt.
///  A5 *no key rules* There is no owner; parameters are fixed for good.
///
/// Times are Unix milliseconds.
contract Accountability {
    using Tokens for IERC20;

    struct Stake {
        /// Who deposited, and alone can withdraw.
        address owner;
        /// When it is free, 0 while nobody asked.
        uint64 releaseAt;
        /// The first epoch not yet looked through for the key since then.
        uint32 nextEpoch;
        uint256 amount;
    }

    event Deposited(bytes32 indexed key, address owner, uint256 amount);
    event Unbonding(bytes32 indexed key, uint64 releaseAt);
    event Withdrawn(bytes32 indexed key, address owner, uint256 amount);
    /// @notice A member is proven to be at fault; `slashed` is 0 if it had no stake.
    event Convicted(
        bytes32 indexed key,
        address indexed operator,
        uint64 epoch,
        uint64 view_,
        Offence offence,
        address reporter,
        uint256 slashed
    );

    /// The share is above a half.
    error ShareTooLarge(uint256 sharePpm);
    /// The Oracle did not check this member's keys.
    error NotRegistered(bytes32 key);
    /// The caller is not the operator in the member's record, or not who deposited.
    error NotOwner(address caller, address owner);
    /// Nothing is staked, or nothing was sent.
    error NoStake(bytes32 key);
    /// The stake is free later than now; 0 if nobody asked to unbond.
    error Bound(bytes32 key, uint256 releaseAt, uint256 time);
    /// It is unbonding already.
    error AlreadyUnbonding(bytes32 key, uint256 releaseAt);
    /// Called from within a transfer.
    error Reentered();

    /// The epoch is over for so long that its keys may have leaked.
    error TooLate(uint256 end, uint256 time);
    /// Nobody signs votes of view 0.
    error ViewZero();
    /// Both signatures must be of one view.
    error ViewsDiffer(uint256 first, uint256 second);
    /// The lower id, or the lower report, comes first; they are not the same.
    error NotInOrder();
    /// A group is empty, overlaps, or does not ascend below its view.
    error MalformedGroup(uint256 group);
    /// A bitmap is empty or has a bit that stands for no member.
    error UnknownSigner(uint256 signers, uint256 members);
    /// The header shows another link.
    error AnotherLink(bytes32 link, bytes32 shown);
    /// The timeout is of an earlier view than the vote.
    error TimeoutBeforeVote(uint256 timeout, uint256 vote);
    /// No member signed both.
    error NobodyConvicted();
    /// The first (0) or second (1) signature is not of its signers on its digests.
    error BadSignature(uint256 which);
    /// All who are convicted were punished for this offence already.
    error AlreadyPunished();

    uint256 private constant PPM = 1_000_000;

    IOracle public immutable oracle;
    /// @notice In what stakes are; 0 is the chain's own coin.
    IERC20 public immutable token;
    /// @notice What of a slashed stake goes to the reporter, parts per million.
    uint256 public immutable reporterSharePpm;

    /// @notice The stake of a BLS key, by the key's name (`keyOf`).
    mapping(bytes32 => Stake) public stakes;
    /// @notice Whether an offence was punished, by its name (`offenceOf`).
    mapping(bytes32 => bool) public punished;
    /// @notice What was burnt so far.
    uint256 public burnt;
    bool private _locked;

    /// Aggregates are verified in a fixed place of memory, which is set aside before all else.
    modifier verifying() {
        BLS12381.reserve();
        _;
    }

    modifier locked() {
        if (_locked) revert Reentered();
        _locked = true;
        _;
        _locked = false;
    }

    constructor(IOracle oracle_, IERC20 token_, uint256 reporterSharePpm_) {
        if (reporterSharePpm_ > PPM / 2) revert ShareTooLarge(reporterSharePpm_);
        oracle = oracle_;
        token = token_;
        reporterSharePpm = reporterSharePpm_;
    }

    // Stakes.

    /// @notice Adds to the stake of a member whose keys the Oracle checked; ends an unbonding.
    /// @dev By its operator only: who deposited first is the only one that adds and withdraws, until all
    /// is withdrawn or slashed.
    /// @param amount In the token's smallest unit; a token that keeps a fee adds less.
    function deposit(Member calldata member, uint256 amount) external payable locked {
        bytes32 key = keyOf(member.blsKey);
        if (!oracle.isRegistered(member)) revert NotRegistered(key);
        if (msg.sender != member.operator) revert NotOwner(msg.sender, member.operator);
        Stake storage stake = stakes[key];
        if (stake.amount != 0 && stake.owner != msg.sender) {
            revert NotOwner(msg.sender, stake.owner);
        }
        uint256 arrived = token.collect(amount);
        if (arrived == 0) revert NoStake(key);
        (stake.owner, stake.releaseAt, stake.nextEpoch) = (msg.sender, 0, 0);
        stake.amount += arrived;
        emit Deposited(key, msg.sender, arrived);
    }

    /// @notice Announces a withdrawal, which is possible from the returned time on, or later if epochs
    /// that list the key begin until then.
    function unbond(bytes32 key) external returns (uint64 releaseAt) {
        Stake storage stake = _owned(key);
        if (stake.releaseAt != 0) revert AlreadyUnbonding(key, stake.releaseAt);
        uint64 epochs = _epochs();
        uint256 end = _now();
        if (epochs != 0) {
            (,,,,, uint64 validUntil) = oracle.epochAt(epochs - 1);
            if (validUntil > end) end = validUntil;
        }
        releaseAt = uint64(end + oracle.evidenceWindow());
        (stake.releaseAt, stake.nextEpoch) = (releaseAt, uint32(epochs));
        emit Unbonding(key, releaseAt);
    }

    /// @notice Looks through epochs that began since an unbonding, at most so many; anyone may.
    /// @dev `withdraw` does what is left of it; this is for when that is too much for one transaction.
    function lookThrough(bytes32 key, uint256 epochs) public {
        Stake storage stake = stakes[key];
        if (stake.releaseAt == 0) revert Bound(key, 0, _now());
        uint64 end = _epochs();
        uint64 epoch = stake.nextEpoch;
        for (; epoch < end && epochs != 0; (++epoch, --epochs)) {
            (,,,, uint256 members, uint64 validUntil) = oracle.epochAt(epoch);
            uint64 releaseAt = uint64(validUntil + oracle.evidenceWindow());
            if (releaseAt <= stake.releaseAt || !_isListed(key, epoch, members)) continue;
            stake.releaseAt = releaseAt;
            emit Unbonding(key, releaseAt);
        }
        stake.nextEpoch = uint32(epoch);
    }

    /// @notice Pays a stake that is free to its owner.
    function withdraw(bytes32 key) external locked returns (uint256 amount) {
        Stake storage stake = _owned(key);
        lookThrough(key, type(uint256).max);
        if (_now() <= stake.releaseAt) revert Bound(key, stake.releaseAt, _now());
        amount = stake.amount;
        delete stakes[key];
        emit Withdrawn(key, msg.sender, amount);
        token.pay(msg.sender, amount);
    }

    // Evidence.

    /// @notice Punishes members that signed two headers of one view.
    /// @param first The one with the lower id.
    /// @return reward What the caller was paid.
    function reportTwoVotes(uint64 epoch, SignedVote calldata first, SignedVote calldata second)
        external
        verifying
        locked
        returns (uint256 reward)
    {
        (bytes32 domain, uint256 members) = _open(epoch);
        (bytes32 id, bytes32 otherId) = (_voted(domain, members, first), _voted(domain, members, second));
        if (first.header.view_ != second.header.view_) {
            revert ViewsDiffer(first.header.view_, second.header.view_);
        }
        if (id >= otherId) revert NotInOrder();
        uint256 guilty = first.signers & second.signers;
        if (guilty == 0) revert NobodyConvicted();
        _checkVote(epoch, id, first, 0);
        _checkVote(epoch, otherId, second, 1);
        return _punish(epoch, domain, Offence.TwoVotes, first.header.view_, guilty);
    }

    /// @notice Punishes members that left one view with two reports.
    /// @param first The one whose list of reports and bitmaps is lower.
    /// @return reward What the caller was paid.
    function reportTwoTimeouts(
        uint64 epoch,
        SignedTimeout calldata first,
        SignedTimeout calldata second
    ) external verifying locked returns (uint256 reward) {
        (bytes32 domain, uint256 members) = _open(epoch);
        if (first.view_ != second.view_) revert ViewsDiffer(first.view_, second.view_);
        _checkGroups(members, first);
        _checkGroups(members, second);
        if (!_inOrder(first.groups, second.groups)) revert NotInOrder();
        uint256 guilty = _reportedTwice(first.groups, second.groups);
        if (guilty == 0) revert NobodyConvicted();
        _checkTimeout(epoch, domain, first, 0);
        _checkTimeout(epoch, domain, second, 1);
        return _punish(epoch, domain, Offence.TwoTimeouts, first.view_, guilty);
    }

    /// @notice Punishes members that voted for a block and, in its view or later, reported less than
    /// the view of its parent's certificate, which whoever votes for the block knows.
    /// @param link What the link of the vote's header is the hash of.
    /// @return reward What the caller was paid.
    function reportHiddenCertificate(
        uint64 epoch,
        SignedVote calldata vote,
        Link calldata link,
        SignedTimeout calldata timeout
    ) external verifying locked returns (uint256 reward) {
        (bytes32 domain, uint256 members) = _open(epoch);
        bytes32 id = _voted(domain, members, vote);
        bytes32 shown = Digests.link(
            link.parentId, link.parentView, link.height, link.stateDigest, link.payloadDigest
        );
        if (vote.header.link != shown) revert AnotherLink(vote.header.link, shown);
        if (timeout.view_ < vote.header.view_) {
            revert TimeoutBeforeVote(timeout.view_, vote.header.view_);
        }
        _checkGroups(members, timeout);
        uint256 guilty;
        for (uint256 i; i < timeout.groups.length; ++i) {
            TimeoutGroup calldata group = timeout.groups[i];
            if (group.highQcView < link.parentView) guilty |= group.signers;
        }
        guilty &= vote.signers;
        if (guilty == 0) revert NobodyConvicted();
        _checkVote(epoch, id, vote, 0);
        _checkTimeout(epoch, domain, timeout, 1);
        return _punish(epoch, domain, Offence.HiddenCertificate, timeout.view_, guilty);
    }

    // Names.

    /// @notice Returns the name of a BLS key, by which its stake is found.
    /// @param blsKey A G1 point in the layout of EIP-2537.
    function keyOf(uint256[4] calldata blsKey) public pure returns (bytes32) {
        uint256[4] memory negated;
        uint256 from;
        uint256 to;
        uint256[4] memory key = blsKey;
        assembly ("memory-safe") {
            from := key
            to := negated
        }
        BLS12381.negate(from, to);
        return _nameOf(negated);
    }

    /// @notice Returns the name of an offence.
    /// @param domain D of the epoch.
    /// @param key The name of the key.
    function offenceOf(bytes32 domain, Offence offence, uint64 view_, bytes32 key)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(domain, offence, view_, key));
    }

    // Checks.

    /// Returns D and the number of members of an epoch whose evidence is still taken.
    function _open(uint64 epoch) private view returns (bytes32 domain, uint256 members) {
        uint64 validUntil;
        (domain,,,, members, validUntil) = oracle.epochAt(epoch);
        uint256 end = validUntil + oracle.evidenceWindow();
        if (_now() > end) revert TooLate(end, _now());
    }

    function _checkSigners(uint256 signers, uint256 members) private pure {
        if (signers == 0 || signers >> members != 0) revert UnknownSigner(signers, members);
    }

    /// Returns the id of a header after a look at what comes without a signature.
    function _voted(bytes32 domain, uint256 members, SignedVote calldata vote)
        private
        pure
        returns (bytes32)
    {
        if (vote.header.view_ == 0) revert ViewZero();
        _checkSigners(vote.signers, members);
        return Digests.headerId(
            domain,
            vote.header.view_,
            vote.header.observedAt,
            vote.header.feedRoot,
            vote.header.link
        );
    }

    function _checkVote(uint64 epoch, bytes32 id, SignedVote calldata vote, uint256 which)
        private
        view
    {
        if (!oracle.isSigned(epoch, id, vote.signers, vote.signature)) revert BadSignature(which);
    }

    function _checkGroups(uint256 members, SignedTimeout calldata timeout) private pure {
        uint256 seen;
        uint256 count = timeout.groups.length;
        if (count == 0) revert MalformedGroup(0);
        for (uint256 i; i < count; ++i) {
            TimeoutGroup calldata group = timeout.groups[i];
            _checkSigners(group.signers, members);
            bool ascends = i == 0 || timeout.groups[i - 1].highQcView < group.highQcView;
            if (!ascends || group.highQcView >= timeout.view_ || group.signers & seen != 0) {
                revert MalformedGroup(i);
            }
            seen |= group.signers;
        }
    }

    function _checkTimeout(
        uint64 epoch,
        bytes32 domain,
        SignedTimeout calldata timeout,
        uint256 which
    ) private view {
        uint256 count = timeout.groups.length;
        bytes32[] memory digests = new bytes32[](count);
        uint256[] memory signers = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            TimeoutGroup calldata group = timeout.groups[i];
            digests[i] = Digests.timeout(domain, timeout.view_, group.highQcView);
            signers[i] = group.signers;
        }
        if (!Aggregates.isSigned(oracle, epoch, digests, signers, timeout.signature)) {
            revert BadSignature(which);
        }
    }

    /// Returns whether the first list of reports and bitmaps is lower than the second.
    function _inOrder(TimeoutGroup[] calldata first, TimeoutGroup[] calldata second)
        private
        pure
        returns (bool)
    {
        for (uint256 i; i < first.length && i < second.length; ++i) {
            if (first[i].highQcView != second[i].highQcView) {
                return first[i].highQcView < second[i].highQcView;
            }
            if (first[i].signers != second[i].signers) return first[i].signers < second[i].signers;
        }
        return first.length < second.length;
    }

    function _reportedTwice(TimeoutGroup[] calldata first, TimeoutGroup[] calldata second)
        private
        pure
        returns (uint256 guilty)
    {
        for (uint256 i; i < first.length; ++i) {
            for (uint256 j; j < second.length; ++j) {
                if (first[i].highQcView != second[j].highQcView) {
                    guilty |= first[i].signers & second[j].signers;
                }
            }
        }
    }

    // Punishment.

    /// Takes the stakes of the guilty, and pays the reporter.
    function _punish(uint64 epoch, bytes32 domain, Offence offence, uint64 view_, uint256 guilty)
        private
        returns (uint256 reward)
    {
        uint256 slashed;
        bool any;
        for (uint256 member; guilty >> member != 0; ++member) {
            if ((guilty >> member) & 1 == 0) continue;
            (address operator, uint256[4] memory negatedKey) = oracle.memberAt(epoch, member);
            bytes32 key = _nameOf(negatedKey);
            bytes32 name = offenceOf(domain, offence, view_, key);
            if (punished[name]) continue;
            punished[name] = any = true;
            uint256 amount = stakes[key].amount;
            if (amount != 0) delete stakes[key];
            slashed += amount;
            emit Convicted(key, operator, epoch, view_, offence, msg.sender, amount);
        }
        if (!any) revert AlreadyPunished();
        // Rounded down, against the reporter.
        reward = slashed * reporterSharePpm / PPM;
        burnt += slashed - reward;
        if (reward != 0) token.pay(msg.sender, reward);
    }

    function _owned(bytes32 key) private view returns (Stake storage stake) {
        stake = stakes[key];
        if (stake.amount == 0) revert NoStake(key);
        if (stake.owner != msg.sender) revert NotOwner(msg.sender, stake.owner);
    }

    function _isListed(bytes32 key, uint64 epoch, uint256 members) private view returns (bool) {
        for (uint256 i; i < members; ++i) {
            (, uint256[4] memory negatedKey) = oracle.memberAt(epoch, i);
            if (_nameOf(negatedKey) == key) return true;
        }
        return false;
    }

    /// Returns how many epochs were opened.
    function _epochs() private view returns (uint64) {
        return oracle.feedCount() == 0 ? 0 : oracle.epoch() + 1;
    }

    function _nameOf(uint256[4] memory negatedKey) private pure returns (bytes32) {
        return keccak256(abi.encode(negatedKey));
    }

    function _now() private view returns (uint256) {
        return block.timestamp * 1000;
    }
}
