"""The demo: a hybrid quantum-classical job from beginning to end. `qdeck demo` is `main`."""

from quarterdeck.demo.script import main

__all__ = ["main"]
