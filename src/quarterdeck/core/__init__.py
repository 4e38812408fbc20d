"""The state machine that decides: events in, commands out.

No clock, socket, thread or unseeded random source: time is a field of every event. `Deck.handle` takes what happened
and returns what to write down and what to do; `Deck.apply` takes it in without deciding anything, which is how a log
replays.
"""
