"""Byzantine members: the node as it is, with something wrong at its edges (`node.edges`).

`python -m testnet.personas NAME --config node.toml --when FILE` runs a real node that misbehaves
once FILE exists. `registry.PERSONAS` names all; what the simulation's coalitions do is shared with
them (`testnet.byzantine_knowledge`, `testnet.byzantine_choices`, `testnet.forgeries`).
"""
