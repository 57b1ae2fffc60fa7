"""Mistakes in the rules that a model of them must be able to show."""

from enum import Enum


class Mistake(Enum):
    """One rule left out or got wrong; the value says which, as numbered in consensus/README.md."""

    SMALL_QUORUM = "R1: a quorum is 2f+1 whatever n is"
    SIGNER_COUNTED_TWICE = "R1: a bit that is set twice counts twice"
    VIEW_NOT_SIGNED = "R1: the view of a QC is a label beside what its signatures cover"
    OVERLAPPING_GROUPS = "R2: the groups of a TC may overlap, so a member counts once in each"
    TC_OF_ANY_VIEW = "R3: the TC that justifies a gap may be of any earlier view"
    TC_HIGHEST_NOT_CHECKED = "R3: the highest report of a TC is not compared with the QC"
    NO_TC_NEEDED = "R3: a block may skip views without a TC"
    VOTE_TWICE = "R4: a member votes for several blocks of one view"
    VOTE_AFTER_TIMEOUT = "R4: a member votes in a view that it has timed out of"
    VOTE_BACKWARDS = "R4: a member votes in a view below one that it has signed in"
    COMMIT_WITH_A_GAP = "R6: a child commits its parent whatever their views"
    HIGH_QC_LOST = "R7: a member forgets the certificates it has seen"
    HIGH_QC_BY_LABEL = "R7: the newest certificate is told by an unsigned label"
