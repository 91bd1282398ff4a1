"""Texts into vectors. `BATON_EMBEDDER` names what is used; the default reads static word vectors out of a wheel."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import httpx2
import numpy as np
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

Vectors = np.ndarray[Any, np.dtype[np.float32]]  # a row a text


class EmbedderFailed(Exception):
    """One plain sentence: why there are no vectors now."""


class Embedder(Protocol):
    """`name` tells its vectors from every other's: a fit made with one name is used with that name alone."""

    name: str
    # Beside it, `is_local = True` where it works in this process alone: then it may be asked with a transaction open.

    def embed(self, texts: Sequence[str]) -> Vectors:
        """A row a text, all of one width, of no particular length; zeros for a text it can say nothing of.

        Raises EmbedderFailed. Called from any thread, with no transaction open.
        """
        ...


@cache
def configured() -> Embedder:
    """The installation's embedder, made once in each process. Raises ImproperlyConfigured."""
    path = settings.BATON_EMBEDDER
    try:
        return import_string(path)()
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(
            f"BATON_EMBEDDER is {path!r}, which cannot be made: {error}. Name a class that is called without "
            "arguments, such as agents.routing.embedders.WordVectors."
        ) from error


def is_local(embedder: Embedder) -> bool:
    """Whether it works in this process alone. One that does not say so may ask a server."""
    return getattr(embedder, "is_local", False)


def unit(vectors: Vectors) -> Vectors:
    """Every row at length one; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)


class WordVectors:
    """The mean of a text's word vectors, from the files of the `wordllama` wheel. Its code is not imported.

    The table lies in the page cache, shared by every process that maps it; the vocabulary takes 16 MB in each.
    """

    name = "wordllama/l2_supercat_256"
    is_local = True

    def embed(self, texts: Sequence[str]) -> Vectors:
        encoded = self._vocabulary.encode_batch([text.lower() for text in texts], add_special_tokens=False)
        rows = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for row, text in zip(rows, encoded, strict=True):
            if text.ids:
                row[:] = self._table[text.ids].mean(axis=0, dtype=np.float32)
        return rows

    @cached_property
    def _vocabulary(self) -> Any:
        from tokenizers import Tokenizer

        vocabulary = Tokenizer.from_file(str(_wheel() / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        vocabulary.no_padding()
        vocabulary.no_truncation()
        return vocabulary

    @cached_property
    def _table(self) -> Any:
        """Of the safetensors file: eight bytes of length, a JSON header, then the one tensor."""
        path = _wheel() / "weights" / "l2_supercat_256.safetensors"
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            tensor = json.loads(file.read(length))["embedding.weight"]
        begins = 8 + length + tensor["data_offsets"][0]
        return np.memmap(path, np.float16, "r", begins, tuple(tensor["shape"]))


def _wheel() -> Path:
    """Where the wheel lies, found without running any of it: imported, it would offer to download models."""
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise EmbedderFailed("The wheel `wordllama` is not installed: pip install -r requirements.txt.")
    return Path(found.submodule_search_locations[0])


class SentenceTransformersEmbedder:
    """A sentence encoder in this process: `pip install sentence-transformers`, and `BATON_EMBEDDER_MODEL` its model."""

    is_local = True

    def __init__(self) -> None:
        self._model_name = settings.BATON_EMBEDDER_MODEL or "sentence-transformers/all-MiniLM-L6-v2"
        self.name = f"sentence-transformers/{self._model_name}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        try:
            return np.asarray(self._model.encode(list(texts)), np.float32)
        except Exception as error:  # loading and encoding raise what torch, the hub or the disk raise
            raise EmbedderFailed(f"{self.name} gave no vectors: {error}") from error

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(self._model_name)


class HttpEmbedder:
    """A provider: `POST <BATON_EMBEDDER_URL>` with {model, input}, as OpenAI, Voyage and most local servers take it.

    `BATON_EMBEDDER_CREDENTIAL` is "env:NAME", the variable that holds the key; empty: none is sent.
    """

    def __init__(self) -> None:
        url, model = settings.BATON_EMBEDDER_URL, settings.BATON_EMBEDDER_MODEL
        if not url or not model:
            raise ImproperlyConfigured("HttpEmbedder needs BATON_EMBEDDER_URL and BATON_EMBEDDER_MODEL.")
        self._url, self._model = url, model
        self.name = f"{self._url}#{self._model}"
        self._client = httpx2.Client(timeout=settings.BATON_EMBEDDER_SECONDS)

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.vstack([self._asked(batch) for batch in _batches(texts)])

    def _asked(self, texts: Sequence[str]) -> Vectors:
        try:
            reply = self._client.post(self._url, json={"model": self._model, "input": list(texts)}, headers=_key())
            reply.raise_for_status()
            rows = sorted(reply.json()["data"], key=lambda row: row["index"])
            vectors = np.asarray([row["embedding"] for row in rows], np.float32)
        except httpx2.HTTPStatusError as error:
            raise EmbedderFailed(f"{self._url} answered {error.response.status_code}.") from error
        except httpx2.HTTPError as error:
            raise EmbedderFailed(f"{self._url} did not answer: {type(error).__name__}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderFailed(f"{self._url} answered something else than embeddings.") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise EmbedderFailed(f"{self._url} did not answer with one vector for each of {len(texts)} texts.")
        return vectors


# What one request may carry: half of what the strictest provider takes.
BATCH = 64


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))


def _key() -> dict[str, str]:
    name = settings.BATON_EMBEDDER_CREDENTIAL.removeprefix("env:")
    if not name:
        return {}
    if not (key := os.environ.get(name)):
        raise EmbedderFailed(f"The environment variable {name}, which holds the embedder's key, is not set.")
    return {"Authorization": f"Bearer {key}"}
