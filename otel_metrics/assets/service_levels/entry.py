"""Values of a YAML file that know where they stand, so that what is rejected is named with its line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_metrics.errors import ConfigurationError
from otel_metrics.label_text import LONGEST, printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from yaml.nodes import Node

_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)
_SHOWN: Final = 80
"""Characters of a value that a message repeats."""


def documents(path: Path) -> list[Entry]:
    """Return the documents of a YAML file.

    Raises:
        ConfigurationError: it cannot be read, or is no YAML.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        nodes = list(yaml.compose_all(text, yaml.SafeLoader))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: {error.reason}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{path}{line} is no YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    return [entry for node in nodes if not (entry := Entry(node, path, "the file")).empty]


class Entry:
    """A value, the file that has it, and what the file calls it."""

    __slots__ = ("_node", "called", "path")

    def __init__(self, node: Node, path: Path, called: str) -> None:
        self._node = node
        self.path = path
        self.called = called

    @property
    def where(self) -> str:
        """The file and the line."""
        return f"{self.path}, line {self._node.start_mark.line + 1}"

    def complaint(self, sentence: str) -> ConfigurationError:
        """Return the error that says something about this place."""
        return ConfigurationError(f"{self.where}: {sentence}")

    def not_allowed(self, allowed: str) -> ConfigurationError:
        """Return the error that rejects the value."""
        return self.complaint(f"{self.called}={self._shown()} is not allowed; allowed: {allowed}")

    def _shown(self) -> str:
        value = self._node.value
        if not isinstance(value, str):
            return "{…}" if self.has_fields else "[…]"
        return ascii(value[:_SHOWN]) + "…" * (len(value) > _SHOWN)

    def _is(self, *kinds: str) -> bool:
        return self._node.tag in {f"tag:yaml.org,2002:{kind}" for kind in kinds}

    # ----------------------------------------------------------------------------------------------------- structure

    @property
    def empty(self) -> bool:
        """Whether there is nothing."""
        return self._is("null")

    @property
    def has_fields(self) -> bool:
        """Whether it is a mapping."""
        return self._is("map")

    def fields(self, required: Collection[str] = (), optional: Collection[str] | None = ()) -> dict[str, Entry]:
        """Return what a mapping holds, by name; ``optional=None`` allows any.

        Raises:
            ConfigurationError: it is no mapping, a required field is missing, another one is unknown, or one is there twice.
        """
        if not self.has_fields:
            raise self.not_allowed("a mapping" + (f" with {', '.join(required)}" if required else ""))
        found: dict[str, Entry] = {}
        for key, value in self._pairs():
            name = key.value if isinstance(key.value, str) else "?"
            at = Entry(key, self.path, name)
            if optional is not None and name not in {*required, *optional}:
                known = ", ".join((*required, *optional)) or "none"
                raise at.complaint(f"the field {at._shown()} is unknown in {self.called}; known: {known}")
            if name in found:
                raise at.complaint(f"the field {name} is there twice")
            found[name] = Entry(value, self.path, name)
        for name in required:
            if name not in found:
                raise self.complaint(f"{self.called} needs the field {name}")
        return found

    def _pairs(self) -> Iterator[tuple[Node, Node]]:
        yield from self._node.value

    def entries(self) -> list[Entry]:
        """Return what a list holds.

        Raises:
            ConfigurationError: it is no list.
        """
        if not self._is("seq"):
            raise self.not_allowed("a list")
        return [Entry(node, self.path, f"an entry of {self.called}") for node in self._node.value]

    # -------------------------------------------------------------------------------------------------------- values

    def text(self) -> str:
        """Return text as it is written.

        Raises:
            ConfigurationError: it is something else, such as a number without quotes.
        """
        if not self._is("str"):
            raise self.not_allowed("text (in quotes, where it looks like something else)")
        value: str = self._node.value
        return value

    def number(self) -> float | None:
        """Return a number, ``None`` if it is something else."""
        if not self._is("int", "float") or not _NUMBER.fullmatch(self._node.value):
            return None
        return float(self._node.value)

    def yes(self) -> bool:
        """Return whether it is true.

        Raises:
            ConfigurationError: it is no truth value.
        """
        if not self._is("bool") or self._node.value.lower() not in {"true", "false"}:
            raise self.not_allowed("true or false")
        return bool(self._node.value.lower() == "true")

    def name(self) -> str:
        """Return the name of a service level.

        Raises:
            ConfigurationError: it cannot be one.
        """
        value = self.text()
        if not _NAME.fullmatch(value):
            raise self.not_allowed("1 to 63 letters, digits, '-', '_', '.', the first and the last no punctuation")
        return value

    def label_value(self) -> str:
        """Return text that a label can have, as record calls keep it.

        Raises:
            ConfigurationError: it is none.
        """
        value = self.text()
        if not 0 < len(value) <= LONGEST or printable(value) != value:
            raise self.not_allowed(f"1 to {LONGEST} characters, no control characters")
        return value

    def line(self) -> str:
        """Return text of any kind in one line, without what cannot be printed.

        Raises:
            ConfigurationError: it is no text.
        """
        return printable(" ".join(self.text().split()))
