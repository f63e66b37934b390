"""What costs money and is not metered: the policy of budgets decides about it, at whatever path it is."""

import io
import re
from pathlib import Path

import pytest

from proxy.core.errors import InvalidRequest, NotFound
from proxy.core.usage import Usage
from proxy.gateway.dialects import outside_routes
from proxy.gateway.dialects.base import NOWHERE, Address, Patch, Watch
from proxy.gateway.dialects.form import Form
from proxy.gateway.dialects.outside import OUTSIDE, Outside
from proxy.gateway.dialects.told import Told
from proxy.gateway.paths import check_path, find_way
from tests.gateway.dialects.test_form import B, field

P = "/v1/projects/p/locations/l"
COSTS = {
    "openai": [
        "/v1/fine_tuning/jobs",
        "/openai/fine_tuning/jobs",
        "/openai/v1/fine_tuning/jobs/ftjob-1/resume",
        "/v1/videos",
        "/openai/v1/videos",
        "/openai/v1/video/generations/jobs",
        "/v1/videos/video_1/remix",
        "/v1/videos/generations",
        "/v1/containers",
        "/v1/vector_stores",
        "/v1/vector_stores/vs_1/file_batches",
        "/v1/threads/runs",
        "/openai/threads/thread_1/runs",
        "/v1/threads/thread_1/runs/run_1/submit_tool_outputs",
        "/v1/evals/eval_1/runs",
        "/v1/chatkit/sessions",
        "/v1/agents/completions",
        "/v1/conversations/conv_1/restart",
        "/v1/async/chat/completions",
        "/v1/contents/generations/tasks",
        "/v1/context/chat/completions",
        "/v1/multimodalembeddings",
        "/openai/deployments/gpt-4o/extensions/chat/completions",
        "/openai/images/generations:submit",
        # at a path that only the provider knows, or under a prefix too many
        "/v1/v1/chat/completions",
        "/v1/openai/chat/completions",
        "/v1/anthropic/v1/messages",
        "/v1/beta/completions",
        "/openai/openai/v1/responses",
    ],
    "anthropic": ["/v1/complete", "/v1/sessions/sess_1/events"],
    "cohere": ["/v1/classify", "/v1/summarize", "/v1/embed-jobs", "/v2/embed-jobs"],
    "bedrock": [
        "/async-invoke",
        "/model-invocation-job",
        "/guardrail/g/version/1/apply",
        "/model/amazon.nova-sonic-v1:0/invoke-with-bidirectional-stream",
    ],
    "gemini": [
        "/v1beta/models/veo-3.0-generate-001:predictLongRunning",
        "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
        "/v1/models/gemini-embedding-001:asyncBatchEmbedContent",
        "/v1beta/models/aqa:generateAnswer",
        "/v1beta/cachedContents",
        "/v1beta/fileSearchStores/s:importFile",
        "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore",
        "/v1alpha/auth_tokens",
        "/v1beta/openai/chat/completions",
        "/v1beta/dynamic/x:generateContent",
    ],
    "vertex": [
        f"{P}/batchPredictionJobs",
        f"{P}/tuningJobs",
        f"{P}/cachedContents",
        f"{P}/publishers/google/models/veo-3.0-generate-001:predictLongRunning",
        f"{P}/publishers/mistralai/models/mistral-medium-3:rawPredict",
        f"{P}/publishers/meta/models/llama:predict",
        f"{P}/reasoningEngines/1:streamQuery",
        f"{P}:evaluateInstances",
        f"{P}/endpoints/1/chat/completions",
    ],
}
FREE = [
    "/v1/files",
    "/v1/uploads",
    "/v1/assistants",
    "/v1/threads",
    "/v1/threads/thread_1/messages",
    "/v1/threads/thread_1/runs/run_1/cancel",
    "/v1/fine_tuning/jobs/ftjob-1/cancel",
    "/v1/vector_stores/vs_1/search",
    "/v1/containers/cntr_1/files",
    "/v1/chat/completions/chatcmpl-1",
    "/v1/responses/resp_1/cancel",
    "/v1/tokenize",
    "/v1beta/files",
    "/v1beta/batches/b:cancel",
    f"{P}/publishers/google/models/veo-3.0-generate-001:fetchPredictOperation",
    f"{P}/endpoints/1234:predict",  # a machine of one's own, billed by the hour
]


@pytest.mark.parametrize(
    ("family", "path"), [(family, path) for family, paths in COSTS.items() for path in paths]
)
def test_what_is_begun_there_is_decided_by_policy(family: str, path: str) -> None:
    """Whatever its body says, it can't be bounded."""
    check_path(path.encode())
    way = find_way("POST", path.encode(), {})

    assert way is not None
    assert isinstance(way.dialect, Outside)
    assert (way.metered, way.dialect.family) == (True, family)
    facts = way.dialect.inspect(b'{"inputs":"x"}', Address(path.encode(), model=way.model))
    assert (len(facts.unbounded), facts.outside, facts.makes_text) == (1, True, False)


