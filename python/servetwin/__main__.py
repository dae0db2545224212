"""`python -m servetwin`."""

from .cli import main

main()
