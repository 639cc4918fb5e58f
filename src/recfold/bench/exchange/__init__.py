"""Training on several ranks against peers: step time, and exactly what crosses the wire."""

from recfold.bench.exchange.bench import exchange

__all__ = ["exchange"]
