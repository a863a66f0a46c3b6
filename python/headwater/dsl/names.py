"""Processor and store names as Kafka Streams generates them: a prefix and a number from one counter per builder.

Operators burn numbers even where the user gave a name, and in Kafka Streams' own order, so that a topology has the same
names (hence the same internal topics) there and here.
"""

from __future__ import annotations

import re

from headwater.errors import TopologyError

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")
GENERATED_REPARTITION = re.compile(r".*\d{10}-repartition")


class Names:
    """The counter of one builder, and the names that are taken."""

    def __init__(self) -> None:
        self._index = 0
        self._taken: set[str] = set()

    def _next(self) -> str:
        number = f"{self._index:010d}"
        self._index += 1
        return number

    def processor(self, prefix: str) -> str:
        """A generated processor name.

        Args:
            prefix: ``KSTREAM-FILTER-`` and the like.
        """
        return prefix + self._next()

    def store(self, prefix: str) -> str:
        """A generated store name.

        Args:
            prefix: ``KSTREAM-AGGREGATE-`` and the like.
        """
        return f"{prefix}STATE-STORE-{self._next()}"

    def given_or_processor(self, name: str | None, prefix: str) -> str:
        """The user's name, or a generated one. Burns a number either way.

        Args:
            name: What the user gave.
            prefix: What a generated name starts with.
        """
        generated = self.processor(prefix)
        return generated if name is None else self.take(name)

    def suffixed_or_processor(self, name: str | None, suffix: str, prefix: str) -> str:
        """The user's name and a suffix, or a generated one. Burns a number either way.

        Args:
            name: What the user gave.
            suffix: What comes behind it.
            prefix: What a generated name starts with.
        """
        generated = self.processor(prefix)
        return generated if name is None else self.take(name + suffix)

    def take(self, name: str) -> str:
        """Check a user's name and remember that it is taken.

        Args:
            name: What the user gave.

        Raises:
            TopologyError: Not a legal name, or taken.
        """
        if not isinstance(name, str) or name in {".", ".."} or not _LEGAL.fullmatch(name):
            raise TopologyError(
                f"expected a name of 1 to 249 characters a-z A-Z 0-9 . _ -, got {name!r} - at name=; rename it"
            )
        if name in self._taken:
            raise TopologyError(
                f"expected a name of its own for every operator, got '{name}' twice - at name=; rename one"
            )
        self._taken.add(name)
        return name
