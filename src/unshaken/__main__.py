"""`python -m unshaken`: the command line."""

from unshaken.cli import main

main()
