"""What a node needs of its machine and of the world, each looked at, each with a remedy."""
