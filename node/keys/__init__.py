"""The three keys of a node, their encrypted files and their passwords.

Loading is explicit (`node.keys.key_set`), files are written once and never again.
"""
