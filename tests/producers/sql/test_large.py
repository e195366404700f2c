"""A million rows: a run reads no more than it tells, whatever the database has, and says that it was cut."""

import json
import subprocess
import sys

from tests.rigs.asked import Asked

pytest_plugins = ["tests.rigs.databases", "tests.rigs.mariadb", "tests.rigs.databases_of_others"]

_LIMIT = 10_000
_MAX_MB = 200
_QUERIES = {
    "postgresql": "SELECT i AS id, repeat('x', 200) AS text FROM generate_series(1, 1000000) AS n(i)",
    "mariadb": "SELECT seq AS id, repeat('x', 200) AS text FROM seq_1_to_1000000",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
    " SELECT i AS id, printf('%0200d', i) AS text FROM n",
}
# In a process of its own, whose memory is this alone.
_PROGRAM = """
import asyncio, json, sys
from dataclasses import replace
from pathlib import Path
from notifier.allowed_files import AllowedFiles
from producers.sql import Sql, SqlParameters
from tests.rigs.plugin_world import context_without_scripts

given = json.loads(sys.stdin.read())
notices, kept = [], []
files = AllowedFiles(folders=[Path(folder) for folder in given["folders"]])
context = replace(context_without_scripts("orders"), files=files, notice=notices.append, keep=kept.append)
messages = asyncio.run(Sql(SqlParameters.model_validate(given["parameters"])).produce(context))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) // 1024  # of this program alone; `getrusage` counts what it was forked from
print(json.dumps({"messages": len(messages), "last": messages[-1]["id"], "notices": notices, "kept": len(kept), "peak_mb": peak}))
"""


async def test_a_million_rows_need_little_memory(asked: Asked) -> None:
    more = {} if asked.kind == "mariadb" else {"cursor_column": "id"}
    parameters = {
        "url": asked.url,
        "query": _QUERIES[asked.kind],
        "limit": _LIMIT,
        "columns": {"content": "text"},
        **more,
    }
    given = json.dumps({"parameters": parameters, "folders": [str(folder) for folder in asked.files.folders]})
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], input=given, text=True, check=True, stdout=subprocess.PIPE)
    found = json.loads(ran.stdout)
    assert found["messages"] == _LIMIT
    assert found["last"] == str(_LIMIT)
    assert found["kept"] == len(more)
    assert found["notices"][0].startswith(
        "cut: there are more rows than the limit of 10,000; the first 10,000 are told, and"
    )
    assert found["peak_mb"] < _MAX_MB
