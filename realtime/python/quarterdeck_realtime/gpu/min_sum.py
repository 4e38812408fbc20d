"""Batched belief propagation: normalised min-sum with a flooding schedule, for all shots of a batch at once.

Sources. Min-sum with a scaling of check messages: Chen, Fossorier, Near optimum universal belief propagation based
decoding of low-density parity check codes, IEEE Trans. Commun. 50, 406 (2002). Decoding from syndromes: Poulin, Chung,
arXiv:0801.1241. Memory: Mueller et al., Improved belief propagation is sufficient for real-time decoding of quantum
memory (Relay-BP), arXiv:2506.01779; this is its first leg, with one memory strength for all errors, without relays.

Arrays have the shots last, so that gathering edges moves whole rows (contiguous in numpy, coalesced on a GPU). Only
numpy has run this; CuPy offers all functions in use here under the same names. Each iteration is a chain of array
operations with one look at how many shots are left (a synchronisation on a GPU), not one fused kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from quarterdeck_realtime.gpu.graph import Graph

__all__ = ["FAR", "Beliefs", "MinSum"]

FAR = 1e4  # the magnitude of certainty: finite, so that nothing is subtracted from infinity


class Beliefs(NamedTuple):
    """Of a batch, in arrays of the module in use. A shot has converged if its errors explain its syndrome."""

    errors: Any  # bool (errors, shots); of shots that did not converge those of the last iteration
    converged: Any  # bool (shots)
    iterations: Any  # int32 (shots)


class MinSum:
    """Decodes batches over `xp`: numpy or cupy.

    `scaling` multiplies check messages; 0: 1 - 2^-t in iteration t. `memory` (gamma) is the share of an error's bias
    that is its belief of the iteration before; 0 is plain min-sum, below 0 pushes away from it.
    """

    def __init__(
        self, xp: Any, graph: Graph, *, iterations: int, scaling: float, memory: float = 0.0, dtype: str = "float32"
    ) -> None:
        if iterations < 1 or not 0 <= scaling <= 1 or not -1 < memory < 1:
            raise ValueError(
                "belief propagation takes at least 1 iteration, a scaling from 0 to 1 and a memory between -1 and 1, "
                f"not {iterations}, {scaling} and {memory}"
            )
        self._xp = xp
        self._iterations, self._scaling, self._memory = iterations, scaling, memory
        self._checks = graph.checks
        self._errors_of = xp.asarray(graph.errors_of)
        self._edges_of = xp.asarray(graph.edges_of)
        self._prior = xp.asarray(np.clip(graph.prior, -FAR, FAR)[:, None].astype(dtype))

    def run(self, syndromes: Any) -> Beliefs:
        """Syndromes are bool (checks, shots), of the same module."""
        xp = self._xp
        shots = syndromes.shape[1]
        errors = xp.zeros((len(self._prior), shots), dtype=bool)
        converged = xp.zeros(shots, dtype=bool)
        iterations = xp.full(shots, self._iterations, dtype=xp.int32)
        left = xp.arange(shots)  # the shots that `syndromes`, `belief` and `messages` still hold
        belief = xp.repeat(self._prior, shots, axis=1)
        messages = xp.zeros((*self._errors_of.shape, shots), dtype=belief.dtype)  # from checks, at each edge
        open_ = xp.ones(shots, dtype=bool)
        for turn in range(1, self._iterations + 1):
            messages = self._from_checks(self._at_edges(belief, np.inf) - messages, syndromes, turn)
            bias = self._prior if not self._memory else self._prior + self._memory * (belief - self._prior)
            belief = bias + self._summed(messages)
            hard = belief <= 0
            explained = (self._at_edges(hard, False).sum(axis=0, dtype=xp.uint8) % 2 == syndromes).all(axis=0) & open_
            if turn == self._iterations:
                errors[:, left[open_]] = hard[:, open_]
                converged[left[explained]] = True
                break
            if bool(explained.any()):
                done = left[explained]
                errors[:, done] = hard[:, explained]
                converged[done] = True
                iterations[done] = turn
                open_ &= ~explained
                remain = int(open_.sum())
                if not remain:
                    break
                if remain <= 0.75 * len(left):  # what is done costs time until it is dropped
                    left, belief, messages = left[open_], belief[:, open_], messages[:, :, open_]
                    syndromes, open_ = syndromes[:, open_], open_[open_]
        return Beliefs(errors, converged, iterations)

    def _at_edges(self, values: Any, pad: float | bool) -> Any:
        """Values (errors, shots) at each edge: (degree, checks, shots)."""
        xp = self._xp
        rows = xp.concatenate([values, xp.full((1, values.shape[1]), pad, dtype=values.dtype)])
        return rows[self._errors_of]

    def _from_checks(self, incoming: Any, syndromes: Any, turn: int) -> Any:
        """To each edge the least magnitude of the other edges of its check, with the product of their signs."""
        xp = self._xp
        negative = incoming <= 0
        odd = (negative.sum(axis=0, dtype=xp.uint8) % 2).astype(bool) ^ syndromes
        size = xp.minimum(xp.abs(incoming), FAR)
        least = size.min(axis=0)
        is_least = size == least
        others = xp.where(is_least, FAR, size).astype(size.dtype).min(axis=0)
        others = xp.where(is_least.sum(axis=0, dtype=xp.int32) > 1, least, others)
        scaling = self._scaling or 1 - 0.5**turn
        outgoing = xp.where(is_least, others, least) * scaling
        return xp.where(odd ^ negative, -outgoing, outgoing).astype(incoming.dtype)

    def _summed(self, messages: Any) -> Any:
        """Messages (degree, checks, shots) summed at each error: (errors, shots)."""
        xp = self._xp
        shots = messages.shape[2]
        rows = xp.concatenate([messages.reshape(-1, shots), xp.zeros((1, shots), dtype=messages.dtype)])
        return rows[self._edges_of].sum(axis=0)
