"""Replays recordings of Kafka Streams against headwater: ``python -m tests.conformance PATH...``.

`vectors` reads them, `vocabulary` has the functions that their topologies are written with, `build` makes a topology
through the public DSL, `replay` feeds a test driver and compares, `__main__` is the command.
"""
