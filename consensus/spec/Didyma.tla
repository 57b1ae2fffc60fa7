------------------------------- MODULE Didyma -------------------------------
(* Safety of one epoch: what honest members sign, whatever the network and the Byzantine do.      *)
(*                                                                                                *)
(* What was signed stays in the world for ever, so loss, delay, repetition and reordering need no *)
(* words: a member acts on a certificate at any time after it could exist, or never. It learns    *)
(* when it acts, for what it learns and does not use changes nothing. A crash is a pause, since   *)
(* what matters was durable before it was sent. Byzantine members are taken to have signed        *)
(* everything: they count for every certificate.                                                  *)
(*                                                                                                *)
(* R1 to R7 are the rules of consensus/README.md.                                                  *)
EXTENDS Integers, FiniteSets

CONSTANTS
    Honest,   \* the honest members
    F,        \* how many members are Byzantine besides
    Q,        \* the quorum
    Ids,      \* what tells blocks of one view and one parent apart
    MaxView,  \* views go from 1 to this
    Mistake   \* "none", or which rule is broken

VARIABLES
    view,     \* member -> its current view
    voted,    \* member -> the last view that it may not vote in any more
    high,     \* member -> the view of its high QC
    votes,    \* member -> the blocks that it voted for
    timeouts  \* member -> view -> the high-QC view that it reported, or None

vars == <<view, voted, high, votes, timeouts>>

None == -1
Views == 1..MaxView
Max(a, b) == IF a >= b THEN a ELSE b

\* A block holds its parent: an id covers view and link, and the link the parent's id and view.
Genesis == [view |-> 0]
Block(v, id, parent) == [view |-> v, id |-> id, parent |-> parent]

RECURSIVE Ancestors(_)
Ancestors(b) == IF b = Genesis THEN {} ELSE {b.parent} \union Ancestors(b.parent)

-----------------------------------------------------------------------------
(* Certificates *)

\* R1
Certified == {Genesis} \union
    {b \in UNION {votes[m] : m \in Honest} :
        Cardinality({m \in Honest : b \in votes[m]}) + F >= Q}

\* R2: there is a TC of view v in which nobody reports more than `most`. The QC beside the reports
\* may be any that is at least as high as they are.
HasTC(v, most) == Cardinality({m \in Honest : timeouts[m][v] \in 0..most}) + F >= Q

\* R3, and the only two reasons for being in a view
Justified(v, qc) ==
    \/ qc = v - 1
    \/ Mistake = "no TC needed"
    \/ v > 1 /\ HasTC(v - 1, IF Mistake = "TC highest not checked" THEN MaxView ELSE qc)

-----------------------------------------------------------------------------
(* What honest members do *)

\* R4
MayVote(m, v) ==
    \/ v > voted[m]
    \/ Mistake = "vote twice"
    \/ Mistake = "vote after timeout" /\ \A b \in votes[m] : b.view < v

\* A proposal brings along why its view may be entered.
Vote(m, b) ==
    /\ b.view >= view[m]
    /\ MayVote(m, b.view)
    /\ Justified(b.view, b.parent.view)
    /\ votes' = [votes EXCEPT ![m] = @ \union {b}]
    /\ voted' = [voted EXCEPT ![m] = b.view]
    /\ high' = [high EXCEPT ![m] = IF Mistake = "high QC lost" THEN @ ELSE Max(@, b.parent.view)]
    /\ view' = [view EXCEPT ![m] = b.view]
    /\ UNCHANGED timeouts

\* R7: a timeout is signed once in a view, reports the high QC, and no vote in its view follows it.
TimeOut(m, v, qc) ==
    /\ v >= view[m]
    /\ timeouts[m][v] = None
    /\ high[m] <= qc
    /\ Justified(v, qc)
    /\ timeouts' = [timeouts EXCEPT ![m][v] = qc]
    /\ voted' = [voted EXCEPT ![m] = v]
    /\ high' = [high EXCEPT ![m] = qc]
    /\ view' = [view EXCEPT ![m] = v]
    /\ UNCHANGED votes

Init ==
    /\ view = [m \in Honest |-> 1]
    /\ voted = [m \in Honest |-> 0]
    /\ high = [m \in Honest |-> 0]
    /\ votes = [m \in Honest |-> {}]
    /\ timeouts = [m \in Honest |-> [v \in Views |-> None]]

Next ==
    \E m \in Honest, v \in Views, justify \in Certified :
        /\ justify.view < v
        /\ \/ \E id \in Ids : Vote(m, Block(v, id, justify))
           \/ TimeOut(m, v, justify.view)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* What is promised *)

\* R6
Final == {b.parent : b \in
    {c \in Certified \ {Genesis} : c.view = c.parent.view + 1 \/ Mistake = "commit with a gap"}}

\* S1
Unique == \A b, c \in Certified : b.view = c.view => b = c

\* S2
Extended == \A b \in Final, c \in Certified : c.view > b.view => b \in Ancestors(c)

\* S4, as far as a model without a disk can say it
OneVoteAView == \A m \in Honest : \A b, c \in votes[m] : b.view = c.view => b = c

\* No timeout hides a certificate that an earlier vote was built on: nothing an honest member signs
\* can be used against it (A1).
NothingHidden == \A m \in Honest : \A b \in votes[m], v \in Views :
    v >= b.view /\ timeouts[m][v] # None => timeouts[m][v] >= b.parent.view
=============================================================================
