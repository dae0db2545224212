"""A small valid file of each format."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


AZURE_2023 = b"""TIMESTAMP,ContextTokens,GeneratedTokens\r
2023-11-16 18:17:03.9799600,4808,10\r
2023-11-16 18:17:04.0319600,3180,8\r
"""
AZURE_2024 = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 00:00:00.5+00:00,76,15
"""
BURSTGPT = b"""Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,0,1087,API log
118,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_SESSIONS = b"""Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,s1,2.5,ChatGPT,400,20,420,Conversation log
6,,1,ChatGPT,100,7,107,API log
45,s1,3,ChatGPT,500,30,530,Conversation log
"""
BAILIAN = lines(
    {"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 33, "output_length": 12, "type": "text",
     "turn": 1, "hash_ids": [10, 11, 12]},
    {"chat_id": 2, "parent_chat_id": 1, "timestamp": 70.5, "input_length": 60, "output_length": 3, "type": "search",
     "turn": 2, "hash_ids": [10, 11, 13, 14]},
)  # fmt: skip
SHAREGPT = lines(
    {"input_toks": 20, "output_toks": 5, "arrival_time_ns": 46926808, "input_tok_ids": list(range(20))},
    {"input_toks": 18, "output_toks": 7, "arrival_time_ns": 347938951, "input_tok_ids": list(range(18))},
)
SHAREGPT_LENGTHS = lines({"input_toks": 20, "output_toks": 5}, {"input_toks": 18, "output_toks": 7})


def dynamo_record(name: str, received_ms: int, session: str | None, hashes: list[int]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "schema": "dynamo.request.trace.v1",
        "event_type": "request_end",
        "event_time_unix_ms": received_ms + 250,
        "request": {
            "request_id": name,
            "model": "m",
            "output_tokens": 9,
            "request_received_ms": received_ms,
            "replay": {
                "trace_block_size": 64,
                "input_length": 64 * len(hashes) - 4,
                "input_sequence_hashes": hashes,
            },
        },
    }
    if session is not None:
        record["agent_context"] = {"session_id": session}
    return record


DYNAMO = lines(
    dynamo_record("r1", 1_000_000, "a", [7, 8]),
    {"timestamp": 5, "event": dynamo_record("r2", 1_001_000, "a", [7, 8, 9])},
    {"schema": "dynamo.request.trace.v1", "event_type": "tool_end", "event_time_unix_ms": 5, "tool": {}},
    dynamo_record("r3", 1_000_500, "b", [7]),
)


def aiperf_record(number: int, start_ns: int, metrics: dict[str, Any], error: Any = None) -> dict[str, Any]:
    return {
        "metadata": {
            "session_num": number,
            "x_request_id": f"r{number}",
            "x_correlation_id": f"c{number}",
            "turn_index": 0,
            "request_start_ns": start_ns,
            "request_end_ns": start_ns + 305_864_241,
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        },
        "metrics": {name: {"value": value, "unit": "tokens"} for name, value in metrics.items()},
        "error": error,
    }


AIPERF = lines(
    aiperf_record(0, 1759813207532900363, {"input_sequence_length": 550, "output_sequence_length": 9}),
    aiperf_record(
        1,
        1759813207632900363,
        {"input_sequence_length": 12, "output_token_count": 4, "reasoning_token_count": 30},
    ),
    aiperf_record(2, 1759813207732900363, {"error_isl": 550}, {"code": 499, "type": "Cancelled", "message": "late"}),
    aiperf_record(3, 1759813207832900363, {}, {"code": 500, "type": "Server", "message": "gone"}),
)


def guidellm_request(name: str, start_s: float, prompt: int | None, output: int | None) -> dict[str, Any]:
    return {
        "request_id": name,
        "request_start_time": start_s,
        "request_end_time": start_s + 1.25,
        "prompt_tokens": prompt,
        "output_tokens": output,
    }


GUIDELLM = json.dumps(
    {
        "metadata": {"version": 1},
        "benchmarks": [
            {
                "requests": {
                    "successful": [
                        guidellm_request("a", 1759813207.5, 128, 16),
                        guidellm_request("b", 1759813208, 64, 8),
                    ],
                    "errored": [guidellm_request("c", 1759813209.25, 99, None)],
                    "incomplete": [guidellm_request("d", 1759813210.25, None, None)],
                }
            }
        ],
    },
    indent=1,
).encode()
AGENTIC = b"""trace_id,agent_path,seq,t_s,think_time_s,input_tokens,output_tokens,n_blocks,lcp_blocks_prev,block_size
t1,root,0,0.0,0.0,1300,20,20,0,64
t1,root,1,19.0,12.0,1400,30,21,20,64
t1,root/s1,0,0.0,0.0,700,30,10,0,64
t1,root,2,40.0,,1500,30,23,21,64
"""
TABLE = b"""arrival_s,input_tokens,output_tokens,max_output_tokens,priority,session_id,delay_s,class,failed,id,note
0.5,100,10,20,0,,,chat,false,a,x
1.25,200,0,,-1,s,,agents,true,b,y
,300,7,9,0,t,,agents,,c,z
"""
TABLE = TABLE.replace(b",300,7,9,0,t,,", b"2,300,7,9,0,t,,")
DATES = b"time;prompt_len;output_len\n2024-01-01 00:00:00;100;5\n2024-01-01T00:00:01.5;7;5\n"
UNITLESS = b"timestamp\tprompt_tokens\tcompletion_tokens\n10\t100\t5\n20\t7\t5\n"
MOONCAKE = lines(
    {"timestamp": 0, "input_length": 6755, "output_length": 500, "hash_ids": list(range(14))},
    {"timestamp": 10.5, "input_length": 600, "output_length": 0, "hash_ids": [0, 99], "session_id": "s"},
    {"input_length": 1100, "output_length": 5, "hash_ids": [0, 99, 100], "session_id": "s", "delay": 3},
)


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


OURS_TABLE = pa.table(
    {
        "request_id": ["x", "y", "z"],
        "arrival_ps": pa.array([0, None, 5_000_001], pa.int64()),
        "delay_ps": pa.array([None, 10, None], pa.int64()),
        "session_id": ["0", "0", None],
        "input_tokens": pa.array([4, 5, 9], pa.int64()),
        "output_tokens": pa.array([1, 3, 4], pa.int64()),
        "max_output_tokens": pa.array([1, 4, 4], pa.int64()),
        "priority": pa.array([0, -1, 0], pa.int32()),
        "class": ["chat", "agents", "agents"],
        "failed": [True, False, False],
        "hash_ids": pa.array([[0], [0, 1], [2, 3, 4]], pa.large_list(pa.int64())),
    }
).replace_schema_metadata({"servetwin.version": "1", "servetwin.block_tokens": "4"})

SAMPLES: dict[str, bytes] = {
    "mooncake": MOONCAKE,
    "azure": AZURE_2023,
    "azure 2024": AZURE_2024,
    "burstgpt": BURSTGPT,
    "burstgpt with sessions": BURSTGPT_SESSIONS,
    "bailian": BAILIAN,
    "sharegpt": SHAREGPT,
    "sharegpt lengths": SHAREGPT_LENGTHS,
    "dynamo": DYNAMO,
    "aiperf": AIPERF,
    "guidellm": GUIDELLM,
    "agentic": AGENTIC,
    "table": TABLE,
    "table of dates": DATES,
    "table without units": UNITLESS,
    "parquet": parquet(OURS_TABLE),
    "parquet table": parquet(
        pa.table({"arrival_s": [0.5, 1.0], "input_tokens": [5, 6], "output_tokens": pa.array([1, 2], pa.int32())})
    ),
}
"""By the name of the format, as far as the first blank."""
