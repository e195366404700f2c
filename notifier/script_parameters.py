"""ScriptRunParameters: what producers and consumers of type `script` say about the script they run, and its limits."""

from math import ceil
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from notifier.definition import Name
from notifier.plugin import WorldParameters
from notifier.sandbox import ScriptLimits

_MIN_CPU_S = 30


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{str(path)!r} must be an absolute path without `..`, such as /srv/out")
    return path


def _check_tool(path: Path) -> Path:
    return path if len(path.parts) == 1 and path.name not in ("", "..") else _check_absolute(path)


class ScriptRunParameters(WorldParameters):
    """The base of the parameters of plugins that run a script."""

    script: Name = Field(description="Name of the script that is run.", examples=["disk-space", "append"])
    timeout_s: float = Field(30.0, gt=0, le=3600, description="Seconds that one run may take before it is killed.")
    memory_mb: int = Field(
        256, ge=16, le=65_536, description="Mebibytes of memory that the script and all it starts may take together."
    )
    network: bool = Field(False, description="Whether it may use the network; needs the scope `admin`.")
    write: tuple[Annotated[Path, AfterValidator(_check_absolute)], ...] = Field(
        (),
        description="Files and folders that it may write, as absolute paths; needs the scope `admin`.",
        examples=[["/srv/out"]],
    )

    tools: Annotated[
        tuple[Annotated[Path, AfterValidator(_check_tool)], ...],
        Field(max_length=20),
    ] = Field(
        (),
        description="Programs and folders outside the system's that it may read and run: names that Notifier finds on its PATH,"
        " or absolute paths; needs the scope `admin`.",
        examples=[["kubectl", "/opt/reports/bin"]],
    )

    def limits(self) -> ScriptLimits:
        """The limits of one run. Processor time is as long as the run may take: the script uses it as it likes."""
        return ScriptLimits(
            timeout_s=self.timeout_s,
            cpu_s=max(_MIN_CPU_S, ceil(self.timeout_s)),
            memory_mb=self.memory_mb,
            network=self.network,
            write=self.write,
            tools=self.tools,
        )
