"""Simulated exchanges: servers that speak the real venues' wire formats over one market."""
