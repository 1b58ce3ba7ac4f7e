"""The weight of a request in a step: what a transformer computes and reads, by sizes that are worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennytrace._calls.cost import Cost, by_tokens, of_model, weight_bytes

LLAMA_8B: dict[str, Any] = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


def cost(*, balance: float = 200.0, of_weight: float = 2.0, of_cache: float = 2.0, **sizes: Any) -> Cost:
    found = of_model(SimpleNamespace(**sizes), balance=balance, weight_bytes=of_weight, cache_bytes=of_cache)
    assert found is not None
    return found


def test_a_llama_has_the_weights_that_its_card_says() -> None:
    """Llama 3.1 8B: 8.03e9 weights, 0.53e9 of them in the table of its vocabulary that a step does not read."""
    llama = cost(**LLAMA_8B)
    assert llama.token / 2 == pytest.approx(8.03e9 - 2 * 0.525e9, rel=0.001)
    assert llama.step / (200 * 2) == pytest.approx(8.03e9 - 0.525e9, rel=0.001)
    assert llama.context / 200 == 2 * 32 * 8 * 128 * 2  # 128 KiB of keys and values for a token
    assert llama.pair == 4 * 32 * 4096


def test_a_mixture_wakes_some_of_its_experts() -> None:
    """Mixtral 8x7B: 46.7e9 weights, 12.9e9 of them for a token (arXiv 2401.04088)."""
    mixtral = cost(**{**LLAMA_8B, "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2})
    vocabulary = 32000 * 4096
    assert mixtral.token / 2 + 2 * vocabulary == pytest.approx(12.9e9, rel=0.003)
    assert (mixtral.step + mixtral.experts) / 400 + vocabulary == pytest.approx(46.7e9, rel=0.001)
    one, all_of_them = (mixtral.weights([1], [0], tokens)[0] for tokens in (1, 4))
    assert all_of_them - one == pytest.approx(mixtral.experts * 0.75)
    assert mixtral.weights([1], [0], 400)[0] == all_of_them


def test_deepseek_keeps_one_small_vector_a_token() -> None:
    """DeepSeek-V3: 671e9 weights, 37e9 of them for a token, 576 numbers a layer and token (arXiv 2412.19437)."""
    deepseek = cost(
        num_hidden_layers=61,
        hidden_size=7168,
        num_attention_heads=128,
        num_key_value_heads=128,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        intermediate_size=18432,
        moe_intermediate_size=2048,
        n_routed_experts=256,
        n_shared_experts=1,
        num_experts_per_tok=8,
        first_k_dense_replace=3,
        vocab_size=129280,
    )
    vocabulary = 129280 * 7168
    assert deepseek.token / 2 + 2 * vocabulary == pytest.approx(37.5e9, rel=0.01)
    assert (deepseek.step + deepseek.experts) / 400 + vocabulary == pytest.approx(671e9, rel=0.005)
    assert deepseek.context == 200 * 2 * 61 * 576


def test_a_window_bounds_what_a_token_attends_to() -> None:
    kinds = ["sliding_attention", "full_attention"] * 16
    both = cost(**LLAMA_8B, layer_types=kinds, sliding_window=1000)
    everything = cost(**LLAMA_8B)
    assert both.weights([1], [500], 1) == pytest.approx(everything.weights([1], [500], 1))
    near, far = (both.weights([1], [before], 1)[0] for before in (2000, 4000))
    assert far - near == pytest.approx(2000 * (everything.pair + everything.context) / 2)


def test_layers_that_are_no_attention_have_no_context() -> None:
    hybrid = cost(**LLAMA_8B, layer_types=["linear_attention"] * 24 + ["full_attention"] * 8)
    assert hybrid.pair == cost(**LLAMA_8B).pair / 4


def test_what_all_read_is_shared_by_all() -> None:
    llama = cost(**LLAMA_8B)
    alone, (first, second) = llama.weights([1], [0], 1)[0], llama.weights([1, 1], [0, 0], 2)
    assert first == second
    assert alone - first == pytest.approx(llama.step / 2)


def test_a_quantised_weight_is_smaller_where_its_name_says_so() -> None:
    assert (weight_bytes("fp8", 2.0), weight_bytes("awq", 2.0)) == (1.0, 0.5)
    assert (weight_bytes("of_tomorrow", 2.0), weight_bytes(None, 4.0)) == (2.0, 4.0)


@pytest.mark.parametrize("missing", ["num_hidden_layers", "hidden_size", "num_attention_heads"])
def test_a_model_of_unknown_size_has_no_cost(missing: str) -> None:
    sizes = SimpleNamespace(**{name: size for name, size in LLAMA_8B.items() if name != missing})
    assert of_model(sizes, balance=200.0, weight_bytes=2.0, cache_bytes=2.0) is None


def test_where_nothing_is_known_tokens_count_as_in_a_model_of_any_size() -> None:
    """For short contexts, where attention is nothing: a batch of one prompt and one answer splits alike."""
    shares = []
    for known in (cost(**{**LLAMA_8B, "vocab_size": 0}), by_tokens(balance=200.0)):
        reading, writing = known.weights([512, 1], [0, 10], 513)
        shares.append(reading / (reading + writing))
    assert shares[0] == pytest.approx(shares[1], rel=0.01)


@given(
    requests=st.lists(st.tuples(st.integers(1, 8192), st.integers(0, 100_000)), min_size=1, max_size=20),
    windowed=st.booleans(),
)
def test_weights_are_positive_and_more_tokens_never_weigh_less(
    requests: list[tuple[int, int]], windowed: bool
) -> None:
    more = {"sliding_window": 4096} if windowed else {}
    llama = cost(**LLAMA_8B, **more)
    scheduled, before = [q for q, _ in requests], [c for _, c in requests]
    weights = llama.weights(scheduled, before, sum(scheduled))
    assert all(weight > 0 for weight in weights)
    longer = llama.weights([q + 1 for q in scheduled], before, sum(scheduled) + len(scheduled))
    further = llama.weights(scheduled, [c + 1 for c in before], sum(scheduled))
    assert all(one > other for one, other in zip(longer, weights, strict=True))
    assert all(one >= other for one, other in zip(further, weights, strict=True))