@pytest.mark.parametrize("path", FREE)
def test_what_costs_nothing_is_passed_through(path: str) -> None:
    check_path(path.encode())
    way = find_way("POST", path.encode(), {})

    assert way is not None
    assert not way.metered


@pytest.mark.parametrize(
    ("family", "path"), [(family, path) for family, paths in COSTS.items() for path in paths]
)
def test_to_ask_how_it_goes_costs_nothing(family: str, path: str) -> None:
    check_path(path.encode(), "GET")
    way = find_way("GET", path.encode(), {})

    assert way is None or not way.metered, family


@pytest.mark.parametrize(
    "path",
    [b"/v1/videos/", b"/v1//videos", b"/v1/Videos", b"/v1/v1/chat/completions/", b"/v1/../videos"],
)
def test_no_other_spelling_leads_there(path: bytes) -> None:
    with pytest.raises(NotFound):
        check_path(path)


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/conversations/conv_1"])
def test_a_conversation_costs_something_where_an_agent_answers_in_it(path: str) -> None:
    """Mistral's has inputs. OpenAI's, at the same path, only keeps what was said."""
    way = find_way("POST", path.encode(), {})
    assert way is not None
    bodies = {b"": 0, b"{}": 0, b'{"items":[]}': 0, b'{"inputs":"Hi"}': 1, b"no json": 1}

    assert bodies == {body: len(way.dialect.inspect(body, NOWHERE).unbounded) for body in bodies}


JOB = Outside("job", "a job")


def test_the_model_is_read_and_renamed() -> None:
    """In a form too."""
    body = b'{"prompt": "x", "model": "fast"}'
    form = field("prompt", b"x") + field("model", b"fast") + b"--X-frontier--"
    sent = Form(io.BytesIO(form), len(form), B)

    assert JOB.inspect(body, NOWHERE).model == "fast"
    assert JOB.patch(body, Patch(model="sora-2")) == b'{"prompt": "x", "model": "sora-2"}'
    assert JOB.patch(b"no json", Patch(model="sora-2")) == b"no json"
    assert JOB.inspect_form(sent, NOWHERE).model == "fast"
    assert [new for _, _, new in JOB.patch_form(sent, Patch(model="sora-2"))] == [b"sora-2"]


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', b'{"Model":"a"}'])
def test_a_model_in_doubt_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        JOB.inspect(body, NOWHERE)


def test_the_answer_passes_and_says_what_was_begun() -> None:
    facts = JOB.inspect(b"{}", NOWHERE)
    scanner = JOB.scanner(
        facts, Watch(streamed=True, strip_usage=False, output_cap=None, count=len)
    )
    answer = b'{"id": "video_1", "status": "queued"}'

    assert (scanner.feed(answer), scanner.finish()) == (answer, b"")
    scan = scanner.scan
    assert (scan.upstream_call_id, scan.usage, scan.flags) == ("video_1", None, (OUTSIDE,))


TOLD = Told("agents", "an agent")


def test_what_an_answer_tells_all_the_same_is_metered() -> None:
    """Whole or in events; what it does not tell stays outside."""
    usage = b'"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}'
    end = b'{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],' + usage + b"}"
    answers = {
        b'{"id":"x","model":"m","choices":[],' + usage + b"}": "application/json",
        b"data: " + end + b"\n\ndata: [DONE]\n\n": "text/event-stream",
        b'{"id":"x","model":"m"}': "application/json",
    }
    facts = TOLD.inspect(b'{"agent_id":"ag_1","stream":true}', NOWHERE)
    found = []
    for answer, content_type in answers.items():
        streamed = TOLD.streamed(facts, content_type)
        watch = Watch(streamed=streamed, strip_usage=False, output_cap=1, count=len, paid_output=1)
        scanner = TOLD.scanner(facts, watch)
        assert scanner.feed(answer) + scanner.finish() == answer
        scan = scanner.scan
        found.append((scan.usage, scan.served_model, scan.flags, scan.finished))

    told = (Usage(input=7, output=2), "m", (), True)
    assert found == [told, told, (None, "m", (OUTSIDE,), True)]


@pytest.mark.parametrize("path", sorted({route.path for route in outside_routes.ROUTES}))
def test_the_page_names_every_path(path: str) -> None:
    """Below the version that it is at."""
    page = (Path(__file__).parents[2] / "docs/dialects/outside.md").read_text()
    path = path.replace("projects/{project}/locations/{location}", "…")
    below = re.sub(r"^/(?:upload/)?(?:openai/v1|openai|v1beta1|v1beta|v1alpha|v1)(?=/)", "", path)

    assert any(f"{written}`" in page for written in (path, below, below.removeprefix("/")))
