"""The API with one Kafka transaction a request: the contender of `bench.intake`. `python -m bench.one_by_one`."""

import sys

from control_api.intake import intake, writer
from control_api.intake.transactions import Transactions
from control_api.serve import run_api_process
from notifier.settings import load_settings

if __name__ == "__main__":
    writer._GROUP_BYTES = 0
    intake.Singles = Transactions  # type: ignore[assignment, attr-defined]
    sys.exit(run_api_process(load_settings()))
