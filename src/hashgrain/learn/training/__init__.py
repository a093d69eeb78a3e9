"""The training loop and what it trains: network, heads, objective, checkpoints, validation."""
