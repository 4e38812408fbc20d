"""The Python client of a Quarterdeck daemon. Begin with `connect()`."""

from quarterdeck.client.client import Client, Entry, connect
from quarterdeck.client.session import SessionHandle
from quarterdeck.client.task import TaskHandle

__all__ = ["Client", "Entry", "SessionHandle", "TaskHandle", "connect"]
