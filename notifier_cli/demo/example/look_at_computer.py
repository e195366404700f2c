"""A producer script: prints messages about the computer that it runs on, as a JSON array."""

import json
import os
import shutil
from pathlib import Path

messages: list[dict[str, object]] = []


def tell(source_id: str, title: str, content: str, severity: str = "info", receiver: str = "root") -> None:
    messages.append(
        {
            "id": source_id,
            "sender": "computer",
            "receiver": receiver,
            "title": title,
            "content": content,
            "severity": severity,
            "labels": {"part": title.lower()},
        }
    )


disk = shutil.disk_usage("/")
full = 100 * (disk.total - disk.free) / disk.total
space = f"The disk is {full:.0f} % full: {disk.free / 2**30:.1f} of {disk.total / 2**30:.1f} GiB are free."
tell("disk", "Disk", space, "warning" if full > 80 else "info")

meminfo = Path("/proc/meminfo")
if meminfo.exists():  # on Linux
    memory = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in meminfo.read_text().splitlines()}
    free = f"{memory['MemAvailable']:.1f} of {memory['MemTotal']:.1f} GiB of memory are available."
    tell("memory", "Memory", free, "warning" if memory["MemAvailable"] < 0.15 * memory["MemTotal"] else "info")

processors = os.cpu_count() or 1
load = os.getloadavg()[0]
busy = f"The load of the last minute is {load:.2f} on {processors} processors."
tell("load", "Load", busy, "warning" if load > processors else "info")

sizes = []
for folder, _, names in os.walk("/usr/lib"):
    for name in names:
        path = Path(folder, name)
        if path.is_file() and not path.is_symlink():
            sizes.append((path.stat().st_size, path))
for number, (size, path) in enumerate(sorted(sizes, reverse=True)[:2], 1):
    tell(f"large-file-{number}", "Large file", f"{path} is {size / 2**20:.0f} MiB.", "debug", receiver="nobody-I-know")

print(json.dumps(messages))
