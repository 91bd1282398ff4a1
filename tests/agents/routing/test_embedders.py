import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from agents.routing import embedders
from agents.routing.embedders import EmbedderFailed, HttpEmbedder, SentenceTransformersEmbedder, WordVectors, unit
from orchestrator_site.checks import the_embedder_can_be_made


def likeness(one: str, other: str) -> float:
    left, right = unit(WordVectors().embed([one, other]))
    return float(left @ right)


def test_words_that_mean_the_like_lie_close():
    assert likeness("send my money back", "I want a refund") > likeness("send my money back", "the weather in Oslo")


def test_a_text_without_words_is_a_row_of_zeros():
    rows = WordVectors().embed(["", "order"])

    assert not rows[0].any()
    assert rows[1].any()


def test_the_wheel_is_read_and_none_of_its_code_is_run():
    """In a process of its own that refuses every connection: imported, the package would be able to download."""
    program = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise AssertionError('it wanted a connection')\n"
        "socket.socket.connect = refuse\n"
        "from agents.routing.embedders import WordVectors\n"
        "assert WordVectors().embed(['where is my order']).any()\n"
        "found = {'wordllama', 'huggingface_hub', 'torch', 'requests'} & {name.split('.')[0] for name in sys.modules}\n"
        "assert not found, found\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_setting_chooses_the_embedder(settings):
    settings.BATON_EMBEDDER = "agents.routing.embedders.SentenceTransformersEmbedder"
    embedders.configured.cache_clear()

    try:
        assert embedders.configured().name.startswith("sentence-transformers/")
    finally:
        embedders.configured.cache_clear()


@pytest.mark.parametrize("path", ["nowhere.Nothing", "agents.routing.embedders.unit"])
def test_a_wrong_setting_is_named(settings, path):
    settings.BATON_EMBEDDER = path
    embedders.configured.cache_clear()

    with pytest.raises(ImproperlyConfigured, match="BATON_EMBEDDER"):
        embedders.configured()
    assert [error.id for error in the_embedder_can_be_made()] == ["orchestrator_site.E004"]


def test_an_encoder_that_is_not_installed_is_a_sentence(settings):
    settings.BATON_EMBEDDER_MODEL = "some/model"

    with pytest.raises(EmbedderFailed, match="some/model gave no vectors"):
        SentenceTransformersEmbedder().embed(["text"])


# A provider


class Provider(BaseHTTPRequestHandler):
    """Answers each text with its length, last text first, as `index` allows; `answer` overrides it."""

    seen: list[tuple[str | None, dict]] = []
    answer: tuple[int, bytes] | None = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen.append((self.headers["Authorization"], body))
        rows = [{"index": place, "embedding": [len(text), 1.0]} for place, text in enumerate(body["input"])]
        status, told = self.answer or (200, json.dumps({"data": rows[::-1]}).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *args):
        pass


@pytest.fixture
def provider(settings, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Provider.seen, Provider.answer = [], None
    settings.BATON_EMBEDDER_URL = f"http://127.0.0.1:{server.server_address[1]}/v1/embeddings"
    settings.BATON_EMBEDDER_MODEL = "vectors-1"
    settings.BATON_EMBEDDER_CREDENTIAL = "env:VECTORS_KEY"
    monkeypatch.setenv("VECTORS_KEY", "hush")
    yield Provider
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_provider_is_asked_in_batches_and_its_answers_keep_their_texts(provider):
    texts = ["x" * length for length in range(1, embedders.BATCH + 4)]

    rows = HttpEmbedder().embed(texts)

    assert rows[:, 0].tolist() == [len(text) for text in texts]
    assert [len(body["input"]) for _, body in provider.seen] == [embedders.BATCH, 3]
    assert {(key, body["model"]) for key, body in provider.seen} == {("Bearer hush", "vectors-1")}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((500, b""), "answered 500"),
        ((200, b"<html>"), "something else than embeddings"),
        ((200, b'{"data": [{"index": 0}]}'), "something else than embeddings"),
        ((200, b'{"data": []}'), "one vector for each"),
    ],
)
def test_a_provider_in_trouble_is_a_sentence(provider, answer, sentence):
    provider.answer = answer

    with pytest.raises(EmbedderFailed, match=sentence):
        HttpEmbedder().embed(["text"])


def test_a_key_that_is_not_there_is_named(provider, monkeypatch):
    monkeypatch.delenv("VECTORS_KEY")

    with pytest.raises(EmbedderFailed, match="VECTORS_KEY"):
        HttpEmbedder().embed(["text"])
    assert not provider.seen


def test_a_provider_that_is_away_is_a_sentence(settings):
    settings.BATON_EMBEDDER_URL, settings.BATON_EMBEDDER_MODEL = "http://127.0.0.1:9/v1", "vectors-1"

    with pytest.raises(EmbedderFailed, match="did not answer"):
        HttpEmbedder().embed(["text"])


def test_a_provider_without_an_address_is_named(settings):
    settings.BATON_EMBEDDER_URL = None

    with pytest.raises(ImproperlyConfigured, match="BATON_EMBEDDER_URL"):
        HttpEmbedder()


def test_unit_keeps_rows_of_zeros():
    assert unit(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]
