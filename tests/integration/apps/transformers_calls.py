"""Runs models of transformers in all ways that are counted, and tells what it counted itself, in plain Python.

Runs in the engines' virtual environment: `python transformers_calls.py MODEL`. Each line that it prints is a way, by
the feature that it is tagged with: what is right for each of its calls, what came out, and how long it took.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import torch  # type: ignore[import-not-found, unused-ignore]
from transformers import (  # type: ignore[import-not-found, unused-ignore]
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    ContinuousBatchingConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    TextIteratorStreamer,
    pipeline,
)

import pennytrace

PROMPTS: Final = (
    "A penny saved",
    "Summarise the order, translate the answer, and search the shelves",
    "The quick brown fox jumps over the lazy dog",
)
NEW: Final = 10
PAD: Final = 3
SMALL: Final = ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=64)
"""A cache that is quickly made."""
NEVER: Final = 511  # a token that these models do not come to
Counts = list[tuple[int | None, int | None]]
"""Tokens in and out, of each call."""
Way = Callable[["Shelf"], tuple[Counts, Any]]


class Shelf:
    """The models, and a tokenizer for all of them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.tokenizer.pad_token_id = PAD
        self.llama = AutoModelForCausalLM.from_pretrained(folder)
        self.llama.generation_config.pad_token_id = PAD
        torch.manual_seed(11)
        size = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 1}
        self.helper = LlamaForCausalLM(LlamaConfig(vocab_size=512, **size)).eval()
        self.t5 = T5ForConditionalGeneration(
            T5Config(
                vocab_size=512,
                d_model=32,
                d_ff=64,
                d_kv=16,
                num_layers=1,
                num_heads=2,
                decoder_start_token_id=0,
                pad_token_id=PAD,
            )
        ).eval()
        self.bert = BertConfig(vocab_size=512, max_position_embeddings=128, **size)
        self.heads = {kind: kind(self.bert).eval() for kind in (BertModel, BertForSequenceClassification)}
        self.filler = BertForMaskedLM(self.bert).eval()
        # Ids that greedy decoding does come to, so that rows end at different places.
        batch = self.batch()
        rows = self.llama.generate(**batch, max_new_tokens=NEW)[:, batch["input_ids"].shape[1] :]
        self.ends = [int(rows[0][3]), int(rows[1][6])]

    def batch(self, prompts: Sequence[str] = PROMPTS) -> Any:
        """Tokenise prompts, with padding on the left."""
        return self.tokenizer(list(prompts), return_tensors="pt", padding=True, return_token_type_ids=False)

    def lengths(self, prompts: Iterable[str] = PROMPTS) -> int:
        """Count the tokens of prompts, one by one and so without padding."""
        return sum(len(self.tokenizer(prompt)["input_ids"]) for prompt in prompts)


def until(ends: Iterable[int], row: Sequence[int]) -> int:
    """Count a row up to the first of the tokens that end it, that one included."""
    stops = set(ends)
    for place, token in enumerate(row):
        if token in stops:
            return place + 1
    return len(row)


def rows_after(rows: Any, start: int, ends: Iterable[int]) -> int:
    """Count what was written, row by row."""
    return sum(until(ends, row[start:]) for row in rows.tolist())


