"""The API with one Kafka transaction a request: the contender of `bench.intake`. `python -m bench.one_by_one`."""

import sys

from control_api.intake import intake
from control_api.serve import run_api_process
from notifier.settings import load_settings

if __name__ == "__main__":
    intake._GROUP_BYTES = 0
    sys.exit(run_api_process(load_settings()))
