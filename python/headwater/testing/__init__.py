"""Test tools: run a topology without threads, files or a clock; crash a broker at any operation of its disk."""

from headwater.log.simulated import CrashLevel, SimulatedDisk
from headwater.testing.driver import Emission, InputTopic, OutputTopic, TestStore, TopologyTestDriver
from headwater.time import ManualClock

__all__ = [
    "CrashLevel",
    "Emission",
    "InputTopic",
    "ManualClock",
    "OutputTopic",
    "SimulatedDisk",
    "TestStore",
    "TopologyTestDriver",
]
