// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Place} from "../../src/IOracle.sol";
import {Catalogues} from "../../src/libraries/Catalogues.sol";
import {Head, Heads} from "../../src/libraries/Head.sol";
import {Places} from "../../src/libraries/Places.sol";
import {Answer, Pair, Pairs, Words} from "../../src/libraries/Words.sol";

/// What halmos proves of packing and unpacking, for all values.
contract PackingProof {
    using Places for Place;

    function check_answers_are_decoded_as_encoded(
        uint48 price,
        uint8 mantissa,
        uint8 exponent,
        uint8 status,
        uint256 word,
        uint8 lane,
        uint16 index
    ) external pure {
        if (exponent > 15 || status > 15 || lane > 3) return;
        uint256 answer = uint256(price) << 16 | uint256(mantissa) << 8 | uint256(exponent) << 4
            | status;
        uint256 shift = 192 - 64 * uint256(lane);
        word = (word & ~(uint256(type(uint64).max) << shift)) | answer << shift;
        Answer decoded = Words.answerAt(word, uint256(index) * 4 + lane);
        assert(decoded.price() == price);
        assert(decoded.status() == status);
        if (mantissa == 255 && exponent == 15) {
            assert(decoded.confidencePpm() == type(uint256).max);
        } else {
            assert(decoded.confidencePpm() == uint256(mantissa) * 2 ** exponent);
        }
    }

    function check_pairs_keep_both_answers_and_the_time(uint256 word, uint16 feed, uint48 time)
        external
        pure
    {
        Pair pair = Pairs.from(word, feed, time);
        assert(pair.observedAt() == time);
        Answer mine = Words.answerAt(word, feed);
        Answer other = Words.answerAt(word, feed ^ 1);
        assert(Answer.unwrap(pair.answerOf(feed)) == Answer.unwrap(mine));
        assert(Answer.unwrap(pair.answerOf(feed ^ 1)) == Answer.unwrap(other));
    }

    function check_places_are_decoded_as_encoded(
        uint32 epoch,
        uint32 view_,
        uint64 time,
        uint128 signers
    ) external pure {
        Place place = Place.wrap(
            uint256(epoch) << 224 | uint256(view_) << 192 | uint256(time) << 128 | signers
        );
        assert(place.epoch() == epoch);
        assert(place.viewNumber() == view_);
        assert(place.observedAt() == time);
        assert(place.signers() == signers);
    }

    function check_a_push_writes_time_view_and_answer(
        uint256 old,
        uint32 epoch,
        uint32 view_,
        uint48 time,
        uint128 signers,
        uint256 word,
        uint16 feed
    ) external pure {
        Head head = Head.wrap(old);
        Place place = Place.wrap(
            uint256(epoch) << 224 | uint256(view_) << 192 | uint256(time) << 128 | signers
        );
        uint256 bits = uint256(type(uint8).max) << 64;
        Head after_ = head.withPush(place, word);
        uint256 bit = Heads.besideOf(feed);
        assert(Head.unwrap(after_) & bit == 0);
        assert(head.isPosted(time) == (head.postedAt() >= time));
        assert(Head.unwrap(after_.withBeside(head)) == Head.unwrap(after_) | (old & bits));
        assert(after_.observedAt() == time);
        assert(after_.viewNumber() == view_);
        assert(Answer.unwrap(after_.firstAnswer()) == uint64(word >> 192));
        assert(after_.postedAt() == head.postedAt());
        assert(after_.epoch() == head.epoch());
        assert(after_.carry() == head.carry());
        assert(after_.feeds() == head.feeds());
    }

    function check_a_post_writes_its_time_which_never_falls(
        uint256 old,
        uint48 time,
        uint16 feed,
        uint16 other
    )
        external
        pure
    {
        Head head = Head.wrap(old);
        Head after_ = head.withUpdate(time, Heads.besideOf(feed));
        assert(after_.postedAt() >= head.postedAt());
        assert(after_.postedAt() == (time > head.postedAt() ? time : head.postedAt()));
        assert(Head.unwrap(after_) & Heads.besideOf(feed) != 0);
        uint256 bit = Heads.besideOf(other);
        assert(Head.unwrap(after_) & bit == ((other ^ feed) & 14 == 0 ? bit : old & bit));
        Head posted = head.withPosted(time);
        assert(posted.postedAt() == time);
        assert(Head.unwrap(posted) & bit != 0);
        // But for those bits and the time they are the same.
        after_ = Head.wrap(old).withUpdate(time, 0);
        if (time > head.postedAt()) {
            assert(
                (Head.unwrap(after_) ^ Head.unwrap(posted)) & ~(uint256(type(uint8).max) << 64) == 0
            );
        }
        assert(after_.observedAt() == head.observedAt());
        assert(after_.viewNumber() == head.viewNumber());
        assert(Answer.unwrap(after_.firstAnswer()) == Answer.unwrap(head.firstAnswer()));
        assert(after_.epoch() == head.epoch());
        assert(after_.carry() == head.carry());
        assert(after_.feeds() == head.feeds());
    }

    function check_an_epoch_keeps_the_answers(uint256 old, uint24 epoch, uint32 carry, uint16 feeds)
        external
        pure
    {
        if (carry > Heads.CARRY_MAX || feeds > Catalogues.FEEDS_MAX) return;
        Head head = Head.wrap(old);
        Head after_ = head.withEpoch(epoch, carry, feeds);
        uint256 bits = uint256(type(uint8).max) << 64;
        assert(Head.unwrap(after_) & bits == old & bits);
        assert(after_.epoch() == epoch);
        assert(after_.carry() == carry);
        assert(after_.feeds() == feeds);
        assert(after_.viewNumber() == 0);
        assert(after_.observedAt() == head.observedAt());
        assert(after_.postedAt() == head.postedAt());
        assert(Answer.unwrap(after_.firstAnswer()) == Answer.unwrap(head.firstAnswer()));
    }
}
