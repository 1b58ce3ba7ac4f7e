"""Hugging Face's transformers: models that run in this process. Tried with transformers 5.19 and 4.57.

Hooked are `generate`, the pass of a pipeline's batch through its model, and continuous batching, request by request.
What is generated inside of another call (assisted decoding, a pipeline, a loop of one's own) is a part of it.

- Tokens are counted in the tensors. Input: where the attention mask is 1, once for each prompt, however many sequences
  are returned; of an encoder-decoder, the encoder's. Output: of each sequence that is returned, up to the token that
  ends it, that one included, without the prompt and without padding.
- A batch of a pipeline is a call: datasets and generators stay as lazy as they are, and are recorded as they are read.
- GPU-seconds are those between two events on the device, times the devices that the model is on; nobody waits for the
  events. What works on a device at the same time shares its seconds. On a CPU they are those of the wall.
- A streamer tells when the first token was there. It keeps its type.
- Of the processes of one model (tensor parallelism) the first one records, with the GPUs of all.

Not covered: a model that is called directly, without `generate` or a pipeline; models with a `generate` of their own
that generates without the library's (sound and time series). Tokens of images and sounds are counted where the
library makes tokens of them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

from pennytrace._calls.provider import NOTHING, Body, Fields, Hook, Operation, Provider, Usage
from pennytrace.providers._transformers import batches, generation, pipelines

_MIXIN: Final = "transformers.generation.utils"
_PIPELINES: Final = "transformers.pipelines.base"
_BATCHES: Final = "transformers.generation.continuous_batching.continuous_api"


def _counted(answer: Fields, body: Body) -> Usage:
    """Return nothing: what was used is counted in tensors, and not read from an answer."""
    return NOTHING


class Models:
    """The shape of a library that answers calls itself."""

    def hooks(self, provider: Provider) -> Sequence[Hook]:
        """Return what runs models, and what tells of it."""
        bound = functools.partial
        return [
            Hook(_MIXIN, "GenerationMixin.generate", bound(generation.generate, provider)),
            Hook(
                _MIXIN, "GenerationMixin._prepare_generated_length", generation.prepare_length, optional=True
            ),
            Hook(_MIXIN, "GenerationMixin._prefill", generation.prefill, optional=True),
            Hook(_PIPELINES, "Pipeline.forward", bound(pipelines.forward, provider)),
            Hook(
                _BATCHES, "ContinuousBatchingManager.add_request", bound(batches.add, provider), optional=True
            ),
            Hook(_BATCHES, "ContinuousBatchingManager.cancel_request", batches.cancel, optional=True),
            Hook(_BATCHES, "ContinuousBatchProcessor.prepare_next_batch", batches.prepare, optional=True),
            Hook(_BATCHES, "ContinuousBatchProcessor._generation_step", batches.step, optional=True),
            Hook(_BATCHES, "OutputRouter.deliver", batches.deliver, optional=True),
            Hook(_BATCHES, "OutputRouter.deliver_batch", batches.deliver_batch, optional=True),
        ]


def _operation(name: str) -> Operation:
    return Operation(name=name, usage=_counted)


_WRITING: Final = _operation("text_completion")

PROVIDER = Provider(
    id="transformers",
    distribution="transformers",
    docs="https://huggingface.co/docs/transformers/main_classes/text_generation",
    shape=Models(),
    operations={
        "RUN generate": _WRITING,
        "RUN generate_batch": _WRITING,
        "RUN pipeline chat": _operation("chat"),
        "RUN pipeline text-generation": _WRITING,
        "RUN pipeline text2text-generation": _WRITING,
        "RUN pipeline summarization": _WRITING,
        "RUN pipeline translation": _WRITING,
        "RUN pipeline translation_{languages}": _WRITING,
        "RUN pipeline fill-mask": _WRITING,
        "RUN pipeline image-to-text": _WRITING,
        "RUN pipeline question-answering": _WRITING,
        "RUN pipeline table-question-answering": _WRITING,
        "RUN pipeline document-question-answering": _WRITING,
        "RUN pipeline visual-question-answering": _WRITING,
        "RUN pipeline image-text-to-text": _operation("chat"),
        "RUN pipeline any-to-any": _operation("chat"),
        "RUN pipeline automatic-speech-recognition": _operation("transcription"),
        "RUN pipeline text-to-audio": _operation("speech"),
        "RUN pipeline text-to-speech": _operation("speech"),
        "RUN pipeline feature-extraction": _operation("embeddings"),
        "RUN pipeline image-feature-extraction": _operation("embeddings"),
        "RUN pipeline {task}": _operation("classification"),
    },
    name_of_host=lambda host: "transformers",
)
