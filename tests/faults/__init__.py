"""Real processes, real kills, an independent reader: the rules I1 to I7 of ARCHITECTURE.md, from outside.

`schedule` draws from a seed what is to happen, `stage` starts the real commands on a landing whose `ledger` knows every
version of every picture, `acts` are the faults, and `rules` read the lake afterwards with delta-rs.
"""
