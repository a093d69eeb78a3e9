"""`python -m hashgrain` is the command `hashgrain`."""

from hashgrain.cli import main

main()
