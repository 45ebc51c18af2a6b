"""The Python SDKs of OpenAI and Anthropic against a running Maestro: python check.py http://127.0.0.1:8080 qwen3-14b

Each function is one way in which agents use an SDK. It is not part of `npm test`, which needs no Python; docs/clients.md tells how to run it.
"""

import asyncio
import json
import sys
import time
import urllib.request

import anthropic
import openai
from runner import expect, run

BASE_URL, MODEL = sys.argv[1:3]
RUN = {"x-maestro-workflow": "python-check", "x-maestro-role": "checker", "x-maestro-class": "batch"}
QUESTION = [{"role": "user", "content": "hello"}]
TOOL = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
LONG = {"ignore_eos": True}

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="none", max_retries=0, default_headers=RUN)
claude = anthropic.Anthropic(base_url=BASE_URL, api_key="none", max_retries=0, default_headers=RUN)


def expect_identity(headers):
    seen = [headers[f"x-maestro-{name}"] for name in ("workflow", "class", "identity-source")]
    expect(seen == ["python-check", "batch", "maestro-headers"], f"identity {seen}")


def open_requests():
    with urllib.request.urlopen(f"{BASE_URL}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("maestro_requests_in_flight"))


def expect_all_ended():
    """An abandoned request is ended at once, so that nothing is open soon after."""
    for _ in range(50):
        if open_requests() == 0:
            return
        time.sleep(0.1)
    raise AssertionError("a request that was abandoned is still open")


def expect_raised(error, call, text):
    try:
        call()
    except error as raised:
        expect(text in str(raised), f"{raised}")
        return
    raise AssertionError(f"no {error.__name__}")


def openai_chat():
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION, max_completion_tokens=5)
    expect_identity(raw.headers)
    whole = raw.parse()
    expect(whole.choices[0].message.content and whole.usage.completion_tokens == 5, whole)


def openai_stream():
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_completion_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    expect("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), "no text")
    expect(chunks[-1].usage.completion_tokens == 5, chunks[-1])


def openai_tools():
    tools = [{"type": "function", "function": {"name": "look", "parameters": TOOL}}]
    asked = {"model": MODEL, "messages": QUESTION, "tools": tools, "tool_choice": "required"}
    [call] = client.chat.completions.create(**asked).choices[0].message.tool_calls
    expect("q" in json.loads(call.function.arguments), call)
    with client.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    expect(final.choices[0].finish_reason == "tool_calls", final)


def openai_responses():
    first = client.responses.create(model=MODEL, input="hello", max_output_tokens=16)
    expect(first.output_text and first.usage.output_tokens == 16, first)
    events = list(client.responses.create(model=MODEL, input="hello", stream=True, max_output_tokens=16))
    expect(events[0].type == "response.created", events[0])
    expect(events[-1].type in ("response.completed", "response.incomplete"), events[-1])
    try:
        expect(client.responses.retrieve(first.id).output_text == first.output_text, "another response")
    except openai.NotFoundError:
        pass  # The engines keep no responses unless they are told to.
    expect_raised(openai.NotFoundError, lambda: client.responses.retrieve("resp_unknown"), "resp_unknown")


def openai_errors():
    unknown = lambda: client.chat.completions.create(model="nope", messages=QUESTION)  # noqa: E731
    expect_raised(openai.NotFoundError, unknown, "nope")
    wrong = lambda: client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=-1)  # noqa: E731
    expect_raised(openai.BadRequestError, wrong, "temperature")


def openai_abandoned_stream():
    with client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_completion_tokens=20_000, stream=True, extra_body=LONG
    ) as stream:
        next(iter(stream))
    expect_all_ended()


def openai_timeout():
    impatient = client.with_options(timeout=0.5)
    call = lambda: impatient.chat.completions.create(  # noqa: E731
        model=MODEL, messages=QUESTION, max_completion_tokens=20_000, extra_body=LONG
    )
    expect_raised(openai.APITimeoutError, call, "")
    expect_all_ended()


def openai_async_burst():
    async def burst():
        async with openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key="none", max_retries=0) as many:
            asked = [
                many.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=8) for _ in range(100)
            ]
            return await asyncio.gather(*asked)

    expect(all(answer.usage.completion_tokens == 8 for answer in asyncio.run(burst())), "an answer of another length")


def anthropic_messages():
    raw = claude.messages.with_raw_response.create(model=MODEL, max_tokens=5, messages=QUESTION, system="be brief")
    expect_identity(raw.headers)
    whole = raw.parse()
    expect(whole.content[0].text and whole.usage.output_tokens == 5, whole)
    expect(claude.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens > 0, "no tokens")


def anthropic_stream():
    with claude.messages.stream(model=MODEL, max_tokens=5, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    expect(text and final.stop_reason == "max_tokens" and final.usage.output_tokens == 5, final)


def anthropic_tools():
    tools = [{"name": "look", "input_schema": TOOL}]
    answer = claude.messages.create(
        model=MODEL, max_tokens=500, messages=QUESTION, tools=tools, tool_choice={"type": "any"}
    )
    expect(answer.stop_reason == "tool_use" and "q" in answer.content[0].input, answer)


def anthropic_errors():
    unknown = lambda: claude.messages.create(model="nope", max_tokens=5, messages=QUESTION)  # noqa: E731
    expect_raised(anthropic.NotFoundError, unknown, "nope")


def anthropic_abandoned_stream():
    with claude.messages.stream(model=MODEL, max_tokens=20_000, messages=QUESTION, extra_body=LONG) as stream:
        next(iter(stream.text_stream))
    expect_all_ended()


CHECKS = [
    openai_chat,
    openai_stream,
    openai_tools,
    openai_responses,
    openai_errors,
    openai_abandoned_stream,
    openai_timeout,
    openai_async_burst,
    anthropic_messages,
    anthropic_stream,
    anthropic_tools,
    anthropic_errors,
    anthropic_abandoned_stream,
]

run(CHECKS)
