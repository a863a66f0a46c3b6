"""Taxi rides: a producer, a consumer, and three applications on the topics that they share.

Run them from the root of the repository, in this order; each says what it does in its first lines::

    python -m examples.rides.producer ./data [rides.csv]
    python -m examples.rides.consumer ./data
    python -m examples.rides.count_per_zone ./data
    python -m examples.rides.windowed_count ./data
    python -m examples.rides.join_locations ./data
"""
