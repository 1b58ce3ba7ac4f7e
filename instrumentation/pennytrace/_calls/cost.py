"""The analytic cost of a request in a step: how a step of many requests is shared among them.

A step of a transformer computes, and reads memory. For a request with q tokens in the step, and a context of c tokens
before it, computing takes

    FLOPs_i = q * (2 * P + 4 * sum_over_attention_layers(heads * head size * (c + q/2))) + 2 * vocabulary * hidden size

where P is the number of weights that one token passes (of the experts of a mixture, those that are chosen for it): two
operations a weight, and for each pair of tokens two products, of queries with keys and of scores with values, of two
operations each (Kaplan et al. 2020, arXiv 2001.08361, section 2.1, counts the same; so does vLLM's own
`v1/metrics/perf.py`). The last term is the choice of a token from the vocabulary. It reads

    bytes_i = (c + q) * (bytes of the keys and values of one token) + (bytes of the weights that the step reads) / n

The weights are read once, whoever is in the step, so the n requests share that equally. Of a mixture of E experts, of
which k are chosen for a token, a step of t tokens reads at most min(1, t*k/E). Both are added in one unit:

    weight_i = FLOPs_i + balance * bytes_i

The balance is how many operations the hardware does in the time in which it reads a byte. By their data sheets (dense
BF16 and memory bandwidth): A100 80 GB SXM 312 TFLOPS and 2.04 TB/s, 153; H100 SXM 989 and 3.35, 295; H200 989 and 4.8,
206; MI300X 1307 and 5.3, 247. `GPU` is 200. A server's CPU has 1 to 4 TFLOPS and 0.1 to 0.4 TB/s: `CPU` is 10.

Assumptions: the sum of the two and not the greater one, so that a share does not jump where they meet; neither
activations nor what parallel GPUs tell each other are counted, which grow with q as computing does; an encoder's token
costs as much as one of the model; a layer of another kind than attention (Mamba, linear attention) has weights alone,
as many as one of attention. Whatever is wrong with a weight, the shares of a step sum to the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from pennytrace import semconv
from pennytrace._guard import never_break_the_host

GPU: Final = 200.0
CPU: Final = 10.0
"""FLOPs in the time of a byte."""

_BYTES: Final[Mapping[str, float]] = {
    **dict.fromkeys(("fp8", "fbgemm_fp8", "ptpc_fp8", "modelopt", "modelopt_mxfp8", "experts_int8"), 1.0),
    **dict.fromkeys(("mxfp4", "gpt_oss_mxfp4", "modelopt_fp4", "petit_nvfp4"), 0.5),
    **dict.fromkeys(
        ("awq", "awq_marlin", "gptq", "gptq_marlin", "auto_gptq", "moe_wna16", "bitsandbytes"), 0.5
    ),
}
"""Bytes of a weight by vLLM's names of quantisations; of the others the size is not in the name."""
_DEFAULT_BYTES: Final = 2.0  # of BF16, where nothing says otherwise


@dataclass(frozen=True, slots=True)
class Cost:
    """The weight of requests in steps, of one model on one kind of hardware; in FLOPs, or what takes as long."""

    token: float
    """For each token."""
    pair: float = 0.0
    """For each pair of tokens, in the layers that attend to all of the context."""
    near_pair: float = 0.0
    """For each pair of tokens, in the layers that attend to a window."""
    window: float = inf
    """Tokens."""
    context: float = 0.0
    """For each token of the context, which a step reads once for a request."""
    near_context: float = 0.0
    """For each token of it that is in the window."""
    request: float = 0.0
    """For each request."""
    step: float = 0.0
    """For each step, however many requests are in it."""
    experts: float = 0.0
    """For each step that wakes all experts."""
    waken: float = 0.0
    """The share of the experts that one token wakes."""
    method: str = semconv.BY_ROOFLINE
    """How shares are found by it, as the value of `pennytrace.gpu.method`."""
    confidence: str = semconv.MEDIUM
    """How sure the shares are that are found by it."""

    def weights(self, scheduled: Sequence[int], before: Sequence[int], tokens: int) -> list[float]:
        """Return how much of a step is for each of the requests in it.

        Args:
            scheduled: The tokens that the step computes for each request.
            before: The tokens of each request that were computed before.
            tokens: All tokens that the step computes.
        """
        if not scheduled:
            return []
        read = self.step + self.experts * min(1.0, tokens * self.waken)
        each = self.request + read / len(scheduled)
        token, pair, context = self.token, self.pair, self.context
        if (
            tokens == len(scheduled) and self.window == inf
        ):  # one each, as in most steps: the same in half the time
            base, more = token + 0.5 * pair + context + each, pair + context
            return [base + more * c for c in before]
        weights = [
            q * (token + pair * (c + 0.5 * q)) + context * (c + q) + each
            for q, c in zip(scheduled, before, strict=True)
        ]
        if self.window == inf:
            return weights
        near, window = self.near_pair, self.window
        return [
            weight + q * near * min(c + 0.5 * q, window) + self.near_context * min(c + q, window)
            for weight, q, c in zip(weights, scheduled, before, strict=True)
        ]


