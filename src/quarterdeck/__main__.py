"""`python -m quarterdeck` is `qdeck`."""

from quarterdeck.cli import main

main()
