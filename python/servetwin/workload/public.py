"""Public traces: where they are, and what they must be."""

from __future__ import annotations

from dataclasses import dataclass

MOONCAKE = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces"
AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data"


@dataclass(frozen=True)
class PublicTrace:
    """`sha256` is None where no copy has been at hand to take it from."""

    url: str
    file: str
    sha256: str | None
    licence: str
    about: str


PUBLIC: dict[str, PublicTrace] = {
    "mooncake_conversation": PublicTrace(
        f"{MOONCAKE}/conversation_trace.jsonl",
        "conversation_trace.jsonl",
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
        "Apache-2.0",
        "an hour of conversations, 12,031 requests with block ids",
    ),
    "mooncake_toolagent": PublicTrace(
        f"{MOONCAKE}/toolagent_trace.jsonl",
        "toolagent_trace.jsonl",
        None,
        "Apache-2.0",
        "an hour of tools and agents, 23,608 requests with block ids",
    ),
    "mooncake_synthetic": PublicTrace(
        f"{MOONCAKE}/synthetic_trace.jsonl",
        "synthetic_trace.jsonl",
        "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131",
        "Apache-2.0",
        "17 minutes made of public datasets, 3,993 requests with block ids",
    ),
    "azure_2023_code": PublicTrace(
        f"{AZURE}/AzureLLMInferenceTrace_code.csv",
        "AzureLLMInferenceTrace_code.csv",
        "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        "CC-BY-4.0",
        "an hour of code completion, 8,819 requests",
    ),
    "azure_2023_conv": PublicTrace(
        f"{AZURE}/AzureLLMInferenceTrace_conv.csv",
        "AzureLLMInferenceTrace_conv.csv",
        "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        "CC-BY-4.0",
        "an hour of conversations, 19,366 requests",
    ),
}