def by_tokens(*, balance: float, weight_bytes: float = _DEFAULT_BYTES) -> Cost:
    """Return the cost of a model of which nothing is known but that it reads its weights in every step.

    The number of weights cancels out: a token computes 2 P, and a step reads P weights. Attention counts for nothing.
    """
    return Cost(token=2.0, step=balance * weight_bytes, method=semconv.BY_TOKENS, confidence=semconv.LOW)


@never_break_the_host("reading the size of a model")
def of_model(config: Any, *, balance: float, weight_bytes: float, cache_bytes: float) -> Cost | None:
    """Return the cost of a model by its configuration, None where that does not say enough.

    Args:
        config: A language model's configuration as of transformers (`hf_text_config`).
        balance: FLOPs in the time of a byte.
        weight_bytes: The size of a weight.
        cache_bytes: The size of a number in the cache of keys and values.
    """
    layers, hidden, heads = (
        getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    if not (layers and hidden and heads):
        return None
    attention = _latent(config, hidden, heads) or _attention(config, hidden, heads)
    full, near, window = _reach(config, layers)
    feed = _feed_forward(config, layers, hidden)
    vocabulary = hidden * (getattr(config, "vocab_size", None) or 0)
    kept = balance * attention.kept * cache_bytes
    return Cost(
        token=2.0 * (layers * attention.weights + feed.always + feed.experts * feed.waken),
        pair=full * attention.pair,
        near_pair=near * attention.pair,
        window=window,
        context=full * kept,
        near_context=near * kept,
        request=2.0 * vocabulary,
        step=balance * weight_bytes * (layers * attention.weights + feed.always + vocabulary),
        experts=balance * weight_bytes * feed.experts,
        waken=feed.waken,
    )


def weight_bytes(quantization: str | None, dtype_bytes: float) -> float:
    """Return the bytes of a weight, by the name of its quantisation as far as that says it, else by its type."""
    return dtype_bytes if quantization is None else _BYTES.get(quantization, dtype_bytes)


@dataclass(frozen=True, slots=True)
class _Attention:
    """One layer of it."""

    weights: float
    pair: float
    """FLOPs for a pair of tokens."""
    kept: float
    """Numbers in the cache for a token."""


@dataclass(frozen=True, slots=True)
class _FeedForward:
    """All layers of it, in weights."""

    always: float
    experts: float = 0.0
    waken: float = 0.0


def _attention(config: Any, hidden: int, heads: int) -> _Attention:
    size = getattr(config, "head_dim", None) or hidden // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    return _Attention(
        weights=hidden * size * (2 * heads + 2 * shared), pair=4.0 * heads * size, kept=2.0 * shared * size
    )


def _latent(config: Any, hidden: int, heads: int) -> _Attention | None:
    """Return the attention of DeepSeek's kind, which keeps one compressed vector a token (arXiv 2405.04434, 2.1)."""
    kept, query = getattr(config, "kv_lora_rank", None), getattr(config, "q_lora_rank", None)
    if not kept:
        return None
    plain, turned, value = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
    asked = heads * (plain + turned)
    return _Attention(
        weights=(query * (hidden + asked) if query else hidden * asked)
        + hidden * (kept + turned)
        + kept * heads * (plain + value)
        + heads * value * hidden,
        pair=2.0 * heads * (plain + turned + value),
        kept=kept + turned,
    )


def _reach(config: Any, layers: int) -> tuple[int, int, float]:
    """Return how many layers attend to everything, how many to a window, and how wide that is."""
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    if not kinds:
        return (0, layers, window) if window else (layers, 0, inf)
    near = sum("sliding" in kind or "chunked" in kind for kind in kinds)
    full = sum("full" in kind or kind == "attention" for kind in kinds)
    return (full, near, window) if window else (full + near, 0, inf)


def _feed_forward(config: Any, layers: int, hidden: int) -> _FeedForward:
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    experts = _first(config, "num_experts", "n_routed_experts", "num_local_experts")
    chosen = _first(config, "num_experts_per_tok", "num_experts_per_token", "top_k_experts")
    if not experts or not chosen:
        return _FeedForward(always=3.0 * layers * hidden * wide)
    narrow = _first(config, "moe_intermediate_size") or wide
    beside = _first(config, "shared_expert_intermediate_size")
    beside = beside or narrow * _first(config, "n_shared_experts", "num_shared_experts")
    dense = min(layers, _first(config, "first_k_dense_replace"))
    mixed = layers - dense
    return _FeedForward(
        always=3.0 * hidden * (dense * wide + mixed * beside),
        experts=3.0 * mixed * hidden * narrow * experts,
        waken=chosen / experts,
    )


def _first(config: Any, *names: str) -> int:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value), 0)
