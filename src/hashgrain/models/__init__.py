"""The models that ship, and what reads words for them."""
