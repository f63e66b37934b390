"""Where something is begun that costs money, and whose cost no answer tells: jobs, videos, storage, agents.

A table: whoever adds an endpoint adds a line. What is not here, and has no dialect, is free, or it
belongs to a provider that nobody has told Farebox of.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from proxy.gateway.dialects.errors import (
    anthropic_error,
    aws_error,
    cohere_error,
    google_error,
    openai_error,
)
from proxy.gateway.dialects.outside import Outside
from proxy.gateway.dialects.route import Route
from proxy.gateway.dialects.told import Told


class Begun(NamedTuple):
    """What is begun at some paths."""

    endpoint: str  # the bounded label
    why: str  # as a refusal names it
    paths: tuple[str, ...]
    only_with: str = ""  # it costs something only where the body has this member
    method: str = "POST"
    told: bool = False  # the answer may say what it used, as those of chats do


_ASYNC: Final = "a job that goes on when the call is over"
_STORED: Final = "storage, which is billed by the hour or the day"
_AGENT: Final = "an agent, whose steps nobody counts here"
_NOT_READ: Final = "an endpoint whose usage is not read"
_VIDEO: Final = "a video, which is made and billed later"

# OpenAI's, and those that its compatible providers have beside them, below /v1.
_OPENAI: Final = (
    Begun("fine_tuning", "a fine-tuning job, which is billed when it is over", (
        "/fine_tuning/jobs", "/fine_tuning/jobs/{job}/resume", "/fine_tuning/jobs/{job}/start",
        "/fine_tuning/alpha/graders/run", "/fine-tunes", "/fine_tunings",
    )),
    Begun("videos", _VIDEO, (
        "/videos", "/videos/{video}/remix", "/videos/edits", "/videos/extensions",
        "/videos/characters", "/videos/generations", "/video/generations",
        "/video/generations/jobs", "/video/submit", "/video_generation",
        "/contents/generations/tasks",
    )),
    Begun("containers", "a container, which is billed by its time", ("/containers",)),
    Begun("vector_stores", _STORED, (
        "/vector_stores", "/vector_stores/{store}/files", "/vector_stores/{store}/file_batches",
    )),
    Begun("threads", _AGENT, (
        "/threads/runs", "/threads/{thread}/runs", "/threads/{thread}/runs/{run}/submit_tool_outputs",
    )),
    Begun("evals", _ASYNC, ("/evals/{eval}/runs", "/evaluation")),
    Begun("agents", _AGENT, (
        "/chatkit/sessions", "/conversations/{conversation}/restart", "/agent",
    )),
    Begun("agents", "an agent, which the provider keeps", (
        "/agents/completions", "/context/chat/completions",
    ), told=True),
    Begun("embeddings", "pictures or documents that become vectors", (
        "/contextualizedembeddings", "/multimodalembeddings", "/embeddings/multimodal",
    ), told=True),
    Begun("classifications", "an answer that may say what it used", (
        "/classifications", "/chat/classifications", "/chat/moderations",
    ), told=True),
    # Mistral's run an agent; OpenAI's, at the same paths, only keep what was said.
    Begun("conversations", _AGENT, (
        "/conversations", "/conversations/{conversation}",
    ), only_with="inputs"),
    Begun("async", _ASYNC, (
        "/async/chat/completions", "/async/sonar", "/async/images/generations",
        "/images/generations:submit", "/t2a_async_v2",
    )),
    Begun("unread", _NOT_READ, (
        "/search", "/sonar", "/documents/search", "/tts", "/stt",
        "/web_search", "/reader", "/layout_parsing", "/tci/execute", "/endpoints",
        "/bots/chat/completions", "/context/create",
        "/text/chatcompletion_v2", "/t2a_v2", "/image_generation", "/music_generation",
        "/voice_clone", "/voice_design",
        "/workflows/accounts/{account}/models/{name}/{verb}",
        "/image_generation/accounts/{account}/models/{name}",
    )),
)  # fmt: skip

_ANTHROPIC: Final = (
    Begun("complete", _NOT_READ, ("/v1/complete",)),
    Begun("agents", _AGENT, ("/v1/sessions", "/v1/sessions/{session}/events")),
)

_COHERE: Final = (
    Begun("unread", _NOT_READ, (
        "/v1/classify", "/v1/summarize", "/v2/classify", "/v2/audio/transcriptions", "/v2/parse",
    )),
    Begun("fine_tuning", _ASYNC, ("/v1/finetuning/finetuned-models",)),
    Begun("batches", _ASYNC, ("/v2/batches", "/v2/embed-jobs")),
)  # fmt: skip

_BEDROCK: Final = (
    Begun("async_invoke", _ASYNC, ("/async-invoke",)),
    Begun("batches", _ASYNC, ("/model-invocation-job",)),
    Begun("guardrails", "a guardrail, which is billed by its units of text", (
        "/guardrail/{guardrail}/version/{version}/apply",
    )),
    Begun("invoke", "a stream both ways", ("/model/{model}/invoke-with-bidirectional-stream",)),
)  # fmt: skip

_STUDIO_MODEL: Final = ("models/{model}", "tunedModels/{model}", "dynamic/{model}")
_STUDIO: Final = (
    Begun("batches", _ASYNC, tuple(
        f"{model}:{action}" for model in _STUDIO_MODEL
        for action in ("batchGenerateContent", "asyncBatchEmbedContent")
    )),
    Begun("videos", _VIDEO, tuple(f"{model}:predictLongRunning" for model in _STUDIO_MODEL)),
    Begun("unread", _NOT_READ, tuple(
        f"{model}:{action}" for model in _STUDIO_MODEL
        for action in ("generateAnswer", "generateText", "generateMessage", "embedText",
                       "batchEmbedText")
    )),
    Begun("cached_contents", _STORED, ("cachedContents",)),
    Begun("cached_contents", _STORED, ("cachedContents/{cache}",), method="PATCH"),
    Begun("file_search_stores", _ASYNC, ("fileSearchStores/{store}:importFile",)),
)  # fmt: skip
_UPLOADS: Final = (
    Begun("file_search_stores", _ASYNC, ("fileSearchStores/{store}:uploadToFileSearchStore",)),
)

_PROJECT: Final = "projects/{project}/locations/{location}"
_VERTEX_MODEL: Final = (
    f"{_PROJECT}/publishers/{{publisher}}/models/{{model}}",
    "publishers/{publisher}/models/{model}",
)
_VERTEX: Final = (
    Begun("batches", _ASYNC, (f"{_PROJECT}/batchPredictionJobs",)),
    Begun("fine_tuning", _ASYNC, tuple(
        f"{_PROJECT}/{jobs}" for jobs in (
            "tuningJobs", "customJobs", "hyperparameterTuningJobs", "nasJobs", "pipelineJobs",
            "trainingPipelines",
        )
    )),
    Begun("videos", _VIDEO, tuple(f"{model}:predictLongRunning" for model in _VERTEX_MODEL)),
    Begun("unread", _NOT_READ, (
        *(f"{model}:{action}" for model in _VERTEX_MODEL for action in (
            "predict", "rawPredict", "streamRawPredict", "serverStreamingPredict",
            "directPredict", "directRawPredict",
        )),
        *(f"{_PROJECT}:{action}" for action in (
            "evaluateInstances", "evaluateDataset", "augmentPrompt", "corroborateContent",
            "retrieveContexts", "askContexts",
        )),
    )),
    Begun("agents", _AGENT, tuple(
        f"{_PROJECT}/reasoningEngines{rest}"
        for rest in ("", "/{engine}:query", "/{engine}:streamQuery")
    )),
    Begun("cached_contents", _STORED, (f"{_PROJECT}/cachedContents",)),
    Begun("cached_contents", _STORED, (f"{_PROJECT}/cachedContents/{{cache}}",), method="PATCH"),
    Begun("endpoints", "a machine, which is billed by the hour", (
        f"{_PROJECT}/endpoints/{{endpoint}}:deployModel", f"{_PROJECT}:deploy",
    )),
    Begun("rag", _ASYNC, (f"{_PROJECT}/ragCorpora/{{corpus}}/ragFiles:import",)),
)  # fmt: skip


def _google(family: str, versions: tuple[str, ...], table: tuple[Begun, ...]) -> Iterator[Route]:
    for begun in table:
        dialect = Outside(f"{family}_outside", begun.why, family, google_error)
        for version in versions:
            for path in begun.paths:
                yield Route(begun.method, f"/{version}/{path}", dialect, begun.endpoint, holds="")


def _openai() -> Iterator[Route]:
    for begun in _OPENAI:
        kind = Told if begun.told else Outside
        dialect = kind("openai_outside", begun.why, only_with=begun.only_with)
        for path in begun.paths:
            yield Route("POST", f"/v1{path}", dialect, begun.endpoint)
            for azure in ("/openai/v1", "/openai"):
                yield Route("POST", azure + path, dialect, begun.endpoint, holds="")
    extensions = Outside("openai_outside", _NOT_READ, error_body=openai_error)
    path = "/openai/deployments/{model}/extensions/chat/completions"
    yield Route("POST", path, extensions, "unread", holds="")


def _others() -> Iterator[Route]:
    for family, error, holds, table in (
        ("anthropic", anthropic_error, "/v1", _ANTHROPIC),
        ("cohere", cohere_error, "", _COHERE),
        ("bedrock", aws_error, "", _BEDROCK),
    ):
        for begun in table:
            dialect = Outside(f"{family}_outside", begun.why, family, error)
            for path in begun.paths:
                yield Route("POST", path, dialect, begun.endpoint, holds=holds)


_STUDIO_VERSIONS: Final = ("v1beta", "v1", "v1alpha")
ROUTES: Final = (
    *_openai(),
    *_others(),
    *_google("gemini", _STUDIO_VERSIONS, _STUDIO),
    *_google("gemini", tuple(f"upload/{v}" for v in _STUDIO_VERSIONS), _UPLOADS),
    *_google("vertex", ("v1", "v1beta1"), _VERTEX),
)
