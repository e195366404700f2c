"""The sandbox: how scripts run without doing harm."""

from notifier.sandbox.detection import detect_sandbox
from notifier.sandbox.level import Level
from notifier.sandbox.limits import ScriptLimits
from notifier.sandbox.paths import check_write_paths
from notifier.sandbox.sandbox import Output, Sandbox, Watch
from notifier.sandbox.verdict import Usage

__all__ = ["Level", "Output", "Sandbox", "ScriptLimits", "Usage", "Watch", "check_write_paths", "detect_sandbox"]
