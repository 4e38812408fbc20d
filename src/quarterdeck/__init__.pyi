from quarterdeck.client import Client as Client
from quarterdeck.client import connect as connect

__version__: str
