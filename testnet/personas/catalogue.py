"""What personas there are: their names, what each does, and whether it keeps the rules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Persona:
    """`honest` ones sign nothing wrong, however badly they fare, and are judged like all others."""

    about: str
    honest: bool = False


PERSONAS: dict[str, Persona] = {
    "liar": Persona("reports ten times every price"),
    "drifter": Persona("reports prices that drift away by 5 basis points a second"),
    "wrong-times": Persona("observes at wrong times, other ones for each member"),
    "equivocator": Persona("says two things in every view, both of them signed"),
    "withholder": Persona("sends to some only, hides certificates, picks observations"),
    "stale": Persona("reports the oldest QC, proposes on the weakest TC"),
    "overreacher": Persona("proposes on less than it may, with false certificates"),
    "misinformer": Persona("answers requests with wrong blocks and checkpoints"),
    "bad-signer": Persona("signs with infinity, points off the group, others' shares"),
    "misdirector": Persona("hands over to epochs that nobody decided"),
    "garbage": Persona("sends what is nearly a message, and forged bitmaps"),
    "replayer": Persona("repeats what others, networks and epochs said"),
    "future": Persona("speaks of views far ahead"),
    "flood": Persona("sends as many messages as it can"),
    "turncoat": Persona("is most of the others in turn, for five seconds each"),
    "slow": Persona("delays everything it sends by 0.3 to 1.5 seconds", honest=True),
    "clock-skewed": Persona("has a clock that is wrong by 2.5 seconds"),
    "crasher": Persona("kills itself at any step, every few seconds", honest=True),
}
