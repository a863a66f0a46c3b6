"""Test tools: run a topology without threads, files or a clock."""

from headwater.testing.driver import Emission, InputTopic, OutputTopic, TestStore, TopologyTestDriver
from headwater.time import ManualClock

__all__ = ["Emission", "InputTopic", "ManualClock", "OutputTopic", "TestStore", "TopologyTestDriver"]
