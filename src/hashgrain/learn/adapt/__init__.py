"""Adapt a model to your own classes: features are computed once and cached, and a head is fitted in seconds."""
