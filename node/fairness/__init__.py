"""Whether leaders treat members and prices fairly, computed from final blocks; pure."""
