"""`python -m bench`: the speed of sync, see sync.py; the other parts are called by their own names."""

from bench.sync import main

main()
