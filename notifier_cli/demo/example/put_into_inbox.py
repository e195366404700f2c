"""A consumer script: appends each message to the file of its receiver in INBOX, the only folder that it may write to."""

import json
import sys
from pathlib import Path

FOLDER = Path("INBOX")

for item in json.load(sys.stdin):
    for person in [item["receiver"]] if item.get("receiver") else item.get("recipients", []):
        title = f"{item['title']}: " if item.get("title") else ""
        with (FOLDER / f"{Path(person).name}.txt").open("a") as file:
            file.write(f"From {item.get('sender') or 'somebody'} to {person}: {title}{item['content']}\n")
