"""One suite for everything that stands behind the same seam."""
