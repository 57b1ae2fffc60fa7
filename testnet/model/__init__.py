"""Models of the consensus rules for solvers and model checkers, see consensus/VERIFICATION.md."""