def plain(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch(PROMPTS[:1])
    rows = shelf.llama.generate(**batch, max_new_tokens=NEW)
    return [(shelf.lengths(PROMPTS[:1]), rows_after(rows, batch["input_ids"].shape[1], []))], rows.tolist()


def positional(shelf: Shelf) -> tuple[Counts, Any]:
    ids = shelf.batch(PROMPTS[:1])["input_ids"]
    rows = shelf.llama.generate(ids, GenerationConfig(max_new_tokens=4, pad_token_id=PAD))
    return [(ids.shape[1], rows.shape[1] - ids.shape[1])], rows.tolist()


def padded(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch()
    rows = shelf.llama.generate(**batch, max_new_tokens=NEW, eos_token_id=shelf.ends)
    return [(shelf.lengths(), rows_after(rows, batch["input_ids"].shape[1], shelf.ends))], rows.tolist()


def beams(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch()
    start = batch["input_ids"].shape[1]
    free = shelf.llama.generate(**batch, max_new_tokens=NEW, num_beams=4)
    ends = [int(free[0][start + 2]), int(free[1][start + 5])]
    rows = shelf.llama.generate(
        **batch, max_new_tokens=NEW, eos_token_id=ends, num_beams=4, num_return_sequences=2
    )
    assert len(rows) == 2 * len(PROMPTS)
    few = rows_after(rows, start, ends)
    assert few < 2 * len(PROMPTS) * NEW, "no row has ended"
    return [(shelf.lengths(), rows_after(free, start, [])), (shelf.lengths(), few)], rows.tolist()


def sampled(shelf: Shelf) -> tuple[Counts, Any]:
    torch.manual_seed(5)
    batch = shelf.batch()
    made = shelf.llama.generate(
        **batch,
        max_new_tokens=NEW,
        do_sample=True,
        num_return_sequences=3,
        eos_token_id=shelf.ends,
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert type(made).__name__ == "GenerateDecoderOnlyOutput"
    count = rows_after(made.sequences, batch["input_ids"].shape[1], shelf.ends)
    return [(shelf.lengths(), count)], made.sequences.tolist()


def embedded(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch()
    vectors = shelf.llama.get_input_embeddings()(batch["input_ids"])
    rows = shelf.llama.generate(
        inputs_embeds=vectors,
        attention_mask=batch["attention_mask"],
        max_new_tokens=NEW,
        eos_token_id=shelf.ends,
    )
    return [(shelf.lengths(), rows_after(rows, 0, shelf.ends))], rows.tolist()


def assisted(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch(PROMPTS[1:2])
    rows = shelf.llama.generate(**batch, max_new_tokens=NEW, assistant_model=shelf.helper)
    return [(shelf.lengths(PROMPTS[1:2]), rows.shape[1] - batch["input_ids"].shape[1])], rows.tolist()


def looked_up(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch(PROMPTS[1:2])
    rows = shelf.llama.generate(**batch, max_new_tokens=NEW, prompt_lookup_num_tokens=2)
    return [(shelf.lengths(PROMPTS[1:2]), rows.shape[1] - batch["input_ids"].shape[1])], rows.tolist()


def own_loop(shelf: Shelf) -> tuple[Counts, Any]:
    def loop(model: Any, input_ids: Any, **more: Any) -> Any:
        for _ in range(3):
            choice = model(input_ids).logits[:, -1].argmax(-1)
            input_ids = torch.cat([input_ids, choice[:, None]], -1)
        return input_ids

    batch = shelf.batch(PROMPTS[:1])
    rows = shelf.llama.generate(**batch, max_new_tokens=NEW, custom_generate=loop)
    return [(shelf.lengths(PROMPTS[:1]), 3)], rows.tolist()


def stopped(shelf: Shelf) -> tuple[Counts, Any]:
    """Rows that a criterion of the app's own ends, which leaves padding behind them."""
    batch = shelf.batch()
    start = batch["input_ids"].shape[1]

    def at_its_place(ids: Any, scores: Any, **_: Any) -> Any:
        return torch.tensor([ids.shape[1] - start >= 2 + 3 * row for row in range(len(ids))])

    rows = shelf.llama.generate(
        **batch, max_new_tokens=NEW, eos_token_id=NEVER, stopping_criteria=[at_its_place]
    )
    assert rows[0].tolist()[start + 2 :] == [PAD] * 6
    return [(shelf.lengths(), 2 + 5 + 8)], rows.tolist()


def encoder_decoder(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch()
    free = shelf.t5.generate(**batch, max_new_tokens=NEW, num_beams=1)
    ends = [int(free[1][4])]
    rows = shelf.t5.generate(**batch, max_new_tokens=NEW, eos_token_id=ends)
    few = rows_after(rows, 1, ends)
    assert few < len(PROMPTS) * NEW, "no row has ended"
    best = shelf.t5.generate(**batch, max_new_tokens=NEW, num_beams=3, num_return_sequences=3)
    each = (rows_after(free, 1, []), few, rows_after(best, 1, []))
    return [(shelf.lengths(), count) for count in each], [free.tolist(), rows.tolist(), best.tolist()]


def streamed(shelf: Shelf) -> tuple[Counts, Any]:
    batch = shelf.batch(PROMPTS[:1])
    streamer = TextIteratorStreamer(shelf.tokenizer, skip_prompt=True)
    thread = threading.Thread(
        target=shelf.llama.generate, kwargs={**batch, "max_new_tokens": NEW, "streamer": streamer}
    )
    thread.start()
    assert type(streamer) is TextIteratorStreamer
    text = "".join(streamer)
    thread.join()
    assert "put" not in vars(streamer)
    return [(shelf.lengths(PROMPTS[:1]), NEW)], text


def refused(shelf: Shelf) -> tuple[Counts, Any]:
    class OutOfPennies(Exception):
        pass

    def stop(ids: Any, scores: Any, **_: Any) -> Any:
        raise error

    error, seen = OutOfPennies("none"), None
    try:
        shelf.llama.generate(**shelf.batch(PROMPTS[:1]), max_new_tokens=NEW, stopping_criteria=[stop])
    except OutOfPennies as raised:
        seen = raised
    assert seen is error
    return [(shelf.lengths(PROMPTS[:1]), None)], type(seen).__name__


def text_pipeline(shelf: Shelf) -> tuple[Counts, Any]:
    writes = pipeline("text-generation", model=shelf.llama, tokenizer=shelf.tokenizer)
    config = {"max_new_tokens": 5, "return_full_text": False}
    one = writes(PROMPTS[0], **config)
    many = writes(list(PROMPTS), batch_size=2, **config)
    taken: list[str] = []

    def lazily() -> Iterator[str]:
        for prompt in PROMPTS:
            taken.append(prompt)
            yield prompt

    stream = writes(lazily(), **config)
    assert len(taken) == 1, "the library itself looks at the first one, and nobody at more"
    first = next(iter(stream))
    counts: Counts = [
        (shelf.lengths(PROMPTS[:1]), 5),
        (shelf.lengths(PROMPTS[:2]), 10),
        (shelf.lengths(PROMPTS[2:]), 5),
        (shelf.lengths(PROMPTS[:1]), 5),
    ]
    return counts, [one, many, first]


def chat_pipeline(shelf: Shelf) -> tuple[Counts, Any]:
    writes = pipeline("text-generation", model=shelf.llama, tokenizer=shelf.tokenizer)
    messages = [{"role": "user", "content": PROMPTS[0]}]
    said = writes(messages, max_new_tokens=5)
    text = shelf.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return [(len(shelf.tokenizer(text, add_special_tokens=False)["input_ids"]), 5)], said


def embeddings_pipeline(shelf: Shelf) -> tuple[Counts, Any]:
    embeds = pipeline("feature-extraction", model=shelf.heads[BertModel], tokenizer=shelf.tokenizer)
    vectors = embeds(list(PROMPTS), batch_size=3)
    return [(shelf.lengths(), None)], [len(vector[0]) for vector in vectors]


def class_pipeline(shelf: Shelf) -> tuple[Counts, Any]:
    sorts = pipeline(
        "text-classification", model=shelf.heads[BertForSequenceClassification], tokenizer=shelf.tokenizer
    )
    return [(shelf.lengths([prompt]), None) for prompt in PROMPTS], sorts(list(PROMPTS))


def failing_pipeline(shelf: Shelf) -> tuple[Counts, Any]:
    embeds = pipeline("feature-extraction", model=shelf.heads[BertModel], tokenizer=shelf.tokenizer)
    long = "penny " * 300
    try:
        embeds(long)
    except (IndexError, RuntimeError) as error:
        return [(shelf.lengths([long]), None)], type(error).__name__
    raise AssertionError("it did not raise")


def one_by_one(shelf: Shelf) -> list[list[int]]:
    return [shelf.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]


def batched(shelf: Shelf) -> tuple[Counts, Any]:
    config = GenerationConfig(max_new_tokens=NEW, eos_token_id=shelf.ends, do_sample=False, pad_token_id=PAD)
    made = shelf.llama.generate_batch(
        one_by_one(shelf), generation_config=config, continuous_batching_config=SMALL
    )
    counts: Counts = [(len(one.prompt_ids), until(shelf.ends, one.generated_tokens)) for one in made.values()]
    return counts, [one.generated_tokens for one in made.values()]


def siblings(shelf: Shelf) -> tuple[Counts, Any]:
    config = GenerationConfig(
        max_new_tokens=6, do_sample=True, pad_token_id=PAD, num_return_sequences=2, eos_token_id=-1
    )
    made = shelf.llama.generate_batch(
        one_by_one(shelf), generation_config=config, continuous_batching_config=SMALL
    )
    assert len(made) == 6
    return [(len(ids), 12) for ids in one_by_one(shelf)], [len(one.generated_tokens) for one in made.values()]


def paged(shelf: Shelf) -> tuple[Counts, Any]:
    ids = torch.tensor([one_by_one(shelf)[0]])
    rows = shelf.llama.generate(
        ids,
        cache_implementation="paged",
        max_new_tokens=4,
        do_sample=False,
        continuous_batching_config=SMALL,
    )
    return [(ids.shape[1], 4)], rows.tolist()


def shared_manager(shelf: Shelf) -> tuple[Counts, Any]:
    """Requests of two features in the same steps; one is cancelled."""
    config = GenerationConfig(max_new_tokens=200, do_sample=False, pad_token_id=PAD, eos_token_id=-1)
    manager = shelf.llama.init_continuous_batching(generation_config=config, continuous_batching_config=SMALL)
    manager.start()
    done = {}
    ids = one_by_one(shelf)
    with pennytrace.tag(feature="shared: short"):
        short = manager.add_request(ids[0], max_new_tokens=20)
    with pennytrace.tag(feature="shared: long"):
        long = manager.add_request(ids[0], max_new_tokens=60, streaming=True)
    with pennytrace.tag(feature="shared: cancelled"):
        lost = manager.add_request(ids[1], request_id="lost", max_new_tokens=200)
    while long not in done or short not in done:
        result = manager.get_result(timeout=60)
        assert result is not None
        if result.request_id == long and lost is not None:
            manager.cancel_request(lost)
            lost = None
        if result.is_finished():
            done[result.request_id] = result.generated_tokens
    manager.stop(block=True)
    assert (len(done[short]), len(done[long])) == (20, 60)
    return [], [done[short], done[long]]


def at_once(shelf: Shelf) -> tuple[Counts, Any]:
    """Two threads, each with calls of its own, on the same device."""
    batch = shelf.batch(PROMPTS[:1])
    with ThreadPoolExecutor(2) as threads:
        made = [threads.submit(shelf.llama.generate, **batch, max_new_tokens=NEW) for _ in range(6)]
        rows = [one.result().tolist() for one in made]
    return [(shelf.lengths(PROMPTS[:1]), NEW)] * 6, rows


WAYS: Final[dict[str, Way]] = {
    way.__name__: way
    for way in (
        plain,
        positional,
        padded,
        beams,
        sampled,
        embedded,
        assisted,
        looked_up,
        own_loop,
        stopped,
        encoder_decoder,
        streamed,
        refused,
        text_pipeline,
        chat_pipeline,
        embeddings_pipeline,
        class_pipeline,
        failing_pipeline,
        batched,
        siblings,
        paged,
        shared_manager,
        at_once,
    )
}


def main(folder: Path, ways: Sequence[str]) -> None:
    """Go all ways, or those that are named."""
    torch.set_num_threads(1)
    with pennytrace.tag(feature="preparing"):
        shelf = Shelf(folder)
    for name in ways or WAYS:
        began = time.perf_counter()
        with pennytrace.tag(feature=name, team="shelf"):
            counts, made = WAYS[name](shelf)
        seconds = time.perf_counter() - began
        line = {"feature": name, "counts": counts, "made": made, "seconds": seconds}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    pennytrace.init(service="shelf", gpu_pool="desk")
    main(Path(sys.argv[1]), sys.argv[2:])
    assert pennytrace.flush(30)
