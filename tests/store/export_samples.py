"""Usage exports in the forms in which providers give them out, with few columns or with all."""

import json
from typing import Any

OPENAI_USAGE = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_text_tokens
1794960000,1795046400,2026-11-18T00:00:00+00:00,2026-11-19T00:00:00+00:00,proj_1,2.0,user-1,key_1,gpt-5-mini-2026-08-07,FALSE,default,2000.0,200.0,300.0,1700.0,1700.0
1794960000,1795046400,2026-11-18T00:00:00+00:00,2026-11-19T00:00:00+00:00,proj_1,1.0,user-1,key_2,gpt-5-mini-2026-08-07,FALSE,default,1000.0,100.0,0.0,1000.0,1000.0
1794960000,1795046400,2026-11-18T00:00:00+00:00,2026-11-19T00:00:00+00:00,proj_1,1.0,user-1,key_2,gpt-4o-2024-08-06,FALSE,default,50.0,5.0,0.0,50.0,50.0
1795046400,1795132800,2026-11-19T00:00:00+00:00,2026-11-20T00:00:00+00:00,,,,,,,,,,,,
"""
OPENAI_COSTS = """\
start_time\tend_time\tstart_time_iso\tend_time_iso\tamount_value\tamount_currency\tline_item\tproject_id\torganization_id\torganization_name
1794960000\t1795046400\t2026-11-18T00:00:00+00:00\t2026-11-19T00:00:00+00:00\t0.8958740000000000\tusd\tgpt-5-mini-2026-08-07, input\t\torg-1\tPersonal
1794960000\t1795046400\t2026-11-18T00:00:00+00:00\t2026-11-19T00:00:00+00:00\t0.1041260000000001\tusd\tgpt-5-mini-2026-08-07, output\t\torg-1\tPersonal
1794960000\t1795046400\t2026-11-18T00:00:00+00:00\t2026-11-19T00:00:00+00:00\t0.02\tusd\tgpt-image-1 image, output\t\torg-1\tPersonal
1795046400\t1795132800\t2026-11-19T00:00:00+00:00\t2026-11-20T00:00:00+00:00\t\t\t\t\t\t
"""
OPENAI_DAILY_COSTS = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item
1794960000,1795046400,2026-11-18T00:00:00+00:00,2026-11-19T00:00:00+00:00,1.5,usd,
"""
OPENAI_EMPTY = """\
start_time,end_time,start_time_iso,end_time_iso
1794960000,1795046400,2026-11-18T00:00:00+00:00,2026-11-19T00:00:00+00:00
"""
ANTHROPIC_USAGE = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count,inference_geo,speed
2026-11-18,claude-haiku-4-5-20251001,key-1,Default,standard,≤ 200k,100,20,3,4000,50,0,global,
2026-11-18,claude-haiku-4-5-20251001,key-2,Default,standard,≤ 200k,"1,000",0,0,0,5,0,global,
"""
ANTHROPIC_COSTS = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed
2026-11-18,Claude Haiku 4.5,Default,key-1,message,≤ 200k,input_no_cache,0.05,0.05,token,global,
2026-11-18,Claude Haiku 4.5,Default,key-1,message,≤ 200k,output,0.02,0.02,token,global,
2026-11-18,,Default,key-1,message,,,0.01,0.01,web_search,global,
"""


def openai_page(*results: dict[str, Any], day: int = 0) -> dict[str, Any]:
    """A page of OpenAI's API with one bucket: 18 November 2026, or so many days later."""
    start = 1_794_960_000 + day * 86_400
    bucket = {"object": "bucket", "start_time": start, "end_time": start + 86_400}
    return {"object": "page", "data": [bucket | {"results": list(results)}], "has_more": False}


def anthropic_page(*results: dict[str, Any]) -> dict[str, Any]:
    """A page of Anthropic's API with one bucket: 18 November 2026."""
    bucket = {"starting_at": "2026-11-18T00:00:00Z", "ending_at": "2026-11-19T00:00:00Z"}
    return {"data": [bucket | {"results": list(results)}], "has_more": False, "next_page": None}


OPENAI_USAGE_PAGES = json.dumps(
    openai_page(
        {
            "object": "organization.usage.completions.result",
            "input_tokens": 3000,
            "output_tokens": 300,
            "input_cached_tokens": 300,
            "num_model_requests": 3,
            "project_id": None,
            "model": "gpt-5-mini-2026-08-07",
            "batch": None,
        }
    )
)
OPENAI_COSTS_PAGES = json.dumps(
    openai_page(
        {
            "object": "organization.costs.result",
            "amount": {"value": 0.06, "currency": "usd"},
            "line_item": "gpt-5-mini-2026-08-07, cached input",
            "project_id": None,
        }
    )
)
ANTHROPIC_USAGE_PAGES = json.dumps(
    anthropic_page(
        {
            "uncached_input_tokens": 1500,
            "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
            "cache_read_input_tokens": 200,
            "output_tokens": 500,
            "server_tool_use": {"web_search_requests": 10},
            "api_key_id": None,
            "model": "claude-haiku-4-5-20251001",
            "service_tier": "standard",
            "context_window": "0-200k",
        }
    )
)
ANTHROPIC_COSTS_PAGES = json.dumps(
    anthropic_page(
        {
            "currency": "USD",
            "amount": "123.78912",
            "workspace_id": None,
            "description": "Claude Haiku 4.5 Usage - Input Tokens",
            "cost_type": "tokens",
            "model": "claude-haiku-4-5-20251001",
            "token_type": "uncached_input_tokens",
        }
    )
)
