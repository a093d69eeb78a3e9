"""Exit codes of the command, as docs/reference/cli.md lists them; Typer exits with 2 for a wrong command line."""

OK, FAILED, PARTLY, STOPPED = 0, 1, 3, 130
