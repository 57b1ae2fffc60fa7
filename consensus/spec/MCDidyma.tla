------------------------------ MODULE MCDidyma ------------------------------
(* What makes the state space of Didyma smaller, and takes no breach away.                        *)
EXTENDS Didyma, TLC

\* Honest members are alike, and so are the names of blocks.
Symmetry == Permutations(Honest) \union Permutations(Ids)

\* A timeout of the last view has no consequence.
NoLastTimeout == \A m \in Honest : timeouts'[m][MaxView] = None
=============================================================================
