"""Python frameworks for agents against a running Maestro: python frameworks.py http://127.0.0.1:8080 qwen3-14b

Each function is the recipe of docs/clients.md for one of them; those that are not installed are skipped. It is not part of `npm test`, which needs no Python.
"""

import asyncio
import importlib.util
import os
import sys

from runner import expect, run

BASE_URL, MODEL = sys.argv[1:3]
V1 = f"{BASE_URL}/v1"
RUN = {"x-maestro-workflow": "frameworks-check"}
HELLO = [{"role": "user", "content": "hello"}]
os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", LITELLM_LOCAL_MODEL_COST_MAP="True")


def look(q: str) -> str:
    """Looks something up."""
    return f"found {q}"


def litellm():
    from litellm import completion, responses

    asked = {"api_base": V1, "api_key": "none", "extra_headers": RUN}
    whole = completion(model=f"hosted_vllm/{MODEL}", messages=HELLO, max_tokens=7, **asked)
    expect(whole.usage.completion_tokens == 7, whole)
    chunks = completion(
        model=f"openai/{MODEL}", messages=HELLO, max_tokens=7, stream=True, stream_options={"include_usage": True}, **asked
    )
    expect([c.usage.completion_tokens for c in chunks if getattr(c, "usage", None)] == [7], "usage of a stream")
    told = responses(model=f"openai/{MODEL}", input="hello", max_output_tokens=16, **asked)
    expect(told.usage.output_tokens == 16, told)
    message = completion(
        model=f"anthropic/{MODEL}", messages=HELLO, max_tokens=7, api_base=BASE_URL, api_key="none", extra_headers=RUN
    )
    expect(message.usage.completion_tokens == 7, message)


def langchain_openai():
    from langchain_openai import ChatOpenAI

    for responses in (False, True):
        model = ChatOpenAI(
            model=MODEL,
            base_url=V1,
            api_key="none",
            default_headers=RUN,
            max_tokens=16,
            stream_usage=True,
            use_responses_api=responses,
        )
        expect(model.invoke("hello").usage_metadata["output_tokens"] == 16, "usage")
        streamed = None
        for chunk in model.stream("hello"):
            streamed = chunk if streamed is None else streamed + chunk
        expect(streamed.text and streamed.usage_metadata["output_tokens"] == 16, streamed)
    calls = ChatOpenAI(model=MODEL, base_url=V1, api_key="none").bind_tools([look], tool_choice="required").invoke("hello")
    expect(calls.tool_calls[0]["name"] == "look", calls)


def langchain_anthropic():
    from langchain_anthropic import ChatAnthropic

    model = ChatAnthropic(model=MODEL, base_url=BASE_URL, api_key="none", default_headers=RUN, max_tokens=7)
    expect(model.invoke("hello").usage_metadata["output_tokens"] == 7, "usage")
    streamed = None
    for chunk in model.stream("hello"):
        streamed = chunk if streamed is None else streamed + chunk
    expect(streamed.usage_metadata["output_tokens"] == 7, streamed)


def langchain():
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, base_url=V1, api_key="none", default_headers=RUN, max_tokens=300)
    agent = create_agent(model, [look])
    expect(agent.invoke({"messages": HELLO})["messages"][-1].text, "no answer")
    expect(list(agent.stream({"messages": HELLO}, stream_mode="messages")), "no stream")


def agents():
    from agents import Agent, ModelSettings, OpenAIProvider, RunConfig, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)

    async def run():
        for responses in (False, True):
            client = AsyncOpenAI(base_url=V1, api_key="none", default_headers=RUN)
            config = RunConfig(model_provider=OpenAIProvider(openai_client=client, use_responses=responses), model=MODEL)
            settings = ModelSettings(tool_choice="required")
            helper = Agent(name="helper", instructions="help", tools=[function_tool(look)], model_settings=settings)
            expect((await Runner.run(helper, "hello", run_config=config)).final_output, "no answer")
            streamed = Runner.run_streamed(helper, "hello", run_config=config)
            async for _ in streamed.stream_events():
                pass
            expect(streamed.final_output, "no streamed answer")
            await client.close()

    asyncio.run(run())


def autogen_agentchat():
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.conditions import MaxMessageTermination
    from autogen_agentchat.teams import RoundRobinGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    knows = {"vision": False, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown"}
    asked = {"model": MODEL, "base_url": V1, "api_key": "none", "default_headers": RUN, "max_tokens": 30, "model_info": knows}
    whole = OpenAIChatCompletionClient(**asked)
    streams = OpenAIChatCompletionClient(**asked, stream_options={"include_usage": True})
    pair = [AssistantAgent("planner", whole, tools=[look]), AssistantAgent("writer", streams, model_client_stream=True)]
    team = RoundRobinGroupChat(pair, termination_condition=MaxMessageTermination(3))
    told = [m.models_usage.completion_tokens for m in asyncio.run(team.run(task="hello")).messages if m.models_usage]
    expect(told and all(told), told)


def pydantic_ai():
    from pydantic import BaseModel
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Answer(BaseModel):
        q: str

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{BASE_URL}/w/pydantic-check/v1", api_key="none"))
    expect(Agent(model, tools=[look]).run_sync("hello").output, "no answer")
    for output in (Answer, NativeOutput(Answer)):
        expect(Agent(model, output_type=output).run_sync("hello").output.q, "no typed answer")


def crewai():
    from crewai import LLM, Agent, Crew, Task

    llm = LLM(model=f"openai/{MODEL}", base_url=f"{BASE_URL}/w/crew-check/v1", api_key="none", max_tokens=40)
    agent = Agent(role="planner", goal="plan", backstory="plans", llm=llm)
    done = Crew(agents=[agent], tasks=[Task(description="plan", expected_output="a plan", agent=agent)]).kickoff()
    expect(str(done) and done.token_usage.completion_tokens, done)


CHECKS = [litellm, langchain_openai, langchain_anthropic, langchain, agents, autogen_agentchat, pydantic_ai, crewai]

run(CHECKS, lambda name: importlib.util.find_spec(name) is not None)
