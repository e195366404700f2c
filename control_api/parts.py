"""Parts: what a running API is made of, and how routes and dependencies reach it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from control_api.access.failed_sign_ins import FailedSignIns
from control_api.access.sign_in_limit import SignInLimit
from control_api.access.tokens import Known
from control_api.definitions.doors import Doors
from control_api.definitions.pausing import Pausing
from control_api.definitions.relay import Relay
from control_api.definitions.repositories import Repositories
from control_api.definitions.services import Services
from control_api.definitions.verification import Verification
from control_api.dry_run.dry_runs import DryRuns
from control_api.explain.explaining import Explaining
from control_api.history.follower import History
from control_api.intake.intake import Intake
from control_api.look_up import LookUp
from control_api.parked.parked import ParkedDeliveries
from control_api.preview.previewing import Previewing
from control_api.redrive.redrives import Redrives
from control_api.send_test import SendTest
from control_api.statuses import Statuses
from notifier.database import Database
from notifier.registry import Registry
from notifier.seal import Seal
from notifier.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Made when the API starts, in `control_api.app`; closed when it stops."""

    settings: Settings
    database: Database
    tokens: LookUp[str, Known]
    producer_types: LookUp[str, str]
    registry: Registry
    seal: Seal
    intake: Intake
    relay: Relay
    services: Services
    verification: Verification
    pausing: Pausing
    repositories: Repositories
    doors: Doors
    history: History
    explaining: Explaining
    previewing: Previewing
    statuses: Statuses
    dry_runs: DryRuns
    redrives: Redrives
    parked: ParkedDeliveries
    send_test: SendTest
    sign_in_limit: SignInLimit
    failed_sign_ins: FailedSignIns


async def parts_of(request: Request) -> Parts:
    """The parts of the API that serves this request."""
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(parts_of)]
