"""The models that ship, and what turns words into codes."""
