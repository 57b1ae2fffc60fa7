"""The node's listeners for everyone else: the public API, metrics and control.

aiohttp is imported by the modules that serve, not by `view`: the command line stays fast.
"""
