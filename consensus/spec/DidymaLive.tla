----------------------------- MODULE DidymaLive -----------------------------
(* Liveness of one epoch. Up to view Chaos anything may happen that Didyma allows; messages may   *)
(* stay with whoever has them, leaders may be Byzantine. After it the network is timely and       *)
(* leaders are correct, so that no timer runs out there; Byzantine members stay silent or not.    *)
(* Then a block of a later view becomes final.                                                    *)
EXTENDS Didyma

CONSTANT Chaos

VARIABLES
    proposed,  \* view -> what its correct leader proposed: a block, or Genesis for nothing yet
    highBlock  \* member -> the block of its high QC

liveVars == <<vars, proposed, highBlock>>

Calm == (Chaos + 1)..MaxView
Higher(b, c) == IF c.view > b.view THEN c ELSE b
Leader(v) == CHOOSE m \in Honest : m = (v % Cardinality(Honest)) + 1

\* What an honest member has is handed on: certificates ride beside timeouts, and TCs are broadcast.
KnownQCs ==
    {highBlock[m] : m \in Honest} \union
    {b \in Certified \ {Genesis} : Cardinality({m \in Honest : b \in votes[m]}) >= Q}
AllTimedOut(v) == Cardinality({m \in Honest : timeouts[m][v] # None}) >= Q

Learn(m, b, v) ==
    /\ highBlock' = [highBlock EXCEPT ![m] = Higher(@, b)]
    /\ high' = [high EXCEPT ![m] = Max(@, b.view)]
    /\ view' = [view EXCEPT ![m] = Max(@, Max(v, b.view + 1))]
    /\ <<high', view'>> # <<high, view>>
    /\ UNCHANGED <<voted, votes, timeouts, proposed>>

\* Any QC or TC may be learned by anyone...
TakeQC(m) == \E b \in Certified : Learn(m, b, 0)
TakeTC(m) ==
    \E v \in 1..Chaos, b \in Certified :
        b.view <= v /\ HasTC(v, b.view) /\ Learn(m, b, v + 1)

\* ... and what honest members have, will be.
CatchUp(m) ==
    /\ Mistake # "certificates not handed on"
    /\ \/ \E b \in KnownQCs : Learn(m, b, 0)
       \/ \E n \in Honest : Learn(m, highBlock[n], view[n])
       \/ \E v \in 1..Chaos : AllTimedOut(v) /\ \E n \in Honest :
              /\ highBlock[n].view <= v
              /\ HasTC(v, highBlock[n].view)
              /\ Learn(m, highBlock[n], v + 1)

Propose(v) ==
    LET m == Leader(v) IN
    /\ view[m] = v
    /\ voted[m] < v
    /\ proposed[v] = Genesis
    /\ Justified(v, high[m])
    /\ proposed' = [proposed EXCEPT ![v] = Block(v, CHOOSE id \in Ids : TRUE, highBlock[m])]
    /\ UNCHANGED <<vars, highBlock>>

\* A member that refuses what does not extend its own high QC hides a lock from the others.
Refuses(m, b) == Mistake = "hidden lock" /\ high[m] > b.parent.view

VoteAnd(m, b) ==
    /\ ~Refuses(m, b)
    /\ Vote(m, b)
    /\ highBlock' = [highBlock EXCEPT ![m] = Higher(@, b.parent)]
    /\ UNCHANGED proposed

ChaosVote(m) ==
    \E v \in 1..Chaos, id \in Ids, parent \in Certified :
        parent.view < v /\ VoteAnd(m, Block(v, id, parent))

CalmVote(m) == \E v \in Calm : proposed[v] # Genesis /\ VoteAnd(m, proposed[v])

ChaosTimeOut(m) ==
    /\ view[m] <= Chaos
    /\ TimeOut(m, view[m], high[m])
    /\ UNCHANGED <<proposed, highBlock>>

LiveInit ==
    /\ Init
    /\ proposed = [v \in Calm |-> Genesis]
    /\ highBlock = [m \in Honest |-> Genesis]

LiveNext ==
    \/ \E m \in Honest : CatchUp(m) \/ CalmVote(m) \/ ChaosTimeOut(m)
    \/ \E m \in Honest : TakeQC(m) \/ TakeTC(m) \/ ChaosVote(m)
    \/ \E v \in Calm : Propose(v)

\* Byzantine shares, and whatever else is not promised, may come or not.
LiveSpec ==
    /\ LiveInit
    /\ [][LiveNext]_liveVars
    /\ \A m \in Honest : WF_liveVars(CatchUp(m)) /\ WF_liveVars(CalmVote(m))
                             /\ WF_liveVars(ChaosTimeOut(m))
    /\ \A v \in Calm : WF_liveVars(Propose(v))

\* L1: a valid TC alone makes honest members vote, so correct leaders are enough.
Commits == <>(\E b \in Final : b.view > Chaos)
=============================================================================
