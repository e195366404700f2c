"""The sandbox: how scripts run without doing harm."""

from notifier.sandbox.sandbox import Level, Limits, Output, Sandbox, check_write_paths, detect_sandbox

__all__ = ["Level", "Limits", "Output", "Sandbox", "check_write_paths", "detect_sandbox"]
